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
from memwatch_plugins.sql.composed import is_composed

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


WRONG = {
    "execute(sql=)": lambda c, r: c.execute(sql="SELECT 1"),
    "execute()": lambda c, r: c.execute(),
    "execute(3 arguments)": lambda c, r: c.execute("SELECT 1", (), 3),
    "executemany(1 argument)": lambda c, r: c.executemany("SELECT 1"),
    "executescript(2 arguments)": lambda c, r: c.executescript("SELECT 1", "SELECT 1"),
    "executescript()": lambda c, r: c.executescript(),
    "cursor(nothing=)": lambda c, r: c.cursor(nothing=1),
    "cursor(2 arguments)": lambda c, r: c.cursor(sqlite3.Cursor, 2),
    "cursor(no class)": lambda c, r: c.cursor(5),
    "cursor of nothing": lambda c, r: type(c).cursor(),
    "cursor of an int": lambda c, r: type(c).cursor(5),
    "execute of an int": lambda c, r: type(c).execute(5, "SELECT 1"),
    "cursor.execute(sql=)": lambda c, r: r.execute(sql="SELECT 1"),
    "cursor.fetchmany(nothing=)": lambda c, r: r.fetchmany(nothing=1),
    "cursor.fetchone(1 argument)": lambda c, r: r.fetchone(1),
    "cursor.close(1 argument)": lambda c, r: r.close(1),
    "no such attribute": lambda c, r: r.nothing,
    "no such attribute of the class": lambda c, r: type(r).nothing,
    "a new attribute": lambda c, r: setattr(r, "nothing", 1),
    "a new attribute of the class": lambda c, r: setattr(type(r), "nothing", 1),
    "a new attribute of the connection's class": lambda c, r: setattr(type(c), "nothing", 1),
    "a method of the class, deleted": lambda c, r: delattr(type(r), "execute"),
    "another class": lambda c, r: setattr(r, "__class__", int),
    "called": lambda c, r: r(),
    "added": lambda c, r: r + 1,
    "a cursor of no connection": lambda c, r: type(r)(5),
    "its slots": lambda c, r: type(r).__slots__,
}


def told(wrong: Any) -> str:
    connection = sqlite3.connect(":memory:")
    try:
        return repr(wrong(connection, connection.cursor()))
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        connection.close()


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_mistake_of_the_program_is_told_as_untraced(tracer: SqlContexts, wrong: Any) -> None:
    traced = told(wrong)
    driver.uninstall()
    assert traced == told(wrong)
    assert type(sqlite3.connect(":memory:")) is sqlite3.Connection
    driver.install(tracer)


def test_attributes_of_the_program_are_its_own(records: Records) -> None:
    """Those with names that ours could have as well."""

    class Mine(sqlite3.Connection):
        __slots__ = ("_memwatch",)
        _memwatch_composed = "mine"

    class Rows(sqlite3.Cursor):
        _memwatch = "mine"

    connection = sqlite3.connect(":memory:", factory=Mine)
    cursor = connection.cursor(Rows)
    assert (connection._memwatch_composed, cursor._memwatch) == ("mine", "mine")
    connection._memwatch = cursor._memwatch = 5
    cursor.execute("SELECT 5")
    assert (connection._memwatch, cursor._memwatch, records.statement) == (5, 5, "SELECT ?")
    connection.close()
    assert records.outcomes[-1] == ("SELECT ?", "closed")
