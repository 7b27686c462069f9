"""What a serializer encodes it decodes again; what it can't keep it refuses, and says why."""

from __future__ import annotations

import json
import math
import struct
from collections import namedtuple
from enum import IntEnum
from typing import Any, NamedTuple

import pytest
from decoding import SERIALIZERS
from hypothesis import given
from hypothesis import strategies as st
from memwatch_serializer_bytes import default_capacity

from memwatch_core.records import Serializer

I64 = st.integers(-(2**63), 2**63 - 1)


class Item(NamedTuple):
    qty: int
    price: float


def round_trip(name: str, value: Any, **options: Any) -> Any:
    """As watch() and the host do it: options travel as JSON."""
    serializer = SERIALIZERS[name]
    assert serializer.accepts(value)
    layout = serializer.layout(value, options)
    data = serializer.encode(value, layout.options)
    assert len(data) == layout.size
    return serializer.decode(data, json.loads(json.dumps(dict(layout.options))))


@given(I64)
def test_int64_round_trip(value: int) -> None:
    assert round_trip("int64", value) == value


@given(st.floats(allow_nan=True))
def test_float64_round_trip_to_the_bit(value: float) -> None:
    assert struct.pack("<d", round_trip("float64", value)) == struct.pack("<d", value)


@pytest.mark.parametrize("value", [True, False])
def test_bool_round_trip(value: bool) -> None:
    assert round_trip("bool", value) is value


@given(st.binary(max_size=600), st.integers(1, 700) | st.none())
def test_bytes_and_bytearray_round_trip(value: bytes, capacity: int | None) -> None:
    options = {} if capacity is None else {"capacity": capacity}
    for kind in (bytes, bytearray):
        if capacity is not None and len(value) > capacity:
            with pytest.raises(ValueError, match=f"{len(value)} bytes don't fit into a capacity of {capacity}"):
                round_trip(kind.__name__, kind(value), **options)
            continue
        back = round_trip(kind.__name__, kind(value), **options)
        assert back == value
        assert type(back) is kind


FIELDS = {
    "b": st.integers(-128, 127), "B": st.integers(0, 255), "h": st.integers(-(2**15), 2**15 - 1),
    "H": st.integers(0, 2**16 - 1), "i": st.integers(-(2**31), 2**31 - 1), "I": st.integers(0, 2**32 - 1),
    "q": I64, "Q": st.integers(0, 2**64 - 1), "d": st.floats(allow_nan=False),
    "f": st.floats(width=32, allow_nan=False),
    "?": st.booleans(), "c": st.binary(min_size=1, max_size=1), "5s": st.binary(min_size=5, max_size=5),
}  # fmt: skip


@given(st.data(), st.sampled_from(["", "@", "=", "<", ">", "!"]), st.booleans())
def test_struct_round_trip(data: st.DataObject, order: str, named: bool) -> None:
    letters = data.draw(st.lists(st.sampled_from(sorted(FIELDS)), min_size=1, max_size=8))
    value: Any = tuple(data.draw(FIELDS[letter]) for letter in letters)
    names = [f"f{i}" for i in range(len(letters))]
    if named:
        value = namedtuple("Row", names)(*value)
    back = round_trip("struct", value, format=order + "x".join(letters))
    assert back == value
    assert getattr(back, "_fields", None) == (tuple(names) if named else None)
    assert type(back).__name__ == ("Row" if named else "tuple")


@given(st.binary(min_size=16, max_size=200), st.sampled_from(sorted(SERIALIZERS)))
def test_decode_never_raises_on_bytes_of_the_right_length(data: bytes, name: str) -> None:
    options = {"capacity": len(data) - 8, "format": f"{len(data)}B"}
    size = {"int64": 8, "float64": 8, "bool": 1}.get(name, len(data))
    SERIALIZERS[name].decode(data[:size], options)


class Number(IntEnum):
    ONE = 1


class Text(bytes):
    pass


