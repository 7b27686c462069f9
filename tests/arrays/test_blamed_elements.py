"""Rows of blame claim the bytes that they hold, and no others: of arrays of any dtype, each row is of the last line
that wrote its bytes, and shows what numpy reads there."""

from __future__ import annotations

import random
import re
from typing import Any

import msgspec
import numpy as np
import pytest
from memwatch_serializer_numpy import memwatch_serializers
from memwatch_serializer_numpy.dtypes import described
from test_elements import SPACED, address, evaluated, listed, same

from memwatch_core.answers.blamed import Row, rows
from memwatch_core.answers.memory import Memory, Sites
from memwatch_core.answers.parts import Parts
from memwatch_core.answers.states import Value
from memwatch_core.records import Event, Variable

SERIALIZERS = {each.name: each for each in memwatch_serializers()}
LEAVES = ["<i4", "u1", ">i2", "<f8", "<c16", ">c8", "S3", "<U2", "V5", "<M8[s]", "S300", "<f2", "?", "<f4"]
PER_TEST = 60


def dtype_of(chance: random.Random, depth: int = 0) -> Any:
    kind = chance.choice(["leaf", "leaf", "record", "record", "block"]) if depth < 3 else "leaf"
    if kind == "leaf" or (kind == "block" and not depth):
        return np.dtype(chance.choice(LEAVES if not depth else [each for each in LEAVES if each != "S300"]))
    if kind == "block":
        return np.dtype((dtype_of(chance, depth + 1), tuple(chance.randint(1, 3) for _ in range(chance.randint(1, 3)))))
    names = chance.sample(["a", "b", "c", "unit price", 'x"y', "größe"], chance.randint(1, 4))
    fields = [(name, dtype_of(chance, depth + 1)) for name in names]
    return chance.choice([np.dtype(fields), np.dtype(fields, align=True), SPACED])


def watched(view: Any, data: Any, *flags: str) -> Value:
    options = {
        "dtype": described(view.dtype), "shape": list(view.shape), "strides": list(view.strides),
        "offset": address(view) - address(data),
    }  # fmt: skip
    variable = Variable(
        id=1,
        name="v",
        pid=1,
        runtime="python",
        serializer="numpy",
        size=data.nbytes,
        options=options,
        flags=flags,
        watched_at=None,
    )
    value = Value("j", 1, 1, "python", "v")
    value.variable, value.parts = variable, Parts(variable, SERIALIZERS)
    value.memory = Memory(data.nbytes, True, 0)
    value.memory.fill(0, data.tobytes())
    return value


def event(offset: int, data: bytes, seq: int, line: int) -> Event:
    empty = Event(*[None] * 19)  # type: ignore[arg-type]
    return msgspec.structs.replace(empty, offset=offset, before=data, after=data, seq=seq, tid=line)


def line_of(event: Event) -> object:
    return event.tid


def meant(view: Any, data: Any) -> set[int]:
    """The bytes of numbers and texts: those between fields, and between elements, mean nothing."""
    if view.dtype.names is not None:
        return set().union(*(meant(view[name], data) for name in view.dtype.names))
    starts = (address(view[(*index, ...)]) - address(data) for index in np.ndindex(*view.shape))
    return {at + i for at in starts for i in range(view.dtype.itemsize)}


def shown(view: Any, data: Any, row: Row, value: Value) -> Any:
    """What numpy says that the part is."""
    name = row.part
    assert value.parts is not None
    assert value.memory is not None
    cut = re.search(r"<bytes (\d+):(\d+)>$", name)
    if cut is not None:
        whole = value.parts.locate(name[: cut.start()], value.memory)
        assert whole is not None
        assert (whole.start + int(cut[1]), whole.start + int(cut[2])) == (row.start, row.stop)
        return data.tobytes()[row.start : row.stop]
    if view.dtype.kind == "S" and re.search(r"\]\[\d+:\d+\]$", name):  # numpy gives texts without zeros at the end
        return data.tobytes()[row.start : row.stop].rstrip(b"\0")
    if "…" in name:
        order = sorted(np.ndindex(*view.shape), key=lambda i: address(view[(*i, ...)]))
        starts = [(address(view[(*i, ...)]) - address(data), i) for i in order]
        return [listed(view[(*i, ...)]) for at, i in starts if row.start <= at < row.stop]
    return listed(evaluated(view, name))


def characters(view: Any, data: Any) -> set[int]:
    """The bytes of texts of characters: few numbers of four bytes are one."""
    if view.dtype.names is not None:
        return set().union(*(characters(view[name], data) for name in view.dtype.names))
    return meant(view, data) if view.dtype.kind == "U" else set()


