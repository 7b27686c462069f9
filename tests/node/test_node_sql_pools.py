"""Pools in trouble, many flows at once: timeouts, cancelled and lost statements, streams that are left, a pool that ends; in
workers with pools of their own as well. Each write is under its own flow's statement, or none."""

from __future__ import annotations

import json
import os
import re

import pytest
import servers
from nodejs import PROGRAMS, VERSIONS, Journal, Node
from sqlprograms import SqlProgram

SOAK = bool(os.environ.get("MEMWATCH_SOAK"))
FLOWS = 50 if SOAK else 8
DATABASES = {"pg": "postgresql_database", "mysql2": "mariadb_database"}
CELLS = [(driver, node) for driver in DATABASES for node in VERSIONS] if SOAK else [("pg", 24), ("mysql2", 20)]


def wrong(journal: Journal, cases: list[str]) -> list[str]:
    """Writes under what isn't right for their array: case, write, flow, what was in force."""
    found = []
    for variable in ("own", "maybe", "none"):
        for value, statement in journal.blamed(variable):
            case, write, flow = value // 100_000, value // 1000 % 100, value % 1000
            own = statement is not None and re.search(rf"\bf{flow}_", statement) is not None
            if not {"own": own, "maybe": own or statement is None, "none": statement is None}[variable]:
                found.append(f"{cases[case - 1]} {write} of flow {flow}: {variable}, {statement}")
    return found


@pytest.mark.parametrize(("driver", "node"), CELLS, indirect=["node"])
def test_flows_of_pools_in_trouble_have_their_own_statements_or_none(
    driver: str, node: Node, request: pytest.FixtureRequest
) -> None:
    database: servers.PostgreSql | servers.MariaDb = request.getfixturevalue(DATABASES[driver])
    program = SqlProgram(node, driver, database)
    node.write((PROGRAMS / f"pools_{driver}.js").read_text())
    done = node.run("--no-deprecation", "program.js", str(FLOWS), DATABASE=json.dumps(program.config), timeout=300)
    cases, ends = json.loads(done.stdout)
    assert (done.stderr, ends) == ("", [0, 0])
    journal = node.read()
    assert wrong(journal, cases) == []
    assert len(journal.blamed("own")) > 3 * 3 * FLOWS * len(cases)
    assert {event.thread for event in journal.events} == {"main", "worker 1", "worker 2"}
