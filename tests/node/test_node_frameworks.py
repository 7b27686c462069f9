"""Servers of web frameworks, with many requests at once: each write is under the statement of its own request, or none."""

from __future__ import annotations

import json
import os
import re
from itertools import product

import matrix
import pytest
import servers
from nodejs import EVERY_NODE, FRAMEWORKS, PROGRAMS, Node
from sqlprograms import SqlProgram

SOAK = bool(os.environ.get("MEMWATCH_SOAK"))
NAMES = ("express", "fastify", "koa", "nest")
DATABASES = {"pg": "postgresql_database", "mysql2": "mariadb_database"}
CLIENTS = ("elsewhere", "here")
"""In another process; in the server's own, as tests of servers are."""
MAIN = {("express", 20, "pg", "here"), ("express", 26, "mysql2", "elsewhere"), ("fastify", 24, "pg", "elsewhere")}
AT_ONCE = 50


def cells() -> list[object]:
    every = product(NAMES, EVERY_NODE, DATABASES, CLIENTS)
    chosen = [cell for n, cell in enumerate(every) if cell in MAIN or (SOAK and n % 2 == n // 4 % 2)]
    return [pytest.param(*cell, id="{}-node{}-{}-{}".format(*cell)) for cell in chosen]


def wrong(journal_seen: dict[int, str | None], noted: list[tuple[int, list[str | None], str]]) -> list[str]:
    """Writes that are under another statement than they should be. An empty list of names: under none."""

    def right(seen: str | None, names: list[str | None]) -> bool:
        return (
            None in (names or [None])
            if seen is None
            else any(re.search(rf"\b{name}\b", seen) for name in names if name)
        )

    return [
        f"{label}: {journal_seen[n]}, not {names}" for n, names, label in noted if not right(journal_seen[n], names)
    ]


@pytest.mark.parametrize(("framework", "node", "driver", "clients"), cells(), indirect=["node"])
def test_requests_write_under_statements_of_their_own(
    framework: str, node: Node, driver: str, clients: str, request: pytest.FixtureRequest
) -> None:
    matrix.record("web frameworks", f"{framework} on Node.js {node.version}", f"{driver}, clients {clients}")
    database: servers.PostgreSql | servers.MariaDb = request.getfixturevalue(DATABASES[driver])
    within = f"{database.database}." if driver == "mysql2" else ""
    database.administer(f"CREATE TABLE {within}items (id int PRIMARY KEY)")
    program = SqlProgram(node, driver, database, packages=FRAMEWORKS)
    node.write((PROGRAMS / "frameworks.js").read_text())
    requests = 5
    arguments = (framework, driver, str(AT_ONCE), str(requests), clients)
    done = node.run("--no-deprecation", "program.js", *arguments, timeout=300, DATABASE=json.dumps(program.config))
    told = json.loads(done.stdout)
    journal = node.read()
    seen = dict(journal.blamed())
    assert wrong(seen, told["noted"]) == []
    assert (done.stderr, told["troubles"]) == ("", [])
    assert len(seen) == len(told["noted"]) == int.from_bytes(journal.replayed("x", 4), "little")
    assert len(seen) > 4 * AT_ONCE * requests
    contexts = [event.context for event in journal.events if event.context]
    ends = {context.statement: journal.outcomes.get(context.id) for context in contexts}
    refused = {end for statement, end in ends.items() if re.search(r"AS e_\d", statement)}
    kept = {end for statement, end in ends.items() if re.search(r"AS f_\d", statement)}
    assert (refused, kept) == ({"rolled back"}, {"committed"})
