"""A statement's effect on the transaction: ``COMMIT``, ``SAVEPOINT a``, ``CREATE TABLE`` in MySQL, ..."""

from __future__ import annotations

from enum import IntEnum

from ..native.tracing import read_statement


class Action(IntEnum):
    """``sql_action`` of ``core/text/statement.h``."""

    NOTHING = 0
    BEGINS = 1
    COMMITS = 2
    ROLLS_BACK = 3
    PREPARES = 4
    COMMITS_BEFORE = 5
    COMMITS_AND_BEGINS = 6
    SETS_SAVEPOINT = 7
    RELEASES = 8
    ROLLS_BACK_TO = 9
    SEVERAL = 10


def control(statement: str, dialect: str) -> tuple[Action, str]:
    """The statement's effect, and the name of its savepoint. Thread-safe; never raises."""
    _, action, savepoint = read_statement(statement, dialect)
    return Action(action & 0xFF), savepoint


def fold(name: str, dialect: str) -> str:
    """A savepoint's name, folded as the dialect compares names. Quotes were removed before."""
    return name.lower() if dialect in ("sqlite", "mysql") else name
