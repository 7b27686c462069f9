"""What a line of many stores is called is what numpy finds under that name: no element more, none less."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from memwatch_serializer_ctypes import memwatch_serializers as of_ctypes
from memwatch_serializer_numpy import memwatch_serializers as of_numpy
from memwatch_serializer_numpy.dtypes import described

from memwatch_core import session, watch
from memwatch_core.host.merge import SessionDecoder
from memwatch_core.host.merging import Merging
from memwatch_core.records import Event, Merged, Span
from memwatch_plugins.arrays import Elements, region

RECORD = np.dtype([("qty", "<i4"), ("price", "<f8"), ("pos", "<f4", (2, 2)), ("in", [("x", "i2"), ("y y", ">i2")])])
DTYPES = [*map(np.dtype, ("f8", "u1", "c16", ">i4", "f4", "?", "S5", "<M8[s]", "i8")), RECORD]
NAMES = re.compile(
    r'(?P<head>(?:\.flat)?\[[^\]"]*\])(?:…(?P<tail>\[[^\]]*\]))?(?P<field>(?:\.\w+|\["[^"]*"\]|\[\d[^\]:]*\])*)(?:, |$)'
)
FIELD = re.compile(r"\.(?!real|imag)(\w+)")


def address(value: Any) -> int:
    return int(value.__array_interface__["data"][0])


def bytes_of(value: Any) -> set[int]:
    """The addresses of a view's bytes."""
    assert isinstance(value, np.ndarray)
    starts = {address(value[(*index, ...)]) for index in np.ndindex(*value.shape)}
    return {start + i for start in starts for i in range(value.itemsize)}


def under(array: Any, head: str, field: str = "") -> Any:
    """The view of an array that is called so."""
    index = head if head == "[()]" else head.replace("]", ", ...]")
    inner = re.sub(r"\[(\d+), (\d+)\]", r"[..., \1, \2:][..., :1]", field)  # numpy makes no view of one element
    return eval(f"array{index}{inner}")


def found(array: Any, name: str) -> set[int]:
    """The addresses of what numpy finds under a name, or under several."""
    if name == "":
        return bytes_of(array)
    all_of_them: set[int] = set()
    behind = 0
    for each in NAMES.finditer(name):
        assert each.start() == behind, name
        behind = each.end()
        head, tail, field = each["head"], each["tail"], FIELD.sub(r'["\1"]', each["field"])
        if tail is not None:
            first, last = address(under(array, head)), address(under(array, tail))
            all_of_them |= {at for at in bytes_of(array) if first <= at < last + array.itemsize}
        elif head.startswith(".flat"):
            assert array.flags.c_contiguous
            all_of_them |= bytes_of(under(array.reshape(-1), head[5:]))
        else:
            all_of_them |= bytes_of(under(array, head, field))
    assert behind == len(name), name
    return all_of_them


def laid_out(chance: random.Random, dtype: Any, lengths: tuple[int, ...] = (1, 2, 3, 4, 6, 8)) -> Any:
    """A dense array, its axes in any order."""
    shape = [chance.choice(lengths) for _ in range(chance.randint(1, 3))]
    order = chance.sample(range(len(shape)), len(shape))
    return np.zeros([shape[axis] for axis in order], dtype).transpose(np.argsort(order))


def some_span(chance: random.Random, array: Any) -> Span | None:
    """Bytes that lie as stores leave them; None: they don't fit."""
    size = array.itemsize
    units = [1, size, size, size, 2 * size, *(stride for stride in array.strides)]
    length = chance.choice([size, size, chance.choice(units), chance.randint(1, 2 * size)])
    strides = sorted(
        (chance.choice(units) * chance.randint(1, 5), chance.choice([*range(2, 9), *array.shape]))
        for _ in range(chance.randint(0, 2))
    )
    start = chance.randrange(array.size) * size + chance.choice([0, 0, 0, chance.randrange(size)])
    reach = 0
    for stride, count in strides:
        if stride < reach + length or count < 2:
            return None
        reach += stride * (count - 1)
    return Span(start, length, tuple(strides)) if start + reach + length <= array.nbytes else None


