"""Risk: a driver behaves differently when it is traced. Judged by the drivers' own tests, all of them, not by ours."""

from __future__ import annotations

import os

import matrix
import pytest
from driver_suites import SUITES, Ends, SuiteMissing, differences, lay, run
from nodejs import Node

SOAK = bool(os.environ.get("MEMWATCH_SOAK"))
TABLE = "drivers' own suites: passed of run, untraced and traced alike"


def count(ends: Ends) -> str:
    passed, skipped = (sum(end == what for end in ends.values()) for what in ("passed", "skipped"))
    return f"{passed}/{len(ends) - skipped}"


@pytest.mark.skipif(not SOAK, reason="takes minutes: in the long tests (make soak)")
@pytest.mark.parametrize("name", SUITES)
def test_drivers_own_tests_end_the_same_with_tracing_on(node: Node, name: str, request: pytest.FixtureRequest) -> None:
    suite = SUITES[name]
    matrix.record(TABLE, name, f"node{node.version}")
    try:
        lay(suite, node)
    except SuiteMissing as absent:
        pytest.skip(str(absent))
    database = request.getfixturevalue(suite.server) if suite.server else None
    untraced, _ = run(suite, node, database, traced=False)
    traced, contexts = run(suite, node, database, traced=True)
    for _ in range(2):  # some fail by chance, or if late
        if found := differences(untraced, traced):
            again = [run(suite, node, database, traced=tracing)[0] for tracing in (False, True)]
            for ends, new in zip((untraced, traced), again, strict=True):
                ends.update((test, new.get(test, "not run")) for test in found)
    assert differences(untraced, traced) == {}
    assert sum(end == "passed" for end in untraced.values()) >= suite.tests
    assert contexts >= suite.contexts
    matrix.record(TABLE, name, f"node{node.version}", count(untraced))
