"""The plugin keeps the SQL drivers' contract, but for what the plugin of the driver below publishes."""

import memwatch_sql_sqlalchemy
import pytest
import sqlalchemy

from memwatch_plugins.testing import SqlDriverContract

BELOW = "rows and cursors are published by the plugin of the driver below"
DIFFERS = {
    "test_threads_are_told_apart": BELOW,
    "test_fetched_rows_are_counted": BELOW,
    "test_rows_are_published_as_they_are_fetched": BELOW,
    "test_rows_are_those_of_their_cursor": BELOW,
    "test_closed_cursor_is_published": BELOW,
    "test_closed_cursor_without_rows_left_is_known": BELOW,
    "test_write_is_blamed_on_its_statement": BELOW,
    "test_end_of_transaction_is_published[close-closed]": "the pool rolls back before it closes: both are published",
}


class TestSqlalchemy(SqlDriverContract):
    plugin, name, dialect = memwatch_sql_sqlalchemy.driver, "sqlalchemy", "sqlite"

    @pytest.fixture(autouse=True)
    def differs(self, request):
        name = request.node.name
        reason = DIFFERS.get(name) or DIFFERS.get(name.partition("[")[0])
        if reason:
            request.applymarker(pytest.mark.xfail(strict=True, reason=reason))

    def connect(self):
        return sqlalchemy.create_engine(f"sqlite:///{self.folder}/kit.db", poolclass=sqlalchemy.NullPool).connect()

    def run(self, connection, statement, parameters=None):
        return connection.exec_driver_sql(statement, parameters)

    def run_many(self, connection, statement, rows):
        return connection.exec_driver_sql(statement, rows)

    def same_error(self, published, caught):
        return published is getattr(caught, "orig", caught)
