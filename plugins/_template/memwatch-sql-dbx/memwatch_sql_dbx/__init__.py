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
    # What the methods that run a statement call it, and its parameters: these may be passed by name.
    runs: ClassVar[Mapping[str, tuple[str, str]]] = {
        "execute": ("operation", "parameters"), "executemany": ("operation", "seq_of_parameters"),
    }  # fmt: skip
    # Where the library keeps whether a transaction is open, as the server said last: an attribute of connections.
    # If some answers of the server don't renew it (those with rows, errors), override in_transaction instead.
    status = Status(("in_transaction",))

    def database(self, identity: Any) -> Database:
        """Never with a user or a password; of a file its name alone, of a server ``host:port`` or its socket."""
        return Database(shown(peek(identity, "database")), shown(peek(identity, "host")))

    def is_closed(self, connection: Any) -> bool:
        """By the program, or because the server is gone."""
        return not peek(connection, "is_open")

    def all_fetched(self, cursor: Any) -> bool:
        """Delete this if the library doesn't know how many rows are left."""
        left = peek(cursor, "rows_left")
        return type(left) is int and left == 0


driver = DbxDriver()
