"""numpy's own tests end as they do otherwise where the arrays that they make lie in watched pages."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import matrix
import pytest
from numpys_own import Wanted, build, run
from own_suites.outcomes import Differences, Ends, differences, known_by, passed, settled
from trackers import need

SOAK = bool(os.environ.get("MEMWATCH_SOAK"))
TABLE = "numpy's own tests, arrays in watched pages: passed of run"
TRACKERS = ["auto", "readonly"]
MODULES = {"test_multiarray": 2_500, "test_ufunc": 800, "test_umath": 4_000, "test_indexing": 90}
"""At least so many tests of each must pass, or it isn't what it was taken for."""
SOME = [
    "test_indexing",
    "test_ufunc::TestUfunc",
    *(
        f"test_multiarray::{name}"
        for name in (
            "TestAssignment",
            "TestFancyIndexing",
            "TestIO",
            "TestMethods",
            "TestPutmask",
            "TestResize",
            "TestStructured",
            "TestTake",
            "TestZeroRank",
        )
    ),
]
STEP = 12
MOST = 65_536
"""Bytes of an array up to which it is relocated: tests that sort millions of elements would take hours, at a signal for
each store."""
CASES = 200
"""Of a test, as many cases: six of test_multiarray, which sort, have 1,000 to 3,000 each."""
SHARE = 0.999
"""At least so many of all arrays are relocated."""
KNOWN: Mapping[str, str] = {}
"""Tests that end differently (a regular expression for the whole name), and why."""


class Runs:
    """Pairs of runs, each in folders of its own."""

    def __init__(self, tests: Sequence[str], tracker: str, step: int, scratch: Path) -> None:
        self.tests, self.tracker, self.step, self.scratch = tests, tracker, step, scratch
        self.handler = str(build(scratch))
        self.times = 0

    def one(self, handler: str) -> tuple[Ends, Mapping[str, int]]:
        self.times += 1
        folder = self.scratch / str(self.times)
        folder.mkdir()
        return run(
            self.tests, Wanted(str(folder), handler, self.tracker, MOST, self.step, CASES), 7200 if SOAK else 300
        )

    def again(self) -> Differences:
        return differences(self.one("")[0], self.one(self.handler)[0])


def end_the_same(runs: Runs, least: int) -> str:
    plain, _ = runs.one("")
    watched, told = runs.one(runs.handler)
    assert settled(differences(plain, watched), runs.again, known_by(KNOWN)) == {}
    assert passed(plain) >= least
    assert told["refused"] == 0, told
    assert told["arrays"] > 10 * len(plain), told
    assert told["arrays"] >= SHARE * (told["arrays"] + told["others"]), told
    assert told["stores"] > told["arrays"], told
    assert told["lost"] == 0, told
    return f"{passed(watched)}/{len(watched)}, {told['arrays']:,} arrays, {told['stores']:,} events"


@pytest.mark.parametrize("tracker", TRACKERS if SOAK else TRACKERS[:1])
def test_some_of_numpys_own_tests_end_the_same_in_watched_pages(tracker: str, tmp_path: Path) -> None:
    end_the_same(Runs(SOME, need(tracker), STEP, tmp_path), 80)


@pytest.mark.skipif(not SOAK, reason="takes minutes: in the long tests (make soak)")
@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("tracker", TRACKERS)
def test_numpys_own_tests_end_the_same_in_watched_pages(tracker: str, module: str, tmp_path: Path) -> None:
    matrix.record(TABLE, module, tracker)
    matrix.record(TABLE, module, tracker, end_the_same(Runs([module], need(tracker), 1, tmp_path), MODULES[module]))
