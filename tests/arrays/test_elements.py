"""Elements of arrays are found again: the part that any bytes belong to has the name that numpy understands, and the
values that numpy reads there."""

from __future__ import annotations

import random
import re
from typing import Any

import numpy as np
import pytest
from memwatch_serializer_numpy.dtypes import described

from memwatch_core.records import Extent
from memwatch_plugins.arrays import Elements

LAYOUTS = 10_000
PER_TEST = 1_000
RECORD = np.dtype(
    [("qty", "<i4"), ("price", "<f8"), ("pos", "<f4", (2, 3)), ("tag", "S3"), ("in", [("x", "i2"), ("y y", ">i2")])]
)
SPACED = np.dtype({"names": ["b", "a"], "formats": ["u1", "<c8"], "offsets": [13, 2], "itemsize": 20})
DTYPES = [
    *map(np.dtype, ("f8", "u1", "c16", ">i4", "f2", "f4", "?", "S5", "U3", "V7", "<M8[s]", "<m8[ns]", "i8", "S300")),
    RECORD,
    SPACED,
]


def plain(value: Any, dtype: np.dtype[Any]) -> Any:
    """A value of numpy's as the reading side shows it."""
    if dtype.subdtype is not None:
        return (
            [plain(each, dtype.subdtype[0]) for each in value]
            if value.ndim == 1
            else [plain(each, dtype) for each in value]
        )
    if dtype.names is not None:
        return {name: listed(value[name]) for name in dtype.names}
    if dtype.kind in "Mm":
        return str(value)
    return bytes(value) if dtype.kind == "V" else value.item()


def listed(value: Any) -> Any:
    """An array, or an element, as nested lists."""
    if isinstance(value, np.ndarray) and value.ndim:
        return [listed(each) for each in value]
    return plain(value, value.dtype)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[name], b[name]) for name in a)
    return bool(a == b) or repr(a) == repr(b)