def test_each_value_has_one_serializer_and_subclasses_none() -> None:
    chosen = {
        repr(value): [name for name, serializer in SERIALIZERS.items() if serializer.accepts(value)]
        for value in (1, 1.5, True, b"", bytearray(), (1, 2), Item(1, 2.0), Number.ONE, Text(b"x"), "text", None, [1])
    }
    assert chosen == {
        "1": ["int64"], "1.5": ["float64"], "True": ["bool"], "b''": ["bytes"], "bytearray(b'')": ["bytearray"],
        "(1, 2)": ["struct"], "Item(qty=1, price=2.0)": ["struct"], repr(Number.ONE): [], "b'x'": [], "'text'": [],
        "None": [], "[1]": [],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "options", "kind", "message"),
    [
        ("int64", 2**63, {}, OverflowError, "65 bits doesn't fit into 64"),
        ("int64", -(2**63) - 1, {}, OverflowError, "65 bits"),
        ("int64", 10**4000, {}, OverflowError, "bits"),
        ("int64", 1.5, {}, TypeError, "an int is expected, not float"),
        ("int64", 1, {"capacity": 5}, TypeError, "unknown option 'capacity': int64 has none"),
        ("float64", "x", {}, TypeError, "a float is expected"),
        ("bool", 1, {}, TypeError, "True or False"),
        ("bytes", b"", {"capacity": 0}, ValueError, "capacity=0 is not between"),
        ("bytes", b"", {"capacity": True}, TypeError, "number of bytes, not True"),
        ("bytes", b"", {"size": 4}, TypeError, "unknown option 'size': bytes has capacity"),
        ("bytearray", bytearray(5), {"capacity": 4}, ValueError, r"watch\(\.\.\., capacity=5\)"),
        ("struct", (1,), {}, TypeError, r"format='<qd'"),
        ("struct", (1,), {"format": "!!"}, ValueError, "format='!!'"),
        ("struct", (1,), {"format": "P"}, ValueError, r"pointer \(P\)"),
        ("struct", (), {"format": "xx"}, ValueError, "has no values"),
        ("struct", (1,), {"format": "99999q"}, ValueError, "more than 65536"),
        ("struct", (1,), {"format": "qq"}, ValueError, "has 2 values, and the tuple has 1"),
        ("struct", (1,), {"format": "q", "fields": "a b"}, ValueError, "has 1 values, and fields has 2 names"),
        ("struct", (1,), {"format": "q", "fields": ["class"]}, ValueError, "keyword"),
        ("struct", (1,), {"format": "q", "fields": [1]}, TypeError, "fields are names"),
        ("struct", (1,), {"format": "q", "field": "a"}, TypeError, "unknown option 'field'"),
        (
            "struct",
            (1, 300),
            {"format": "<qB", "fields": "a b"},
            OverflowError,
            "field b: the number doesn't fit into '<B'",
        ),
        ("struct", (1e300,), {"format": "f"}, OverflowError, "field 0"),
        ("struct", (b"abc",), {"format": "2s"}, ValueError, r"field 0: 3 bytes don't fit into 2"),
        ("struct", (b"abc",), {"format": "3p"}, ValueError, r"field 0: 3 bytes don't fit into 2"),
        ("struct", ("x",), {"format": "q"}, TypeError, "field 0: '@q' doesn't take str"),
        ("struct", (1.5,), {"format": "q"}, TypeError, "field 0: '@q' doesn't take float"),
    ],
)
def test_what_cant_be_kept_is_refused_with_the_reason(
    name: str, value: Any, options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    serializer: Serializer = SERIALIZERS[name]
    with pytest.raises(kind, match=message):
        serializer.encode(value, serializer.layout(value, options).options)


def test_default_capacity_fills_lines_of_64_bytes() -> None:
    assert [default_capacity(n) for n in (0, 1, 56, 57, 120, 121)] == [56, 56, 56, 120, 120, 184]


def test_nan_keeps_its_payload() -> None:
    value = struct.unpack("<d", struct.pack("<Q", 0x7FF8DEADBEEF0001))[0]
    assert math.isnan(value)
    encoded = SERIALIZERS["float64"].encode(value, {})
    assert struct.unpack("<Q", encoded) == (0x7FF8DEADBEEF0001,)