@pytest.mark.parametrize("seed", range(12))
def test_each_row_holds_the_bytes_of_one_line_and_all_together_the_value(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(PER_TEST):
        dtype = dtype_of(chance)
        shape = tuple(chance.randint(1, 4) for _ in range(chance.randint(0, 3)))
        data = np.zeros(max(1, dtype.itemsize * int(np.prod(shape))), "u1")
        view = np.ndarray(shape, dtype, data, order=chance.choice("CF"))
        if shape and chance.random() < 0.4:
            view = view[tuple(slice(None, None, chance.choice([1, -1, 2])) for _ in shape)]
        if not view.itemsize:
            continue
        value, model = watched(view, data), [None] * data.nbytes
        fields, wide, sites = sorted(meant(view, data)), characters(view, data), Sites()
        for seq in range(1, chance.randint(2, 12)):
            start, line = chance.choice(fields), chance.randint(1, 2)
            stop = min(data.nbytes, start + chance.choice([1, 2, 4, 8, 16, view.itemsize, 3 * view.itemsize]))
            written = bytes(0 if at in wide else chance.choice(b"\0\1ab") for at in range(start, stop))
            if chance.random() < 0.5 and view.itemsize <= 64:  # element by element, without what lies between fields
                pieces = [(at, 1) for at in range(start, stop) if at in set(fields)]
            else:
                pieces = [(start, stop - start)]
            for at, length in pieces:
                assert value.memory is not None
                value.memory.write(event(at, written[at - start : at - start + length], seq, line), seq, line, sites)
                data[at : at + length] = np.frombuffer(written[at - start : at - start + length], "u1")
                model[at : at + length] = [line] * length
        check(view, data, value, model, fields)


def check(view: Any, data: Any, value: Value, model: list[int | None], fields: list[int]) -> None:
    found, held = [*rows(value, "", line_of)], dict.fromkeys(fields, 0)
    for row in found:
        where = (view.dtype, view.shape, view.strides, row.part, row.start, row.stop)
        last = None if row.last is None else row.last.tid
        for at in range(row.start, row.stop):
            if at in held:
                held[at] += 1
                assert model[at] == last, where
        wanted = shown(view, data, row, value)
        got = row.value
        assert same(wanted, got) or same([got], wanted), (where, wanted, got)
        assert value.parts is not None
        assert value.memory is not None
        again = value.parts.locate(row.part, value.memory)
        assert again is not None, where
        assert (again.start, again.stop) == (row.start, row.stop), where
    assert set(held.values()) <= {1}, (view.dtype, view.shape, [(row.part, row.start, row.stop) for row in found])


UNION = np.dtype({"names": ["all", "lo", "hi"], "formats": ["<u4", "<u2", "<u2"], "offsets": [0, 0, 2]})


@pytest.mark.parametrize(
    ("dtype", "start", "stop", "parts"),
    [
        ([("q", "i2", (3,))], 10, 12, ["[0]", "[1].q[0:2]", "[1].q[2]", "[2]"]),
        ([("q", "i4"), ("r", "i4")], 12, 16, ["[0]", "[1].q", "[1].r", "[2]"]),
        ("c16", 16, 24, ["[0]", "[1].real", "[1].imag", "[2]"]),
        ("f8", 12, 13, ["[0]", "[1]<bytes 0:4>", "[1]<bytes 4:5>", "[1]<bytes 5:8>", "[2]"]),
        ("f8", 4, 16, ["[0]<bytes 0:4>", "[0]<bytes 4:8>", "[1]", "[2]"]),
        (UNION, 4, 8, ["[0]", "[1]", "[2]"]),
        (UNION, 6, 8, ["[0]", "[1].lo", "[1].hi", "[2]"]),
    ],
)
def test_what_one_line_wrote_is_cut_out_of_the_rest(dtype: Any, start: int, stop: int, parts: list[str]) -> None:
    data = np.zeros(3 * np.dtype(dtype).itemsize, "u1")
    value = watched(data.view(dtype), data)
    assert value.memory is not None
    value.memory.write(event(start, bytes(stop - start), 1, 1), 1, 1, Sites())
    found = [*rows(value, "", line_of)]
    assert [row.part for row in found] == parts
    assert [(row.start, row.stop) for row in found if row.last is not None][-1][1] == stop


@pytest.mark.parametrize("dtype", ["f8", [("q", "i4"), ("r", "i4")], "c16"])
def test_rows_of_a_large_array_take_no_step_for_each_element(dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    data = np.zeros(1_000_000 * np.dtype(dtype).itemsize, "u1")
    value, calls = watched(data.view(dtype), data), []
    for at in range(0, data.nbytes, 1 << 22):
        assert value.memory is not None
        value.memory.write(event(at, bytes(64), at + 1, 1), at + 1, 1, Sites())
    real = Parts.cut
    monkeypatch.setattr(Parts, "cut", lambda *given: calls.append(given) or real(*given))
    found = [row.part for row in rows(value, "", line_of)]
    assert found[0] == f"[0:{64 // np.dtype(dtype).itemsize}]"
    assert len(found) == len(range(0, data.nbytes, 1 << 22)) * 2
    assert len(calls) <= 3 * len(found)
