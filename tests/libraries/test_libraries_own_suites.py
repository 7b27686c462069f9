"""Risk: an object behaves differently when it is watched where it lies. Judged by the own tests of libraries that make
objects, all of them, not by ours."""

from __future__ import annotations

import os
import sys

import matrix
import pytest
from own_suites.outcomes import Differences, differences, known_by, passed, settled
from own_suites.sources import SourceMissing

from .catalogue import SUITES
from .running import run

SOAK = bool(os.environ.get("MEMWATCH_SOAK"))
TABLE = "libraries' own suites, their objects watched where they lie: passed of run"
pytestmark = pytest.mark.skipif(sys.version_info < (3, 12), reason="faults of CPython 3.11 take too long")


@pytest.mark.skipif(not SOAK, reason="takes minutes: in the long tests (make soak)")
@pytest.mark.parametrize("name", SUITES)
def test_libraries_own_tests_end_the_same_with_their_objects_watched(name: str) -> None:
    suite = SUITES[name]
    matrix.record(TABLE, name, "watched")
    try:
        told, watched = run(suite, "told"), run(suite, "watched")
    except SourceMissing as absent:
        pytest.skip(str(absent))

    def again() -> Differences:
        return differences(run(suite, "told").ends, run(suite, "watched").ends)

    assert settled(differences(told.ends, watched.ends), again, known_by(suite.known)) == {}
    assert passed(told.ends) >= suite.tests
    assert watched.counts["watched"] >= suite.watched
    assert not watched.counts["troubles"]
    matrix.record(TABLE, name, "watched", f"{passed(watched.ends)}/{len(watched.ends)}")
