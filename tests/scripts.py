"""Texts of several statements, and what a database makes of them: no outcome that is told may be another one."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

Dialect = Literal["postgresql", "mysql", "sqlite"]

INSERT = "INSERT INTO t VALUES ('{}')"
WRONG = "INSERT INTO missing VALUES ('{}')"

TEXTS = [
    "{i}; COMMIT",
    "{i}; ROLLBACK",
    "{i}; {i}",
    "ROLLBACK; {i}",
    "COMMIT; {i}",
    "COMMIT; BEGIN",
    "ROLLBACK; BEGIN; {i}",
    "BEGIN; {i}; COMMIT",
    "BEGIN; {i}; ROLLBACK",
    "BEGIN; {i}",
    "{i}; BEGIN; {i}; ROLLBACK",
    "COMMIT; {i}; ROLLBACK",
    "COMMIT; BEGIN; {i}; ROLLBACK",
    "ROLLBACK; BEGIN; {i}; COMMIT",
    "{i}; COMMIT; BEGIN; {i}",
    "{i}; ROLLBACK; BEGIN; {i}; COMMIT",
    "SAVEPOINT a; {i}; RELEASE SAVEPOINT a",
    "SAVEPOINT a; {i}; ROLLBACK TO SAVEPOINT a",
    "{i}; SAVEPOINT a; {i}",
    "SAVEPOINT a; {i}; ROLLBACK TO SAVEPOINT a; COMMIT",
    "ROLLBACK TO SAVEPOINT outer1; {i}",
    "ROLLBACK TO SAVEPOINT outer1; {i}; COMMIT",
    "{i}; /* ; ROLLBACK */ COMMIT",
    "{i} -- ; COMMIT\n; ROLLBACK",
    "SELECT '; COMMIT'; {i}; ROLLBACK",
    'SELECT 1 AS "a;COMMIT"; {i}; COMMIT',
    "{i};;ROLLBACK;",
    "{x}; COMMIT",
    "{i}; {x}; COMMIT",
    "COMMIT; {x}",
    "ROLLBACK; {x}",
    "COMMIT; BEGIN; {i}; {x}; COMMIT",
    "{i}; COMMIT; {x}",
    "ROLLBACK; BEGIN; {i}; {x}",
    "{i}; {x}; ROLLBACK",
    "CREATE TABLE IF NOT EXISTS u (a int); {i}; ROLLBACK",
]
MORE: dict[Dialect, list[str]] = {
    "postgresql": [
        "{i}; COMMIT AND CHAIN; {i}; ROLLBACK",
        "ROLLBACK AND CHAIN; {i}",
        "{i}; ABORT",
        "{i}; END",
        "START TRANSACTION; {i}; ROLLBACK",
        "DO $$ BEGIN INSERT INTO t VALUES ('{n}'); END $$; ROLLBACK",
        "DO 'BEGIN PERFORM 1; END'; {i}; COMMIT",
        "{i}; SELECT $a$; COMMIT$a$; ROLLBACK",
        "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 1 "
        "END; END; {i}; ROLLBACK",
        "CREATE OR REPLACE RULE r AS ON DELETE TO t DO ALSO (SELECT 1; SELECT 2); {i}; ROLLBACK",
        "{i}; SELECT E'\\'; COMMIT; '; ROLLBACK",
    ],
    "mysql": [
        "{i}; COMMIT AND CHAIN; {i}; ROLLBACK",
        "ROLLBACK AND CHAIN; {i}",
        "START TRANSACTION; {i}; ROLLBACK",
        "{i}; START TRANSACTION; {i}; ROLLBACK",
        "{i}; CREATE OR REPLACE TABLE u (a int); ROLLBACK",
        "{i}; CREATE TEMPORARY TABLE IF NOT EXISTS v (a int); ROLLBACK",
        "LOCK TABLES t WRITE; {i}; UNLOCK TABLES; ROLLBACK",
        "{i}; CALL rolls_back()",
        "{i}; CALL commits()",
        "CALL rolls_back(); {i}",
        "{i}; CALL rolls_back(); {i}; COMMIT",
        "SET autocommit = 1; {i}; SET autocommit = 0; ROLLBACK",
        "CREATE OR REPLACE PROCEDURE q() BEGIN IF 1 THEN COMMIT; END IF; ROLLBACK; END; {i}; ROLLBACK",
        "BEGIN NOT ATOMIC INSERT INTO t VALUES ('{n}'); ROLLBACK; END; {i}",
        "{i}; /*!50000 ROLLBACK */; {i}; COMMIT",
        "{i}; /*!99999 COMMIT */; ROLLBACK",
        "SELECT 'it\\'s; COMMIT'; {i}; ROLLBACK",
        "SELECT `a;b` FROM (SELECT 1 AS `a;b`) AS u; {i}; ROLLBACK",
        "{i}; # ; COMMIT\nROLLBACK",
        "SET @a = 1; {i}; SELECT 1; COMMIT",
    ],
    "sqlite": [
        "BEGIN IMMEDIATE; {i}; ROLLBACK",
        "SAVEPOINT a; {i}; RELEASE a; {i}",
        "{i}; END",
        "BEGIN; SAVEPOINT a; {i}; RELEASE a; ROLLBACK",
        "CREATE TRIGGER IF NOT EXISTS x AFTER DELETE ON t BEGIN SELECT CASE 1 WHEN 1 THEN 2 END; SELECT 2; END; "
        "BEGIN; {i}; ROLLBACK",
        "BEGIN; {i}; SELECT [;COMMIT] FROM (SELECT 1 AS [;COMMIT]); ROLLBACK",
    ],
}
"""What only one of them has."""
PARTS = [
    *["{i}"] * 6,
    *["COMMIT", "ROLLBACK", "BEGIN"] * 2,
    "SAVEPOINT a",
    "SAVEPOINT outer1",
    "ROLLBACK TO SAVEPOINT a",
    "ROLLBACK TO SAVEPOINT outer1",
    "RELEASE SAVEPOINT a",
    "{x}",
    "SELECT 1",
]
BEFORE = {"none": [], "open": ["BEGIN", "{i}"], "savepoint": ["BEGIN", "{i}", "SAVEPOINT outer1", "{i}"]}
AFTER = {
    "commit": ["{i}", "COMMIT"],
    "rollback": ["{i}", "ROLLBACK"],
    "at once": [],
    "to": ["ROLLBACK TO SAVEPOINT a", "COMMIT"],
}


@dataclass
class Script:
    """Statements that are run one after the other, one of them a text of several."""

    statements: list[str]
    text: str
    autocommit: bool
    read: bool
    """Whether all results of the text are fetched before anything else is run."""
    certain: bool
    """Nothing in it may leave what other statements have done untold."""
    sure: bool
    """Nor what the text itself has."""
    ends: str
    """What the connection is told in the end by other means than a statement: commit, rollback, close."""
    done: list[tuple[str, str]] = field(default_factory=list)
    """(statement, outcome that was told)."""

    def judge(self, present: set[str]) -> list[str]:
        """What is wrong: told committed and not there, or the other way round. ``present``: what the table holds."""
        wrong = []
        for statement, outcome in self.done:
            names = set(re.findall(r"INTO t VALUES \('(\w+)'\)", statement))
            if (outcome == "committed" and not names <= present) or (outcome == "rolled back" and names & present):
                wrong.append(
                    f"{statement!r} was told {outcome}; of {sorted(names)}, {sorted(names & present)} are there"
                )
            told = self.sure if statement == self.text else self.certain
            if told and names and outcome == "ended" and (names <= present or not names & present):
                wrong.append(f"{statement!r} was left untold; of {sorted(names)}, {sorted(names & present)} are there")
        return wrong


UNCERTAIN = re.compile(r"missing|;;|SAVEPOINT|CREATE|CALL|NOT ATOMIC|/\*!|'it|LOCK|SET autocommit")
SURE = {
    "{i}; COMMIT",
    "ROLLBACK; BEGIN; {i}",
    "BEGIN; {i}; COMMIT",
    "BEGIN; {i}; ROLLBACK",
    "BEGIN; {i}",
    "ROLLBACK; BEGIN; {i}; COMMIT",
    "COMMIT; BEGIN; {i}; ROLLBACK",
    "{i}; /* ; ROLLBACK */ COMMIT",
    "START TRANSACTION; {i}; ROLLBACK",
    "SET @a = 1; {i}; SELECT 1; COMMIT",
    "BEGIN IMMEDIATE; {i}; ROLLBACK",
}
"""Of these the outcome is always told, if their results were read."""


def scripts(dialect: Dialect, count: int, *, tags: str = "") -> Iterator[Script]:
    """Each text between each before and after, and ``count`` that are drawn."""
    draw = random.Random(f"{dialect} {tags}")
    number = 0

    def filled(text: str) -> str:
        nonlocal number

        def name(found: re.Match[str]) -> str:
            nonlocal number
            number += 1
            return {"{i}": INSERT, "{x}": WRONG, "{n}": "{}"}[found[0]].format(f"n{number}")

        return re.sub(r"\{[ixn]\}", name, text)

    drawn = ["; ".join(draw.choices(PARTS, k=draw.randint(2, 6))) for _ in range(count)]
    for at, text in enumerate([*TEXTS, *MORE[dialect], *drawn]):
        for before in BEFORE if at < len(TEXTS) + len(MORE[dialect]) else [draw.choice(list(BEFORE))]:
            after = draw.choice(list(AFTER))
            several = filled(text)
            statements = [*map(filled, BEFORE[before]), several, *map(filled, AFTER[after])]
            read = draw.random() < 0.6
            certain = not UNCERTAIN.search(" ".join(statements)) and (read or statements[-1] != several)
            if dialect == "sqlite" and before != "none" and "BEGIN" in several:
                certain = False  # it fails
            ends = draw.choice(["commit", "rollback", "close"])
            yield Script(statements, several, draw.random() < 0.5, read, certain, certain and text in SURE, ends)
