"""Risk: a program behaves differently when all its variables are watched. Judged by the own tests of packages that
people use, all of them, not by ours."""

from __future__ import annotations

import os

import matrix
import pytest
from own_suites.outcomes import Differences, differences, known_by, passed, settled
from own_suites.sources import SourceMissing

from .catalogue import SUITES
from .running import run

SOAK = bool(os.environ.get("MEMWATCH_SOAK"))
TABLE = "packages' own suites under --track-all-vars --track-locals: passed of run"


@pytest.mark.skipif(not SOAK, reason="takes minutes: in the long tests (make soak)")
@pytest.mark.parametrize("name", SUITES)
def test_packages_own_tests_end_the_same_with_all_their_variables_watched(name: str) -> None:
    suite = SUITES[name]
    matrix.record(TABLE, name, "watched")
    try:
        plain, watched = run(suite, "plain"), run(suite, "watched")
    except SourceMissing as absent:
        pytest.skip(str(absent))

    def again() -> Differences:
        return differences(run(suite, "plain").ends, run(suite, "watched").ends)

    assert settled(differences(plain.ends, watched.ends), again, known_by(suite.known)) == {}
    assert passed(plain.ends) >= suite.tests
    assert watched.variables >= suite.variables, watched.said[-3000:]
    assert watched.events >= suite.events
    matrix.record(TABLE, name, "watched", f"{passed(watched.ends)}/{len(watched.ends)}")
    matrix.record(TABLE, name, "events", f"{watched.events:,}")
