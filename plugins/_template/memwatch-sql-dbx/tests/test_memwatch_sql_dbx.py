"""The plugin keeps the SQL drivers' contract."""

import dbx
import memwatch_sql_dbx

from memwatch_plugins.testing import SqlDriverContract


class TestDbx(SqlDriverContract):
    plugin, name, dialect, mark = memwatch_sql_dbx.driver, "dbx", "sqlite", "?"
    capabilities = ("connection_classes", "cursor_classes", "row_counts")

    def connect(self):
        return dbx.connect(str(self.folder / "test.db"))

    def connect_with(self, kind):
        return kind(str(self.folder / "test.db"))

    def cursor_of(self, connection, kind):
        return kind(connection)
