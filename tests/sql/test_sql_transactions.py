"""Risk: a change that was undone passes for one that lasted, or the other way round."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sql_support import Connection, Records, Session, run

from memwatch_core.adapter.contexts import SqlContexts
from memwatch_core.adapter.transactions import Action, control
from memwatch_core.native.tracing import in_force, read_statement

Make = Callable[..., SqlContexts]


class Program:
    """A connection in a transaction, whose driver says so, or doesn't know."""

    def __init__(self, tracer: SqlContexts, dialect: str = "postgresql", in_transaction: bool | None = True) -> None:
        self.tracer, self.dialect, self.in_transaction = tracer, dialect, in_transaction
        self.connection = Connection()

    def run(self, text: str, **ends: Any) -> Any:
        return run(self.tracer, text, self.connection, self.dialect, **({"in_transaction": self.in_transaction} | ends))

    def commit(self) -> None:
        self.tracer.transaction_ends(self.connection, "committed")


def outcomes(records: Records) -> dict[str, str]:
    return dict(records.outcomes)


# ---- autocommit -----------------------------------------------------------------------------------------------------


def test_autocommit_is_what_ran_outside_of_any_transaction(tracer: SqlContexts, records: Records) -> None:
    program = Program(tracer)
    program.run("alone", in_transaction=False)
    program.run("failed", in_transaction=False, error=ValueError())
    program.run("first")
    program.run("second")
    program.run("COMMIT", in_transaction=False)
    program.run("unknown", in_transaction=None)
    program.commit()
    program.run("alone again", in_transaction=False)
    tracer.close()
    found = {each["statement"]: each["autocommit"] for each in records.contexts.values()}
    assert found == {
        "alone": True, "failed": False, "first": False, "second": False, "COMMIT": False, "unknown": False,
        "alone again": True,
    }  # fmt: skip


# ---- savepoints -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_transaction", [True, None])
@pytest.mark.parametrize("dialect", ["sqlite", "postgresql", "mysql", ""])
def test_rollback_to_a_savepoint_marks_what_came_after_it_for_good(
    tracer: SqlContexts, records: Records, dialect: str, in_transaction: bool | None
) -> None:
    program = Program(tracer, dialect, in_transaction)
    program.run("before")
    program.run("SAVEPOINT a")
    program.run("lost")
    failed = program.run("wrong", error=ValueError())
    late = program.run("lost as well", fetchable=True)
    program.run("ROLLBACK TO a")
    assert (records.statement, in_force()) == (None, 0)
    program.run("after")
    tracer.rows_fetched(late, 1)
    assert records.statement == "lost as well"
    tracer.rows_fetched(failed, 1)
    program.commit()
    assert outcomes(records) == {
        "before": "committed", "SAVEPOINT a": "committed", "lost": "rolled back", "wrong": "failed: ValueError",
        "lost as well": "rolled back", "ROLLBACK TO a": "committed", "after": "committed",
    }  # fmt: skip
    (told,) = [(context, what) for kind, context, what in records.log if what.get("scope") == "savepoint"]
    assert told == (min(records.contexts), {"outcome": "rolled back", "scope": "savepoint", "since": told[1]["since"]})
    by_statement = {each["statement"]: ident for ident, each in records.contexts.items()}
    assert by_statement["SAVEPOINT a"] < told[1]["since"] <= by_statement["lost"]
    # Each had its own record before, which tells the transaction.
    at = records.log.index(("outcome", *told))
    assert {context for kind, context, what in records.log[:at] if what.get("transaction") == told[0]} >= {
        by_statement[each] for each in ("lost", "lost as well")
    }


def test_statement_from_before_the_savepoint_stays_in_force(tracer: SqlContexts, records: Records) -> None:
    program = Program(tracer)
    loop = program.run("loop", fetchable=True)
    for _ in range(3):
        tracer.rows_fetched(loop, 1)
        assert records.statement == "loop"
        program.run("SAVEPOINT s")
        program.run("row")
        tracer.rows_fetched(loop, 1)
        program.run("ROLLBACK TO SAVEPOINT s")
        tracer.rows_fetched(loop, 1)
        assert records.statement == "loop"
    program.commit()
    assert outcomes(records)["loop"] == "committed"
    assert [outcome for text, outcome in records.outcomes if text == "row"] == ["rolled back"] * 3


