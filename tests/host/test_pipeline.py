"""Sinks are isolated from each other: what one does to itself costs the others nothing."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from memwatch_core.host.pipeline import Pipeline
from memwatch_core.records import Notice, Record

BATCHES: list[list[Record]] = [[Notice(10 * i + j, 1, f"{i}.{j}") for j in range(3)] for i in range(4)]


class Recorder:
    """A sink that raises where and when it is told to, and notes what reaches it."""

    def __init__(self, at: str = "", after: int = 0, error: BaseException | None = None) -> None:
        self.records: list[Record] = []
        self.calls: list[str] = []
        self._at, self._after, self._error = at, after, error or OSError("disk on fire")

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name == self._at and self.calls.count(name) > self._after:
            raise self._error

    def write(self, records: Sequence[Record]) -> None:
        self._call("write")
        self.records.extend(records)

    def flush(self) -> None:
        self._call("flush")

    def close(self) -> None:
        self._call("close")


def run(*sinks: Recorder) -> tuple[Pipeline, list[str]]:
    said: list[str] = []
    pipeline = Pipeline([(f"sink{i}", sink) for i, sink in enumerate(sinks)], said.append)
    for batch in BATCHES:
        pipeline.write(batch)
        pipeline.flush()
    pipeline.close()
    pipeline.close()
    return pipeline, said


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize(("at", "after"), [("write", 0), ("write", 2), ("flush", 1), ("close", 0)])
def test_sink_that_raises_is_reported_once_and_the_others_lose_nothing(place: int, at: str, after: int) -> None:
    sinks = [Recorder() for _ in range(3)]
    sinks[place] = Recorder(at, after)
    pipeline, said = run(*sinks)
    everything = [record for batch in BATCHES for record in batch]
    for i, sink in enumerate(sinks):
        if i != place:
            assert sink.records == everything
            assert sink.calls.count("close") == 1
            assert sink.calls[-2:] == ["flush", "close"]
    assert len(said) == 1
    assert f"sink 'sink{place}' failed in {at}() (OSError: disk on fire)" in said[0]
    bad = sinks[place]
    assert bad.calls.count(at) == after + 1, "never called again where it failed"
    assert bad.calls[-1] == "close"
    assert bad.calls.count("close") == 1
    assert len(bad.records) + pipeline.outputs[place].unwritten == len(everything)


def test_reader_that_went_away_is_not_worth_a_message() -> None:
    sinks = [Recorder("write", 1, BrokenPipeError(32, "Broken pipe")), Recorder()]
    _, said = run(*sinks)
    assert said == []
    assert len(sinks[1].records) == 12
    assert len(sinks[0].records) == 3


def test_interrupt_is_not_swallowed() -> None:
    pipeline = Pipeline([("x", Recorder("write", 0, KeyboardInterrupt()))], print)
    with pytest.raises(KeyboardInterrupt):
        pipeline.write(BATCHES[0])