@pytest.mark.parametrize("seed", range(10))
def test_names_of_any_bytes_are_of_these_bytes_to_numpy(seed: int) -> None:
    chance = random.Random(seed)
    named = 0
    for _ in range(2000):
        array = laid_out(chance, chance.choice(DTYPES))
        spans = [span for span in (some_span(chance, array) for _ in range(chance.choice([1, 1, 1, 2, 4]))) if span]
        written = {address(array) + at for span in spans for at in all_of(span)}
        if not spans or len(written) != sum(span.bytes for span in spans):
            continue  # spans have no byte in common
        elements = Elements(
            {"dtype": described(array.dtype), "shape": list(array.shape), "strides": list(array.strides)}
        )
        said = region(elements, spans)
        if said is None:
            continue
        name = said[0]
        named += 1
        where = (array.dtype, array.shape, array.strides, spans, said)
        base = address(array)
        whole = {base + (at - base) // array.itemsize * array.itemsize for at in written}
        whole = {at + i for at in whole for i in range(array.itemsize)}
        if name.endswith(", …"):
            assert found(array, name.removesuffix(", …")) < whole, where
            continue
        names = found(array, name)
        if array.dtype.names is None and array.dtype.kind != "c":  # of a number, a part is called as all of it is
            assert names == whole, where
        else:
            assert written <= names <= whole, where
            padded = written if all(at.length % array.itemsize == 0 for at in spans) else whole
            assert names <= padded, where
    assert named > 300


def all_of(span: Span) -> list[int]:
    starts = [span.start]
    for stride, count in span.strides:
        starts = [start + at * stride for start in starts for at in range(count)]
    return [start + i for start in starts for i in range(span.length)]


F8 = {"dtype": "<f8", "shape": [4, 6], "strides": [48, 8]}
FORTRAN = {"dtype": "<f8", "shape": [4, 6], "strides": [8, 32]}
ORDERS = {"dtype": {"fields": [["qty", "<i4", 0], ["price", "<f8", 4]], "size": 12}, "shape": [5], "strides": [12]}
POINT = {
    "dtype": {"fields": [["x", "<i4", 0], ["y", "<f8", 8]], "size": 16},
    "shape": [],
    "strides": [],
    "single": True,
}


@pytest.mark.parametrize(
    ("options", "spans", "said"),
    [
        (F8, [(24, 8, (48, 4))], ("[:, 3]", 4)),
        (F8, [(48, 48)], ("[1]", 6)),
        (F8, [(48, 96)], ("[1:3]", 12)),
        (F8, [(0, 192)], ("", 24)),
        (F8, [(24, 24, (48, 2))], ("[0:2, 3:6]", 6)),
        (F8, [(0, 8, (16, 12))], ("[:, ::2]", 12)),
        (F8, [(8, 8, (16, 12))], ("[:, 1::2]", 12)),
        (F8, [(0, 8, (56, 4))], (".flat[::7]", 4)),
        (F8, [(24, 64)], ("[0, 3]…[1, 4]", 8)),
        (F8, [(24, 8), (72, 8), (120, 8), (168, 8)], ("[:, 3]", 4)),
        (F8, [(24, 8), (80, 8)], ("[0, 3], [1, 4]", 2)),
        (F8, [(0, 8), (24, 8), (80, 8), (160, 8)], ("[0, 0], [0, 3], [1, 4], …", 4)),
        (FORTRAN, [(0, 32)], ("[:, 0]", 4)),
        (FORTRAN, [(8, 8, (32, 6))], ("[1]", 6)),
        (FORTRAN, [(0, 8, (40, 4))], None),
        (ORDERS, [(28, 8, (12, 3))], ("[2:5].price", 3)),
        (ORDERS, [(4, 8, (12, 5))], ("[:].price", 5)),
        (ORDERS, [(12, 24)], ("[1:3]", 2)),
        (POINT, [(0, 16)], ("", 1)),
        (POINT, [(8, 8)], (".y", 1)),
        ({"dtype": "<f8", "shape": [1, 5], "strides": [40, 8]}, [(16, 16)], ("[0, 2:4]", 2)),
        ({"dtype": "<f8", "shape": [5], "strides": [8]}, [(8, 8, (16, 2))], ("[1::2]", 2)),
    ],
    ids=str,
)  # fmt: skip
def test_regions_are_named_as_one_writes_them(options: Any, spans: Any, said: Any) -> None:
    made = [Span(start, length, tuple(strides)) for start, length, *strides in spans]
    assert region(Elements(options), made) == said


@pytest.mark.parametrize(
    ("dtype", "letter"),
    [
        ("<f8", "d"), ("<f4", "f"), ("|b1", "?"), ("|u1", "B"), (">f8", None), (">i2", None), ("<f2", None),
        ("<c16", None), ("<M8[D]", None), ("|S3", None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("serializers", [of_numpy, of_ctypes])
def test_only_numbers_in_the_order_of_the_machine_are_compared(
    serializers: Any, dtype: str, letter: str | None
) -> None:
    for serializer in serializers():
        items = serializer.items({"dtype": dtype, "shape": [3], "strides": [np.dtype(dtype).itemsize]})
        assert (items and items.format) == letter
        assert items is None or items.start == 0


@pytest.mark.parametrize("seed", range(3))
def test_a_line_of_a_watched_array_names_exactly_the_elements_that_changed(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    wanted: dict[int, tuple[Any, set[int], str]] = {}
    with session(folder=tmp_path, sinks=[]) as recorded:
        for line in range(1, 121):
            dtype = chance.choice(["f8", "f4", "i2", "u1", ">i4", "c16"])
            array = watch(laid_out(chance, dtype, (1, 2, 3, 5, 8, 20)), name=f"a{line}")
            index = ", ".join(some_slice(chance, n) for n in array.shape)
            statement = chance.choice([f"array[{index}] = 7", f"array[{index}] += np.array(3, array.dtype)"])
            before = array.copy(order="K")
            exec(compile("\n" * (line - 1) + statement, "/srv/slices.py", "exec"), {"array": array, "np": np})
            changed = np.zeros(array.shape, "?")
            changed[array != before] = True
            plain = np.ndarray(array.shape, array.dtype, bytearray(max(array.nbytes, 1)), 0, array.strides)
            wanted[line] = plain, {address(plain[(*i, ...)]) for i in np.ndindex(*array.shape) if changed[i]}, statement
        del array
    lines: dict[int, list[Any]] = defaultdict(list)
    serializers = {one.name: one for one in of_numpy()}
    for batch in SessionDecoder(recorded.folder, serializers, merging=Merging()).batches():
        for record in batch:
            event = record.first if isinstance(record, Merged) else record
            if isinstance(event, Event) and event.own is not None and event.own.file == "/srv/slices.py":
                lines[event.own.line].append(record)
    merged = exact = 0
    for line, (plain, changed, statement) in wanted.items():
        named: set[int] = set()
        is_all = True
        for record in lines[line]:
            name = record.name if isinstance(record, Merged) else record.part.name
            merged += isinstance(record, Merged)
            if isinstance(record, Merged) and not record.spans:
                is_all = False  # it is said that this isn't all of it
                assert changed <= found(plain, name) or len(lines[line]) > 1
                continue
            is_all &= ", …" not in name
            elements = found(plain, name.replace(", …", ""))
            named |= {address(plain) + (at - address(plain)) // plain.itemsize * plain.itemsize for at in elements}
        where = (plain.dtype, plain.shape, plain.strides, statement, lines[line])
        assert named == changed if is_all else named < changed, where
        exact += is_all
    assert merged > 50
    assert exact > 100


def some_slice(chance: random.Random, n: int) -> str:
    if chance.random() < 0.3:
        return str(chance.randrange(n))
    first, last = sorted((chance.randrange(n + 1), chance.randrange(n + 1)))
    step = chance.choice([1, 1, 2, 3])
    return chance.choice([":", f"{first}:{last}:{step}", f"::{step}", f"::-{step}"])


def test_values_of_few_elements_that_are_not_compared_are_known(tmp_path: Path) -> None:
    with session(folder=tmp_path, sinks=[]) as recorded:
        orders = watch(np.zeros(5, [("qty", "i4"), ("price", "f8")]), name="orders")
        swapped = watch(np.zeros(50, ">i4"), name="swapped")
        orders["price"][1:3] = [9.5, 8]
        orders[3] = (2, 7.5)
        swapped[2::2][:4] = [5, -1, 3, 3]
        swapped[:] = np.arange(50)
    serializers = {one.name: one for one in of_numpy()}
    batches = SessionDecoder(recorded.folder, serializers, merging=Merging()).batches()
    lines = [each for batch in batches for each in batch if isinstance(each, Merged)]
    price, row, few, many = [each for each in lines if each.stores > 1]
    assert (price.name, price.old.low, price.new.low, price.new.high) == ("[1:3].price", 0, 8, 9.5)
    assert (row.name, row.old.low, row.new.low) == ("[3]", {"qty": 0, "price": 0}, {"qty": 2, "price": 7.5})
    assert (few.name, few.old.low, few.old.same, few.new.low, few.new.high) == ("[2:9:2]", 0, True, -1, 5)
    assert (many.name, many.new) == ("", None)