def test_savepoints_nest_and_names_are_used_twice(tracer: SqlContexts, records: Records) -> None:
    program = Program(tracer)
    program.run("SAVEPOINT a")
    program.run("one")
    program.run("SAVEPOINT b")
    program.run("two")
    program.run("savepoint A")  # hides the first
    program.run("three")
    program.run("ROLLBACK TO a")
    program.run("four")
    program.run("RELEASE a")
    program.run("ROLLBACK TO SAVEPOINT a")  # the first: b is gone with it
    program.run("five")
    program.run("ROLLBACK WORK TO b")  # unknown: nothing is certain
    program.commit()
    found = outcomes(records)
    assert {name: found[name] for name in ("one", "two", "three", "four", "five")} == {
        "one": "rolled back", "two": "rolled back", "three": "rolled back", "four": "rolled back", "five": "committed",
    }  # fmt: skip


def test_mysql_replaces_a_savepoint_of_the_same_name(tracer: SqlContexts, records: Records) -> None:
    program = Program(tracer, "mysql")
    for text in ("SAVEPOINT a", "one", "SAVEPOINT b", "two", "SAVEPOINT `A`", "three", "ROLLBACK TO b", "four"):
        program.run(text)
    program.run("ROLLBACK TO a")  # succeeds nowhere in MySQL; if it did, this were all that we know
    program.commit()
    found = outcomes(records)
    assert [found[name] for name in ("one", "two", "three", "four")] == [
        "committed", "rolled back", "rolled back", "committed",
    ]  # fmt: skip


def test_savepoint_that_a_driver_sets_by_other_means(tracer: SqlContexts, records: Records) -> None:
    program, text = Program(tracer), "lost"
    tracer.savepoint(program.connection, "before any statement", "set")
    program.run("one")
    tracer.savepoint(program.connection, "s", "set")
    program.run(text, fetchable=True)
    assert records.statement == text
    tracer.savepoint(program.connection, "s", "rolled back")
    assert records.statement is None
    program.run("two")
    tracer.savepoint(program.connection, "s", "released")
    tracer.savepoint(program.connection, "s", "rolled back")
    program.commit()
    assert outcomes(records) == {"one": "committed", text: "rolled back", "two": "committed"}
    assert {each["database"] for each in records.contexts.values()} == {"db"}
    program.run("three")
    tracer.savepoint(program.connection, "before any statement", "rolled back")  # was of another transaction
    program.commit()
    assert outcomes(records)["three"] == "committed"
    assert tracer.troubles == 0


def test_savepoint_that_begins_a_transaction_of_sqlite_commits_with_its_release(
    tracer: SqlContexts, records: Records
) -> None:
    for in_transaction in (True, None):
        program = Program(tracer, "sqlite", in_transaction)
        name = f"n{in_transaction}"
        program.run("SAVEPOINT outermost")
        program.run("SAVEPOINT inner")
        program.run(name)
        program.run("RELEASE inner")
        program.run("RELEASE outermost", in_transaction=None if in_transaction is None else False)
        assert in_force() == 0
        assert outcomes(records)[name] == "committed"


def test_what_failed_changes_nothing(tracer: SqlContexts, records: Records) -> None:
    program = Program(tracer)
    program.run("one")
    for text in ("SAVEPOINT a", "ROLLBACK TO a", "COMMIT", "RELEASE a", "BEGIN"):
        program.run(text, error=ValueError())
    program.run("two")
    tracer.transaction_ends(program.connection, "rolled back")
    assert {outcomes(records)[name] for name in ("one", "two")} == {"rolled back"}


