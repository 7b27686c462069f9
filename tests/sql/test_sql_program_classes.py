"""Risk: tracing calls what the program has put into its own subclasses of connections and cursors, or leaves something
of its own behind in them."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from sql_support import Records

pytestmark = pytest.mark.usefixtures("traced")
called: list[str] = []


def telling(name: str) -> Any:
    def tell(*args: Any) -> Any:
        called.append(name)
        raise SystemExit(name)

    return property(tell, tell)


class Attributes:
    """Of both classes, whatever the program does with them."""

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("__"):
            called.append(name)
        return super().__getattribute__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        called.append(name)


READ = ("rowcount", "description", "connection", "in_transaction", "autocommit", "total_changes", "isolation_level")
Members = type("Members", (), {name: telling(name) for name in READ})


class Connection(Members, Attributes, sqlite3.Connection):  # type: ignore[misc, valid-type]
    pass


class Cursor(Members, Attributes, sqlite3.Cursor):  # type: ignore[misc, valid-type]
    pass


def test_members_that_the_program_overrides_are_not_called(records: Records) -> None:
    connection = sqlite3.connect(":memory:", factory=Connection)
    called.clear()
    cursor = type(connection).cursor(connection, Cursor)
    for text in ("CREATE TABLE own (a)", "BEGIN", "INSERT INTO own VALUES (1)", "SELECT a FROM own", "SELEC"):
        try:
            type(cursor).execute(cursor, text)
        except sqlite3.OperationalError:
            assert text == "SELEC"
    type(cursor).executescript(cursor, "DELETE FROM own")
    type(connection).commit(connection)
    type(connection).close(connection)
    assert called == []
    assert records.outcomes[-4:-2] == [("INSERT INTO own VALUES (?)", "committed"), ("SELECT a FROM own", "committed")]
