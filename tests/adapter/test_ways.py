"""Every way to write makes events that name the right file, line and function, under both trackers."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import ways

TRACKERS = ("readonly", "uffd-sigbus")


@functools.cache
def run(tracker: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ways.__file__],
        env={**os.environ, "MEMWATCH_CORE_TRACKER": tracker},
        capture_output=True,
        text=True,
        timeout=120,
        cwd=Path(__file__).parent,
    )


def outcome(tracker: str) -> dict[str, Any]:
    done = run(tracker)
    assert done.returncode == 0, (
        f"the program ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    )
    results: dict[str, Any] = json.loads(done.stdout)
    assert results["tracker"] == tracker
    return results


@pytest.mark.parametrize("tracker", TRACKERS)
@pytest.mark.parametrize("name", ways.WAYS)
def test_write_names_its_file_line_and_function(name: str, tracker: str) -> None:
    way = ways.WAYS[name]
    stores = outcome(tracker)[name]["stores"]
    assert stores, "no event at all"
    if way.function == "nobody":  # native code, which is named when the journal is read
        assert all(store[0] and store[2].startswith("+0x") for store in stores)
    else:
        assert {(store[0], store[2]) for store in stores} == {(way.file, way.function)}
    assert {store[1] for store in stores} == way.lines
    if way.origin:
        assert {store[3] for store in stores} == {way.origin}
    if way.events:
        assert len(stores) == way.events
    assert all(exact for *_, exact, _, _, _ in stores)


@pytest.mark.parametrize("tracker", TRACKERS)
@pytest.mark.parametrize("name", ways.WAYS)
def test_events_of_one_variable_follow_from_each_other(name: str, tracker: str) -> None:
    """And the last ones leave the memory as the program sees it."""
    memory: dict[int, int] = {}
    for *_, before, after, offset in outcome(tracker)[name]["stores"]:
        for i, (old, new) in enumerate(zip(bytes.fromhex(before), bytes.fromhex(after), strict=True)):
            assert memory.get(offset + i, old) == old, "an event begins with other bytes than the one before left"
            memory[offset + i] = new
    header = 8 if ways.WAYS[name].kind in ("bytes", "bytearray", "big") else 0
    final = bytes.fromhex(outcome(tracker)[name]["final"])
    seen = {at: byte for at, byte in memory.items() if header <= at < header + len(final)}
    assert seen == {at: final[at - header] for at in seen}
    assert seen or not final


@pytest.mark.parametrize("tracker", TRACKERS)
@pytest.mark.parametrize("kind", ["announced", "store"])
def test_exec_that_reuses_code_addresses_gives_right_lines(kind: str, tracker: str) -> None:
    found = outcome(tracker)["reused addresses"]
    assert found[kind] == 0, f"{found[kind]} of 300 lines wrong"
    if kind == "store":
        assert found["store addresses"] < 300, "no address was used twice: this test tested nothing"


def test_at_least_forty_ways() -> None:
    assert len(ways.WAYS) >= 40
