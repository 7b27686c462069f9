"""The plugin keeps the SQL drivers' contract."""

from typing import Any

import dbx
import memwatch_sql_dbx

from memwatch_plugins.testing import SqlDriverContract


class TestDbx(SqlDriverContract):
    plugin, name, dialect, mark = memwatch_sql_dbx.driver, "dbx", "sqlite", "?"
    capabilities = ("connection_classes", "cursor_classes", "row_counts")

    def connect(self) -> Any:
        return dbx.connect(str(self.folder / "test.db"))

    def connect_with(self, kind: Any) -> Any:
        return kind(str(self.folder / "test.db"))

    def cursor_of(self, connection: Any, kind: Any) -> Any:
        return kind(connection)