def made(random: random.Random) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Random bytes as an array, and a view of it."""
    dtype = random.choice(DTYPES)
    shape = tuple(random.randint(1, 6) for _ in range(random.randint(0, 4)))
    data = np.frombuffer(random.randbytes(dtype.itemsize * int(np.prod(shape))), "u1").copy()
    if dtype.kind == "U":
        data = np.frombuffer(
            "".join(random.choice("aé€😀\0") for _ in range(data.size // 4)).encode("utf-32-le"), "u1"
        ).copy()
    whole = np.ndarray(shape, dtype, data, order=random.choice("CF"))
    view = whole
    if shape and random.random() < 0.7:
        view = whole[tuple(slice(None, None, random.choice([1, 1, -1, 2])) for _ in shape)]
    if view.ndim > 1 and random.random() < 0.4:
        view = view.transpose(random.sample(range(view.ndim), view.ndim))
    return data, view


def address(value: Any) -> int:
    return int(value.__array_interface__["data"][0])


def elements_of(data: Any, view: Any) -> Elements:
    return Elements(
        {
            "dtype": described(view.dtype),
            "shape": list(view.shape),
            "strides": list(view.strides),
            "offset": address(view) - address(data),
        }
    )


FIELD = re.compile(r"\.(?!real|imag)(\w+)")


def evaluated(view: Any, name: str) -> Any:
    """What numpy says that a name is of."""
    head, tail = re.match(r"(\[[^\]]*\])(.*)", name, re.DOTALL).groups()  # type: ignore[union-attr]
    inner = re.search(r"\[(\d+):(\d+)\]$", tail) if view.dtype.kind in "SU" else None
    index = head.replace("]", ", ...]") if head != "[()]" else head
    fields = FIELD.sub(r'["\1"]', tail[: inner.start()] if inner else tail)
    found = eval(f"view{index}{fields}", {"view": view})
    if inner is None:
        return found
    return np.frombuffer(found.tobytes()[int(inner[1]) : int(inner[2])], f"S{int(inner[2]) - int(inner[1])}")[0]


def bounds(value: Any, data: Any) -> tuple[int, int]:
    low, high = np.lib.array_utils.byte_bounds(value)
    return low - address(data), high - address(data)


def check(data: Any, view: Any, elements: Elements, extent: Extent, start: int, stop: int) -> None:
    assert extent.start <= start < stop <= extent.stop
    where = (view.dtype, view.shape, view.strides, start, stop, extent.name)
    held = data[extent.start : extent.stop].tobytes()
    assert elements.find(extent.name) == (extent.start, extent.stop), where
    if "…" in extent.name:
        first, last = (eval(f"view[{text.strip('[]')}, ...]", {"view": view}) for text in extent.name.split("…"))
        assert bounds(first, data)[0] == extent.start, where
        assert bounds(last, data)[1] == extent.stop, where
        order = sorted(np.ndindex(*view.shape), key=lambda i: address(view[(*i, ...)]))
        wanted = [
            listed(view[(*i, ...)])
            for i in order
            if extent.start <= address(view[(*i, ...)]) - address(data) < extent.stop
        ]
        assert same(wanted, extent.decode(held)), where
        return
    value = evaluated(view, extent.name)
    if isinstance(value, np.ndarray) and view.dtype.kind != "S":
        assert bounds(value, data) == (extent.start, extent.stop), where
    wanted, got = listed(value), extent.decode(held)
    if value.ndim and elements.item.size == extent.stop - extent.start and not isinstance(got, list):
        wanted = wanted[0]
    assert same(wanted, got), (where, wanted, got)


@pytest.mark.parametrize("seed", range(LAYOUTS // PER_TEST))
def test_any_bytes_of_random_layouts_are_of_the_elements_that_numpy_says(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(PER_TEST):
        data, view = made(chance)
        elements = elements_of(data, view)
        _, high = bounds(view, data)
        index = tuple(chance.randrange(n) for n in view.shape)
        at = address(view[(*index, ...)]) - address(data)
        byte = chance.randrange(view.itemsize)
        assert elements.locate(at + byte) == (index, byte)
        length = chance.choice([1, view.itemsize, chance.randint(1, 8), chance.randint(1, 64)])
        start = chance.choice([at, at + byte])
        for stop in {min(start + length, high), at + view.itemsize}:
            extent = elements.part(start, stop)
            assert extent is not None
            if extent.name.startswith("<bytes"):
                assert elements.locate(start) is None or elements.locate(stop - 1) is None
                continue
            check(data, view, elements, extent, start, stop)


@pytest.mark.parametrize("seed", range(4))
def test_bytes_between_the_elements_of_a_view_belong_to_none(seed: int) -> None:
    chance = random.Random(1000 + seed)
    for _ in range(60):
        data, view = made(chance)
        elements = elements_of(data, view)
        covered = {
            address(view[(*index, ...)]) - address(data) + i
            for index in np.ndindex(*view.shape)
            for i in range(view.itemsize)
        }
        assert covered == {at for at in range(len(data)) if elements.locate(at) is not None}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(), (1,), (7,), (2, 3), (3, 1, 2), (1, 1), (2, 0, 3)], ids=str)
def test_whole_array_is_decoded_as_numpy_reads_it(dtype: Any, order: Any, shape: tuple[int, ...]) -> None:
    value = np.zeros(shape, dtype, order=order)
    if value.nbytes and dtype.kind != "U":
        raw = np.frombuffer(random.Random(1).randbytes(value.nbytes), "u1")
        value = np.ndarray(shape, dtype, raw.copy(), order=order)
    elements = Elements({"dtype": described(dtype), "shape": list(shape), "strides": list(value.strides)})
    assert same(listed(value), elements.decode(value.tobytes("A")))


@pytest.mark.parametrize(
    ("shape", "strides", "start", "length", "name"),
    [
        ((4, 5), (8, 32), 2 * 8 + 3 * 32, 8, "[2, 3]"),
        ((4, 5), (8, 32), 3 * 32, 32, "[0:4, 3]"),
        ((4, 5), (40, 8), 40, 80, "[1:3, 0:5]"),
        ((4, 5), (40, 8), 64, 32, "[1, 3]…[2, 1]"),
        ((4, 5), (40, 8), 0, 160, "[0:4, 0:5]"),
        ((7,), (8,), 8, 24, "[1:4]"),
        ((), (), 0, 8, "[()]"),
    ],
    ids=str,
)
def test_elements_are_named_as_one_writes_them(shape: Any, strides: Any, start: int, length: int, name: str) -> None:
    elements = Elements({"dtype": "<f8", "shape": list(shape), "strides": list(strides)})
    extent = elements.part(start, start + length)
    assert extent is not None
    assert extent.name == name
    assert elements.find(name) == (start, start + length)


@pytest.mark.parametrize(
    ("start", "length", "name"),
    [
        (0, 4, ".qty"), (4, 8, ".price"), (4, 4, ".price"), (12 + 16, 4, ".pos[1, 1]"), (12, 24, ".pos"),
        (12, 8, ".pos"),
        (36, 2, ".tag"), (39, 2, ".in.x"), (41, 2, '.in["y y"]'), (39, 4, ".in"), (0, 12, ""), (0, 43, ""),
    ],
)  # fmt: skip
def test_fields_of_a_record_are_named(start: int, length: int, name: str) -> None:
    elements = Elements({"dtype": described(RECORD), "shape": [10], "strides": [RECORD.itemsize]})
    at = 3 * RECORD.itemsize
    extent = elements.part(at + start, at + start + length)
    assert extent is not None
    assert extent.name == f"[3]{name}"
    assert elements.find(extent.name) == (extent.start, extent.stop)


@pytest.mark.parametrize(("field", "name"), [('x"y', r'["x\"y"]'), ("a\\b", r'["a\\b"]'), ("a b", '["a b"]')])
def test_fields_that_are_no_identifiers_are_written_as_texts(field: str, name: str) -> None:
    dtype = np.dtype([("q", "i4"), (field, "f8")])
    elements = Elements({"dtype": described(dtype), "shape": [3], "strides": [12]})
    extent = elements.part(16, 24)
    assert extent is not None
    assert extent.name == f"[1]{name}"
    assert elements.find(extent.name) == (16, 24)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("[-1]", (120, 160)), ("[2]", (80, 120)), ("[1:3]", (40, 120)), ("[2, -1]", (112, 120)), ("[:, 3]", None),
        ("[4]", None), ("[3:3]", None), ("[1, 2, 3]", None), ("", (0, 160)), ("[a]", None), (".real", None),
        ("[0, 0].imag", None), ("[", None), ("[1, 1:3]", (48, 64)), ("[:2]", (0, 80)),
    ],
)  # fmt: skip
def test_parts_are_found_as_a_person_writes_them(name: str, wanted: tuple[int, int] | None) -> None:
    assert Elements({"dtype": "<f8", "shape": [4, 5], "strides": [40, 8]}).find(name) == wanted


@pytest.mark.parametrize(
    "options",
    [
        {}, {"dtype": "<f8"}, {"dtype": "<f8", "shape": [2], "strides": []},
        {"dtype": "<f3", "shape": [2], "strides": [8]},
        {"dtype": "|O8", "shape": [2], "strides": [8]}, {"dtype": "<f8", "shape": [-1], "strides": [8]},
        {"dtype": "<f8", "shape": [2, 2], "strides": [0, 8]}, {"dtype": "<f8", "shape": [3], "strides": [4]},
        {"dtype": {"fields": [["a", "<f8", 4]], "size": 8}, "shape": [1], "strides": [8]},
        {"dtype": 5, "shape": [], "strides": []},
        {"dtype": "<f8", "shape": ["2"], "strides": [8]}, {"dtype": "<f8", "shape": [True], "strides": [8]},
    ],
    ids=str,
)  # fmt: skip
def test_options_that_are_no_array_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Elements(options)


@pytest.mark.parametrize(
    "options",
    [
        {"dtype": "<f8", "shape": [10**9], "strides": [8]}, {"dtype": "|V0", "shape": [1 << 40], "strides": [0]},
        {"dtype": "|V0", "shape": [1 << 20, 1 << 20], "strides": [0, 0]},
        {"dtype": "<f8", "shape": [2], "strides": [10**30]},
        {"dtype": "<f8", "shape": [1 << 40, 0, 1 << 40], "strides": [8, 8, 8]},
        {"dtype": "<f8", "shape": [1], "strides": [8], "offset": -8},
        {"dtype": ["|V0", [1 << 40]], "shape": [1], "strides": [8]},
    ],
    ids=str,
)  # fmt: skip
def test_more_elements_than_there_are_bytes_take_no_time(options: dict[str, Any]) -> None:
    elements = Elements(options)
    assert elements.decode(bytes(16)) in (None, [], [[]])
    elements.part(0, 8)
    elements.find("[0]")


def test_a_dtype_that_is_nested_without_end_is_refused() -> None:
    nested: Any = "<f8"
    for _ in range(100):
        nested = [nested, [1]]
    with pytest.raises(ValueError, match="deeply"):
        Elements({"dtype": nested, "shape": [], "strides": []})


@pytest.mark.parametrize("dtype", ["f4", "f2"])
def test_short_numbers_are_written_as_numpy_writes_them(dtype: str) -> None:
    bits = np.random.default_rng(1).integers(0, 256, 4000, "u1")
    values = bits.view(dtype)
    read = Elements({"dtype": f"<{dtype}", "shape": [values.size], "strides": [values.itemsize]}).decode(bits.tobytes())
    for mine, its in zip(read, values, strict=True):
        assert np.isnan(its) or np.dtype(dtype).type(repr(mine)) == its
        assert np.isnan(its) or len(repr(mine)) <= len(repr(float(its)))


def test_numbers_of_80_bits_are_rounded() -> None:
    values = np.array([0, 1, -1.5, np.pi, 1e4000, -1e-4000, np.inf, -np.inf, 1e300], "g") * np.longdouble(1)
    read = Elements({"dtype": "<f16", "shape": [9], "strides": [16]}).decode(values.tobytes())
    assert read == values.astype("f8").tolist()


UNITS = ("Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as")


@pytest.mark.parametrize("kind", ["M8", "m8"])
@pytest.mark.parametrize("unit", [*UNITS, "25s", "3M"])
def test_times_are_written_as_numpy_writes_them(kind: str, unit: str) -> None:
    chance = np.random.default_rng(2)
    counts = [0, 1, -1, 59, 10**9, -(10**9), -(2**63), *chance.integers(-(10**6), 10**6, 50).tolist()]
    if unit not in ("Y", "M", "W", "D", "3M", "25s"):  # what doesn't overflow in numpy
        counts += chance.integers(-(2**60), 2**60, 50).tolist()
    values = np.array(counts, "i8").view(f"{kind}[{unit}]")
    read = Elements({"dtype": values.dtype.str, "shape": [len(counts)], "strides": [8]}).decode(values.tobytes())
    assert [str(each) for each in read] == [str(each) for each in values]
