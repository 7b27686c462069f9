"""A condition is judged, and acted on, whatever is written to in whichever way, under every tracker: on the line that
stored, or the one behind it, in the frame that stored."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from trackers import need
from writing_ways import CASES, lines_of

from memwatch_core import MutationError
from memwatch_core.adapter import breaks

HERE = Path(__file__).parent
PAIRS = [(kind, way) for kind, (_, _, ways) in CASES.items() for way in ways]
LATE = 1
"""A store that faulted is noticed at the next instruction: of the same line, or of the one behind it."""


class Seen:
    """What a function is told, and the frame that it is called from."""

    def __init__(self) -> None:
        self.hits: list[tuple[Any, str, int]] = []

    def __call__(self, hit: Any) -> None:
        frame = sys._getframe(1)
        self.hits.append((hit, frame.f_code.co_name, frame.f_lineno))


def check(found: tuple[Any, str, int], way: Any) -> None:
    hit, function, line = found
    stored, _ = lines_of(way)
    assert function == way.__name__
    assert stored <= line <= stored + LATE
    assert hit.site == (hit.site[0], stored, way.__name__)
    assert Path(hit.site[0]).name == "writing_ways.py"
    assert hit.more <= 2  # memcpy may store the same bytes more than once
    assert hit.changed


@pytest.mark.usefixtures("journal")
@pytest.mark.parametrize("then", ["raise", "call", "break"])
@pytest.mark.parametrize(("kind", "way"), PAIRS, ids=lambda each: getattr(each, "__name__", each))
def test_each_way_is_acted_on_where_it_stored(kind: str, way: Any, then: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, when, _ = CASES[kind]
    seen, stopped = Seen(), []
    monkeypatch.setattr(sys, "breakpointhook", lambda: stopped.append(sys._getframe(1)))
    x = make(when=when, then={"call": seen}.get(then, then))
    if then == "raise":
        with pytest.raises(MutationError) as raised:
            way(x)
        trace = raised.value.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        assert trace is not None
        check((raised.value.hit, trace.tb_frame.f_code.co_name, trace.tb_lineno), way)
        return
    way(x)
    if then == "break":
        (frame,) = stopped
        assert frame.f_code.co_name == way.__name__
        return
    (found,) = seen.hits
    check(found, way)


@pytest.mark.parametrize("tracker", ["uffd-sigbus", "readonly", "uffd-queue"])
def test_each_way_under_each_tracker(tracker: str, tmp_path: Path) -> None:
    """In a process of its own, which has one tracker."""
    run = subprocess.run(
        [sys.executable, HERE / "all_ways.py"],
        cwd=tmp_path,
        env={"MEMWATCH_CORE_TRACKER": need(tracker), "PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    found = json.loads(run.stdout)
    assert len(found) == len(PAIRS)
    for kind, way, function, line, site in found:
        stored, _ = lines_of(next(each for k, each in PAIRS if (k, each.__name__) == (kind, way)))
        assert (function, site) == (way, stored), (kind, way)
        assert stored <= line <= stored + LATE, (kind, way)


@pytest.mark.usefixtures("journal")
@pytest.mark.parametrize("kind", CASES)
def test_a_condition_that_isnt_met_changes_nothing(kind: str) -> None:
    make, _, ways = CASES[kind]
    seen = Seen()
    for way in ways:
        way(make(when="changed and not changed", then=seen))
    assert not seen.hits


@pytest.mark.usefixtures("journal")
@pytest.mark.parametrize("kind", ["int", "attribute", "item"])
def test_disarmed_it_is_judged_no_more(kind: str) -> None:
    make, when, ways = CASES[kind]
    seen = Seen()
    x = make()
    handles = [breaks.arm(x, when, seen), breaks.arm(x, "not (" + when + ")", seen)]
    ways[0](x)
    assert len(seen.hits) == 1
    breaks.disarm(handles[0])
    breaks.disarm(handles[0])
    ways[0](make())
    again = make()
    breaks.disarm(breaks.arm(again, when, seen))
    ways[0](again)
    assert len(seen.hits) == 1
    breaks.disarm(handles[1])