# ---- ends by text ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("COMMIT", "committed"), ("commit work;", "committed"), ("END", "committed"), ("/* x */ COMMIT", "committed"),
        ("COMMIT AND CHAIN", "committed"), ("ROLLBACK", "rolled back"), ("ABORT", "rolled back"),
        ("ROLLBACK AND CHAIN", "rolled back"), ("PREPARE TRANSACTION 'x'", "ended"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("in_transaction", [True, None])
def test_text_ends_the_transaction_even_if_another_one_is_open_then(
    tracer: SqlContexts, records: Records, text: str, outcome: str, in_transaction: bool | None
) -> None:
    program = Program(tracer, in_transaction=in_transaction)
    program.run("one")
    program.run(text)
    assert in_force() == 0
    program.run("two")
    tracer.transaction_ends(program.connection, "rolled back" if outcome == "committed" else "committed")
    found = outcomes(records)
    assert (found["one"], found["two"]) == (outcome, "rolled back" if outcome == "committed" else "committed")


def test_commit_that_the_server_answers_with_a_rollback(tracer: SqlContexts, records: Records) -> None:
    program = Program(tracer)
    program.run("one")
    program.run("two", error=ValueError())
    program.run("COMMIT", in_transaction=False, rolled_back=True)
    assert records.outcomes == [("one", "rolled back"), ("two", "failed: ValueError"), ("COMMIT", "rolled back")]


@pytest.mark.parametrize("in_transaction", [True, False, None])
def test_mysql_commits_before_it_changes_the_schema(
    tracer: SqlContexts, records: Records, in_transaction: bool | None
) -> None:
    program = Program(tracer, "mysql", None)
    program.run("one")
    program.run("CREATE TABLE t (a int)", in_transaction=in_transaction)
    program.run("two")
    program.run("CREATE TEMPORARY TABLE u (a int)")
    program.run("START TRANSACTION")
    program.run("three")
    tracer.transaction_ends(program.connection, "rolled back")
    found = outcomes(records)
    assert [found[name] for name in ("one", "two", "three")] == ["committed", "committed", "rolled back"]
    table = next(each for each in records.contexts.values() if each["statement"].startswith("CREATE TABLE"))
    assert (table["transaction"], table["autocommit"]) == (0, in_transaction is False)


def test_commit_without_a_transaction_opens_none(tracer: SqlContexts, records: Records) -> None:
    program = Program(tracer, in_transaction=None)
    program.run("COMMIT")
    program.run("COMMIT PREPARED 'x'", in_transaction=False)
    program.run("one", in_transaction=False)
    tracer.close()
    assert {each["transaction"] for each in records.contexts.values()} == {0}


@pytest.mark.parametrize(
    ("text", "outcome"),
    [("UPDATE t SET a = 1; COMMIT; ROLLBACK", "committed"), ("UPDATE t SET a = '; commit'; ROLLBACK;", "rolled back")],
)
def test_script_that_ends_the_transaction(tracer: SqlContexts, records: Records, text: str, outcome: str) -> None:
    program = Program(tracer)
    program.run("one")
    program.run(text, in_transaction=False)
    assert outcomes(records)["one"] == outcome


def action(text: str, dialect: str = "") -> tuple[Action, str]:
    return control(text, dialect)


@pytest.mark.parametrize(
    ("text", "dialect", "expected"),
    [
        ("SAVEPOINT a", "", (Action.SETS_SAVEPOINT, "a")),
        ("-- why\nsavepoint /* x */ MixedCase ; ", "", (Action.SETS_SAVEPOINT, "mixedcase")),
        ('SAVEPOINT "s1_x""2"', "postgresql", (Action.SETS_SAVEPOINT, 's1_x"2')),
        ('SAVEPOINT "Mixed"', "postgresql", (Action.SETS_SAVEPOINT, "Mixed")),
        ('SAVEPOINT "Mixed"', "sqlite", (Action.SETS_SAVEPOINT, "mixed")),
        ("SAVEPOINT 'Mixed'", "sqlite", (Action.SETS_SAVEPOINT, "mixed")),
        ('SAVEPOINT "Mixed"', "", (Action.SETS_SAVEPOINT, "Mixed")),
        ("SAVEPOINT `Mixed`", "mysql", (Action.SETS_SAVEPOINT, "mixed")),
        ("RELEASE SAVEPOINT a", "", (Action.RELEASES, "a")),
        ("RELEASE a", "sqlite", (Action.RELEASES, "a")),
        ("RELEASE savepoint", "sqlite", (Action.RELEASES, "savepoint")),
        ("ROLLBACK TO a", "", (Action.ROLLS_BACK_TO, "a")),
        ("ROLLBACK TO SAVEPOINT a", "", (Action.ROLLS_BACK_TO, "a")),
        ("ROLLBACK TRANSACTION TO a;", "", (Action.ROLLS_BACK_TO, "a")),
        ("rollback work to savepoint `A`", "mysql", (Action.ROLLS_BACK_TO, "a")),
        ("ROLLBACK PREPARED 'a'", "postgresql", (Action.NOTHING, "")),
        ("PREPARE p AS SELECT 1", "postgresql", (Action.NOTHING, "")),
        ("XA COMMIT 'x'", "mysql", (Action.COMMITS, "")),
        ("XA START 'x'", "mysql", (Action.NOTHING, "")),
        ("BEGIN IMMEDIATE", "sqlite", (Action.BEGINS, "")),
        ("START TRANSACTION", "mysql", (Action.COMMITS_AND_BEGINS, "")),
        ("START SLAVE", "mysql", (Action.NOTHING, "")),
        ("DROP TABLE t", "postgresql", (Action.NOTHING, "")),
        ("DROP TABLE t", "mysql", (Action.COMMITS_BEFORE, "")),
        ("DROP TEMPORARY TABLE t", "mysql", (Action.NOTHING, "")),
        ("SELECT 1", "", (Action.NOTHING, "")),
        ("", "", (Action.NOTHING, "")),
        ("SAVEPOINT", "", (Action.NOTHING, "")),
        ("RELEASE", "", (Action.NOTHING, "")),
        ("ROLLBACK TO", "", (Action.NOTHING, "")),
        ("/* " + "x" * 2000 + " */ COMMIT", "", (Action.NOTHING, "")),
    ],
)  # fmt: skip
def test_text_is_understood(text: str, dialect: str, expected: tuple[Action, str]) -> None:
    assert action(text, dialect) == expected


def several(text: str, dialect: str) -> str:
    """How the transaction before ends (?: perhaps not), what becomes of the text's own work in one and without one, and
    which transaction is open behind it: C committed, R rolled back, G goes on."""
    does = read_statement(text, dialect)[1]
    assert does & 0xFF == Action.SEVERAL
    first, inside, alone = (
        "".join(letter for bit, letter in enumerate("CRG") if does >> at & 7 & mask & 1 << bit) or "-"
        for at, mask in ((10, 3), (12, 7), (15, 7))
    )
    return f"{first}{'' if does >> 18 & 1 else '?'} {inside} {alone} {' +-?'[does >> 8 & 3]}".rstrip()


BODY = "CREATE PROCEDURE p() BEGIN IF a THEN COMMIT; END IF; SELECT CASE WHEN 1 THEN 2 END; END; ROLLBACK"


@pytest.mark.parametrize(
    ("text", "postgresql", "mysql", "sqlite", "unknown"),
    [
        ("a; b", "-? G G", "C? CG CG", "-? G G", "-? G G"),
        ("UPDATE t; COMMIT", *["C C C -"] * 4),
        ("UPDATE t; ROLLBACK", "R R R -", "R R CR -", "R R C -", "R R CR -"),
        ("ROLLBACK; INSERT", *["R G G -"] * 4),
        ("COMMIT; BEGIN", *["C - - +"] * 4),
        ("BEGIN; INSERT; ROLLBACK", "R R R -", "C R R -", "R R R -", "CR R R -"),
        ("INSERT; COMMIT AND CHAIN; INSERT; ROLLBACK", *["C CR CR -"] * 4),
        ("INSERT; COMMIT AND NO CHAIN", *["C C C -"] * 4),
        ("INSERT; PREPARE TRANSACTION 'x'", "CR CR CR -", "CR CR CR -", "CR CR C -", "CR CR CR -"),
        ("SAVEPOINT a; INSERT; ROLLBACK TO a; COMMIT", *["C CR CR -"] * 4),
        ("INSERT; ROLLBACK TO a", *["-? RG RG"] * 4),
        ("INSERT; CREATE TABLE t (a int); ROLLBACK", "R R R -", "C C C -", "R R C -", "R R CR -"),
        ("LOCK TABLES t WRITE; INSERT; ROLLBACK", "R R R -", "CR CR CR -", "R R C -", "R R CR -"),
        ("SET autocommit = 1; ROLLBACK", "R R R -", "CR CR CR -", "R R C -", "R R CR -"),
        ("INSERT; CALL p(); COMMIT", "C C C -", "CR CR CR -", "C C C -", "CR CR CR -"),
        (BODY, "R R R -", "C C C -", "R R C -", "R R CR -"),
        ("CREATE RULE r AS ON DELETE TO t DO (SELECT 1; SELECT 2); COMMIT", "C C C -", "C C C -", "C C C -", "C C C -"),
        ("UPDATE t SET a = '; COMMIT' /* ; COMMIT */; ROLLBACK", "R R R -", "R R CR -", "R R C -", "R R CR -"),
        ('SELECT 1 AS "; COMMIT"; INSERT; COMMIT', *["C C C -"] * 4),
        ("SELECT $a$; COMMIT; $a$; INSERT; ROLLBACK", "R R R -", "C CR CR -", "C C C -", "CR CRG CRG ?"),
        ("INSERT; /*!50000 COMMIT */; ROLLBACK", "R R R -", "CR CR CR -", "R R C -", "CR CRG CRG ?"),
        ("SELECT 'it\\'s; '; ROLLBACK", "CR CRG CRG ?", "CR CRG CRG ?", "-? G G", "CR CRG CRG ?"),
        ("INSERT; CREATE TRIGGER t FOR EACH ROW IF a THEN COMMIT; END IF", *["CR CRG CRG ?"] * 4),
        ("INSERT; SELECT " + "x" * 20_000, *["CR CRG CRG ?"] * 4),
    ],
)  # fmt: skip
def test_several_statements_are_read_to_the_last(
    text: str, postgresql: str, mysql: str, sqlite: str, unknown: str
) -> None:
    found = [several(text, dialect) for dialect in ("postgresql", "mysql", "sqlite", "")]
    assert found == [postgresql, mysql, sqlite, unknown]


@given(st.text(), st.sampled_from(["", "sqlite", "postgresql", "mysql"]))
def test_any_text_is_read_without_an_error(text: str, dialect: str) -> None:
    for before in ("", "SAVEPOINT ", "ROLLBACK TO ", "RELEASE ", "COMMIT ", "XA "):
        action(before + text, dialect)


# ---- a real database ------------------------------------------------------------------------------------------------


def test_savepoints_of_a_real_database(traced: sqlite3.Connection, records: Records) -> None:
    traced.isolation_level = None
    texts = ("DELETE FROM t", "BEGIN", "INSERT INTO t VALUES (1, 1)", "SAVEPOINT s", "UPDATE t SET a = 5 RETURNING b")
    for text in texts:
        traced.execute(text).fetchall()
    assert in_force() > 0
    traced.execute("ROLLBACK TO s")
    assert in_force() == 0
    traced.execute("SELECT a FROM t").fetchall()
    traced.execute("COMMIT")
    found = [(each["statement"], each["outcome"], each["autocommit"]) for each in records.contexts.values()]
    assert found[-8:] == [
        ("DELETE FROM t", "ended", True),
        ("BEGIN", "committed", False),
        ("INSERT INTO t VALUES (?, ?)", "committed", False),
        ("SAVEPOINT s", "committed", False),
        ("UPDATE t SET a = ? RETURNING b", "rolled back", False),
        ("ROLLBACK TO s", "committed", False),
        ("SELECT a FROM t", "committed", False),
        ("COMMIT", "committed", False),
    ]


def test_savepoint_is_in_the_journal(session: Callable[..., Session]) -> None:
    opened = session()
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for text in ("CREATE TABLE t (a)", "BEGIN", "SAVEPOINT s", "INSERT INTO t VALUES (1)", "ROLLBACK TO s", "COMMIT"):
        connection.execute(text)
    connection.close()
    opened.leave()
    data = opened.bytes()
    assert re.search(rb'{"outcome":"rolled back","scope":"savepoint","since":[0-9]+}', data)
    assert re.search(rb'"transaction":0,"autocommit":true}', data)
