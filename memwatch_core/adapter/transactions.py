"""What the text of a statement does to the transaction: ``COMMIT``, ``SAVEPOINT a``, ``CREATE TABLE`` in MySQL ...

Only the first words are read. Functions may be called from any thread and never raise, whatever text they are given.
"""

from __future__ import annotations

import re
from enum import IntEnum


class Action(IntEnum):
    """``mwpy_action`` of ``python/sql/statement.h``."""

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
    MAY_ROLL_BACK = 10


_FIRST = frozenset(("BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE", "PREPARE", "XA"))
_DDL = frozenset(("ALTER", "CREATE", "DROP", "RENAME", "TRUNCATE"))
_UNCERTAIN = frozenset(("TEMPORARY", "FUNCTION"))  # a temporary table, a loadable function: they commit nothing
_FILLING = frozenset(("WORK", "TRANSACTION"))
_TOKEN = re.compile(
    r"""(?:\s+|--[^\n]*|\#[^\n]*|/\*.*?\*/)*
    ("[^"]*(?:""[^"]*)*" | '[^']*(?:''[^']*)*' | `[^`]*(?:``[^`]*)*` | \[[^\]]*\] | \w[\w$]* | \S)""",
    re.DOTALL | re.VERBOSE,
)
_WORDS = 12


def control(statement: str, text: str, dialect: str) -> tuple[Action, str]:
    """What it does, and the name of its savepoint. ``text``: the statement normalised."""
    word = text[:12].partition(" ")[0].rstrip(";").upper()
    if ";" in text.rstrip("; "):
        return _script(text), ""
    if word in _FIRST:
        return _single(_TOKEN.findall(statement[:1000])[:_WORDS], dialect)
    if dialect == "mysql" and word in _DDL and _UNCERTAIN.isdisjoint(text[:100].upper().split()[:5]):
        return Action.COMMITS_BEFORE, ""
    return Action.NOTHING, ""


def _single(tokens: list[str], dialect: str) -> tuple[Action, str]:
    tokens = [token for token in tokens if token != ";"]
    words = [token.upper() for token in tokens] + ["", ""]
    first, second = words[:2]
    if first == "SAVEPOINT" or first == "RELEASE":
        rest = tokens[2:] if (first, second) == ("RELEASE", "SAVEPOINT") and len(tokens) > 2 else tokens[1:]
        action = Action.SETS_SAVEPOINT if first == "SAVEPOINT" else Action.RELEASES
        return (action, _named(rest[0], dialect)) if rest else (Action.NOTHING, "")
    if first == "ROLLBACK" and "TO" in words[1:3]:
        rest = tokens[words.index("TO") + 1 :]
        if len(rest) > 1 and rest[0].upper() == "SAVEPOINT":
            del rest[0]
        return (Action.ROLLS_BACK_TO, _named(rest[0], dialect)) if rest else (Action.NOTHING, "")
    return _whole(first, second, dialect), ""


def _whole(first: str, second: str, dialect: str) -> Action:
    if first in ("COMMIT", "ROLLBACK") and second == "PREPARED":  # another transaction
        return Action.NOTHING
    if first == "XA":
        return {"COMMIT": Action.COMMITS, "ROLLBACK": Action.ROLLS_BACK, "PREPARE": Action.PREPARES}.get(
            second, Action.NOTHING
        )
    if first == "PREPARE":
        return Action.PREPARES if second == "TRANSACTION" else Action.NOTHING
    if first == "BEGIN" or (first == "START" and second == "TRANSACTION"):
        return Action.COMMITS_AND_BEGINS if dialect == "mysql" else Action.BEGINS
    if first in ("COMMIT", "END"):
        return Action.COMMITS
    return Action.ROLLS_BACK if first in ("ROLLBACK", "ABORT") else Action.NOTHING


def _script(text: str) -> Action:
    """Several statements in one text: literals are gone, so a semicolon is one."""
    for each in text.upper().split(";"):
        words = each.split()[:3]
        if words and words[0] in ("COMMIT", "END"):
            break
        if words and words[0] in ("ROLLBACK", "ABORT") and "TO" not in words and "PREPARED" not in words:
            return Action.MAY_ROLL_BACK
    return Action.NOTHING


def _named(token: str, dialect: str) -> str:
    """What a name stands for: without quotes, and in lower case where case doesn't count."""
    if token[0] in "\"'`[":
        return fold(token[1:-1].replace(token[0] * 2, token[0]), dialect)
    return token.lower()


def fold(name: str, dialect: str) -> str:
    """A name without quotes, or that was in quotes."""
    return name.lower() if dialect in ("sqlite", "mysql") else name
