"""What a numpy statement writes to watched memory is one line, and the line agrees with numpy."""

from __future__ import annotations

import itertools
import re
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import memwatch_serializer_numpy
import numpy as np
import pytest

from memwatch_core import session, watch
from memwatch_core.host.merge import SessionDecoder
from memwatch_core.host.merging import GAP_NS, Merging
from memwatch_core.records import Event, Merged, Record

STATEMENTS = {
    "a[:, 3] = 1": 1,
    "a[3, 7] = 2.5": 1,
    "a[10:20, 2:5] += 1": 1,
    "a += 1": 1,
    "for i in range(1000): a[i, 3] = i": 1,
    "for _ in range(3): a[:] += 2": 3,
    "a[::-3, 1] = 9": 1,
    "a[random.random(a.shape) < .1] = 0": 1,
    "a[[3, 5, 9], [1, 1, 2]] = 4": 1,
    "a[5:900:7, ::2] = 3": 1,
    "a[100:200] = np.arange(8)": 1,
    "np.multiply(v, 1.5, out=v)": 1,
    "v[:4096][::-1].sort()": 2,
    "v[100:300] = 0": 1,
    "np.add.at(v, random.integers(0, 4000, 500), 1)": 1,
    "np.fill_diagonal(m, 7)": 1,
    "random.shuffle(m)": 3,
    "m.T[2, :] = 5": 1,
    "m.T[:, 3] = 6": 1,
    "m[1:30, 1:30] = m[2:31, 2:31]": 1,
    "np.cumsum(v[:1000], out=v[:1000])": 1,
    "v.reshape(2, -1)[:, 7] = 8": 1,
}
"""For each, how many lines it may be: one if it sweeps over what it writes, one for each sweep; a few if it jumps about
and comes across its own beginning."""

NAMES = {
    "a[:, 3] = 1": ["[:, 3]"],
    "a[3, 7] = 2.5": ["[3, 7]"],
    "a[10:20, 2:5] += 1": ["[10:20, 2:5]"],
    "a += 1": [""],
    "for i in range(1000): a[i, 3] = i": ["[:, 3]"],
    "for _ in range(3): a[:] += 2": ["", "", ""],
    "a[::-3, 1] = 9": ["[::3, 1]"],
    "a[[3, 5, 9], [1, 1, 2]] = 4": ["[3:6:2, 1], [9, 2]"],
    "a[5:900:7, ::2] = 3": ["[5:895:7, ::2]"],
    "a[100:200] = np.arange(8)": ["[100:200]"],
    "np.multiply(v, 1.5, out=v)": [""],
    "v[100:300] = 0": ["[100:300]"],
    "np.fill_diagonal(m, 7)": [".flat[::65]"],
    "m.T[2, :] = 5": ["[:, 2]"],
    "m.T[:, 3] = 6": ["[3]"],
    "np.cumsum(v[:1000], out=v[:1000])": ["[0:1000]"],
    "v.reshape(2, -1)[:, 7] = 8": ["[7::32768]"],
}
"""What the lines are called. The others jump about, so it depends on the build of numpy where a line ends, and in what
range it lies: their names are checked by what they are of."""

SERIALIZERS = {one.name: one for one in memwatch_serializer_numpy.memwatch_serializers()}


