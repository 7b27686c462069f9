"""No store is missed and none is counted twice, however many threads store, and whatever signals come in between."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from .conftest import SOAK, Build

SCENARIOS = {
    # what four threads do: stores of each
    "xadd": 50_000,  # lock xadd on one 8-byte word
    "words": 50_000,  # plain stores to different words of one page
    "mixed": 20_000,  # lock xadd, and mw_write to the same word from a fifth
    "across": 20_000,  # plain and locked, across two pages and across a cache line
    "vectors": 20_000,  # vector stores side by side
    "strings": 10_000,  # rep stosb, overlapping each other
    "storm-xadd": 15_000,  # a SIGALRM every 150 µs whose handler stores to the same page
    "storm-vectors": 15_000,
    "storm-across": 10_000,
}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_store_is_an_event_in_order(scenario: str, tracker: str, build: Build, tmp_path: Path) -> None:
    count = SCENARIOS[scenario] * 3 if SOAK else SCENARIOS[scenario] // 2
    command: list[str | Path] = [build("counting.c"), tracker, tmp_path / "journal", scenario, str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60 * (20 if SOAK else 1))
    (tmp_path / "journal").unlink(missing_ok=True)  # up to 100 MB
    assert done.returncode == 0, f"status {done.returncode}: {done.stdout}{done.stderr}"
