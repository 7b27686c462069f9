"""Risk: a driver behaves differently when it is traced. Judged by the drivers' own tests, all of them, not by ours."""

from __future__ import annotations

import contextlib
import re

import pytest
from own_suites.sources import SourceMissing

from .catalogue import SUITES
from .running import run, settled_differences


@pytest.mark.parametrize("name", SUITES)
def test_drivers_own_tests_end_the_same_with_tracing_on(name: str, request: pytest.FixtureRequest) -> None:
    suite = SUITES[name]
    if missing := suite.missing():
        pytest.skip(f"the plugin for {missing} isn't installed")
    databases = request.getfixturevalue(suite.server).fresh_database if suite.server else contextlib.nullcontext
    try:
        result = run(suite, databases)
    except SourceMissing as absent:
        pytest.skip(str(absent))
    assert result.passed() >= suite.tests
    assert result.contexts >= suite.contexts
    assert settled_differences(suite, databases, result) == {}
    for pattern, why in suite.known.items():
        assert any(re.fullmatch(pattern, test) for test in result.differences()), f"no longer so: {pattern}: {why}"