def array(shape: tuple[int, ...], name: str) -> Any:
    return watch(np.zeros(shape), name=name)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Of each statement: its lines, its events, and each array before and after it."""
    folder = tmp_path_factory.mktemp("lines")
    snapshots = []
    with session(folder=folder, sinks=[], watch={"stack": 16}) as recorded:
        arrays = {"a": array((1000, 8), "a"), "v": array((65536,), "v"), "m": array((64, 64), "m")}
        names = {"np": np, "random": np.random.default_rng(1), **arrays}
        for number, statement in enumerate(STATEMENTS, 1):
            code = compile("\n" * (number - 1) + statement, "/srv/statements.py", "exec")
            before = {name: each.copy() for name, each in arrays.items()}
            exec(code, names)
            time.sleep(1.2 * GAP_NS / 1e9)
            snapshots.append((before, {name: each.copy() for name, each in arrays.items()}))
        path = recorded.folder

    def by_line(records: Iterator[Record]) -> dict[int, list[Any]]:
        found = defaultdict(list)
        for record in records:
            if isinstance(record, Event | Merged):
                own = (record.first if isinstance(record, Merged) else record).own
                if own is not None and own.file == "/srv/statements.py":
                    found[own.line].append(record)
        return found

    lines, events = (
        by_line(r for batch in SessionDecoder(path, SERIALIZERS, merging=how).batches() for r in batch)
        for how in (Merging(), None)
    )
    return {
        statement: (lines[number], events[number], *snapshots[number - 1])
        for number, statement in enumerate(STATEMENTS, 1)
    }


def pauses(events: list[Event]) -> int:
    """How often a busy machine has kept a statement waiting for so long that its line ended."""
    return sum(after.time_ns - before.time_ns > GAP_NS for before, after in itertools.pairwise(events))


def items_of(line: Merged) -> Any:
    """The elements that a line wrote, by their numbers in the array."""
    spans = []
    for span in line.spans:
        starts = np.array([span.start])
        for stride, count in span.strides:
            starts = (starts[:, None] + stride * np.arange(count)).ravel()
        spans.append((starts[:, None] + np.arange(0, span.length, 8)).ravel())
    return np.concatenate(spans) // 8


@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_statement_is_one_line_that_has_all_of_its_events(statement: str, told: dict[str, Any]) -> None:
    lines, events, _, _ = told[statement]
    assert events
    assert 1 <= len(lines) <= STATEMENTS[statement] + pauses(events), [getattr(line, "name", line) for line in lines]
    assert sum(line.stores if isinstance(line, Merged) else 1 for line in lines) == len(events)


@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_line_says_what_numpy_wrote(statement: str, told: dict[str, Any]) -> None:
    lines, _, before, after = told[statement]
    if len(lines) > 1 or not isinstance(lines[0], Merged):
        return  # each sweep has its own before and after
    (line,) = lines
    old, new = (each[line.first.variable].ravel() for each in (before, after))
    changed = np.flatnonzero(old.view("u8") != new.view("u8"))
    if not line.spans:
        assert line.start <= 8 * changed.min()
        assert 8 * changed.max() + 8 <= line.stop
        assert line.old.low <= old[changed].min() <= old[changed].max() <= line.old.high
        assert line.new.low <= new[changed].min() <= new[changed].max() <= line.new.high
        return
    written = items_of(line)
    assert len(written) == len(set(written.tolist())) == line.elements
    assert set(changed.tolist()) <= set(written.tolist())
    if line.bytes == 8 * line.elements:  # nothing twice
        assert (line.old.low, line.old.high) == (old[written].min(), old[written].max())
        assert (line.new.low, line.new.high) == (new[written].min(), new[written].max())
    assert line.new.same == (len(set(new[written].view("u8").tolist())) == 1)


def test_all_of_them_are_hardly_more_lines_than_statements(told: dict[str, Any]) -> None:
    assert len(STATEMENTS) == 22
    assert sum(len(events) for _, events, _, _ in told.values()) > 20_000
    assert sum(len(lines) for lines, _, _, _ in told.values()) <= 27 + sum(
        pauses(events) for _, events, _, _ in told.values()
    )


@pytest.mark.parametrize("statement", STATEMENTS)
def test_lines_are_called_as_one_writes_the_elements(statement: str, told: dict[str, Any]) -> None:
    lines, events, before, after = told[statement]
    names = [line.name if isinstance(line, Merged) else line.part.name for line in lines]
    if statement in NAMES and not pauses(events):
        assert names == NAMES[statement]
    variable = (lines[0].first if isinstance(lines[0], Merged) else lines[0]).variable
    old, new = before[variable], after[variable]
    ids = np.arange(old.size).reshape(old.shape)
    changed = ids[old.view("u8") != new.view("u8")]
    assert set(changed.tolist()) <= {each for name in names for each in under(ids, name)}


def under(ids: Any, name: str) -> set[int]:
    """The elements that a name, or several, stand for."""
    found = set(ids.ravel().tolist() if not name else [])
    for head, tail in re.findall(r"((?:\.flat)?\[[^]]*\])(?:…(\[[^]]*\]))?", name):
        part = np.ravel(eval(f"ids{head}", {"ids": ids}))
        last = np.max(eval(f"ids{tail}", {"ids": ids})) if tail else None
        found |= set(part.tolist() if last is None else range(part.min(), last + 1))
    return found
