"""Traces dbx: publishes what its cursors and connections do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from memwatch_core.records import Database
from memwatch_plugins.sql import DbapiDriverBase, Status
from memwatch_plugins.sql.plain import peek, shown


class DbxDriver(DbapiDriverBase):
    name, summary = "dbx", "dbx, for the database X"
    target = "dbx"  # the module that programs import
    dialect = "sqlite"  # or "postgresql", "mysql": how literals are quoted
    cursors = ("dbx:Cursor",)
    connections = ("dbx:Connection",)
    # The methods that run a statement, with the names of statement and parameters: these may be passed by keyword.
    runs: ClassVar[Mapping[str, tuple[str, str]]] = {
        "execute": ("operation", "parameters"), "executemany": ("operation", "seq_of_parameters"),
    }  # fmt: skip
    # Where the library keeps whether a transaction is open, by the server's last answer: an attribute of connections.
    # If some answers don't update it (those with rows, errors), override in_transaction instead.
    status = Status(("in_transaction",))

    def database(self, identity: Any) -> Database:
        """Never with a user or password; for a file, only its name; for a server, ``host:port`` or its socket."""
        return Database(shown(peek(identity, "database")), shown(peek(identity, "host")))

    def is_closed(self, connection: Any) -> bool:
        """Whether the program closed it, or the server is gone."""
        return not peek(connection, "is_open")

    def all_fetched(self, cursor: Any) -> bool:
        """Delete this if the library doesn't know how many rows are left."""
        left = peek(cursor, "rows_left")
        return type(left) is int and left == 0


driver = DbxDriver()
