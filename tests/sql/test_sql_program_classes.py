"""Risk: tracing calls what the program has put into its own subclasses of connections and cursors, or leaves something
of its own behind in them."""

from __future__ import annotations

import abc
import gc
import pickle
import sqlite3
import sys
import weakref
from typing import Any, ClassVar

import pytest
from memwatch_sql_sqlite3 import driver
from sql_support import Records

from memwatch_core.adapter.contexts import SqlContexts
from memwatch_plugins.sql.dbapi import is_composed

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


class Meta(abc.ABCMeta):
    made: ClassVar[list[str]] = []

    def __new__(cls, name: str, *args: Any, **kwargs: Any) -> Any:
        cls.made.append(name)
        return super().__new__(cls, name, *args, **kwargs)

    def __init__(cls, name: str, *args: Any, **kwargs: Any) -> None:
        cls.made.append(name)

    def __getattr__(cls, name: str) -> Any:
        cls.made.append(name)
        raise AttributeError(name)

    def __getattribute__(cls, name: str) -> Any:
        if sys._getframe(1).f_code.co_filename != __file__:
            type.__getattribute__(cls, "made").append(name)
        return super().__getattribute__(name)

    def __setattr__(cls, name: str, value: Any) -> None:
        cls.made.append(name)
        super().__setattr__(name, value)

    def __hash__(cls) -> int:
        cls.made.append("hash")
        return super().__hash__()

    def __eq__(cls, other: object) -> bool:
        cls.made.append("eq")
        return super().__eq__(other)


class Registered:
    def __init_subclass__(cls, *, named: str, **kwargs: Any) -> None:
        Meta.made.append(named)
        super().__init_subclass__(**kwargs)


@pytest.mark.parametrize("library", [sqlite3.Connection, sqlite3.Cursor])
def test_no_class_of_the_programs_hears_of_the_composed_one(library: type) -> None:
    class Plugin(Registered, library, metaclass=Meta, named="plugin"):  # type: ignore[misc, valid-type]
        pass

    class Sibling(Plugin, named="sibling"):
        pass

    Meta.made.clear()
    if library is sqlite3.Connection:
        made = sqlite3.connect(":memory:", factory=Plugin)
        made.execute("SELECT 1")
        made.close()
    else:
        connection = sqlite3.connect(":memory:")
        made = connection.cursor(Plugin)
        made.execute("SELECT 1").fetchall()
        connection.close()
    assert Meta.made == []
    assert is_composed(type(made))
    assert not isinstance(Sibling.__new__(Sibling), type(made))
    assert isinstance(Sibling.__new__(Sibling), Plugin)

    class Derived(type(made), named="derived"):  # type: ignore[misc]
        pass

    assert "derived" in Meta.made  # it is the program's own again


def test_composed_class_is_made_once_and_goes_with_the_class_of_the_program() -> None:
    def use() -> list[weakref.ref[type]]:
        class Mine(sqlite3.Connection):
            pass

        class Rows(sqlite3.Cursor):
            pass

        connections = [sqlite3.connect(":memory:", factory=Mine) for _ in range(2)]
        cursors = [each.cursor(Rows) for each in connections]
        assert type(connections[0]) is type(connections[1]) is not Mine
        assert type(cursors[0]) is type(cursors[1]) is not Rows
        for each in connections:
            each.close()
        return [weakref.ref(kind) for kind in (Mine, Rows, type(connections[0]), type(cursors[0]))]

    used = use()
    gc.collect()
    assert [each() for each in used] == [None] * 4


def test_class_of_the_program_is_as_it_was_after_uninstall(tracer: SqlContexts) -> None:
    class Mine(sqlite3.Connection):
        pass

    before = set(vars(Mine))
    for _ in range(2):
        sqlite3.connect(":memory:", factory=Mine).close()
        driver.uninstall()
        assert set(vars(Mine)) == before
        driver.install(tracer)


def test_connect_is_pickled_as_untraced() -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(sqlite3.connect, protocol)) is sqlite3.connect
    assert sqlite3.connect.__module__ == "_sqlite3"
