"""The serializer only reads what Node.js wrote: it takes no value, so the contract's round trips aren't for it."""

from __future__ import annotations

import array
import struct
from typing import Any

import memwatch_serializer_typedarray
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memwatch_core.records import Serializer

(TYPEDARRAY,) = memwatch_serializer_typedarray.memwatch_serializers()
CODES = {**memwatch_serializer_typedarray.FORMATS, "Float16Array": "e"}


@given(st.sampled_from(sorted(CODES)), st.binary(max_size=64))
def test_numbers_are_those_of_the_bytes(kind: str, data: bytes) -> None:
    size = struct.calcsize(CODES[kind])
    data = data[: len(data) // size * size]
    wanted = struct.unpack(f"<{len(data) // size}{CODES[kind]}", data)
    assert repr(TYPEDARRAY.decode(data, {"class": kind})) == repr(list(wanted))


@pytest.mark.parametrize("options", [{}, {"class": "Buffer"}, {"class": "DataView"}, {"class": 5}, {"class": []}])
def test_any_other_class_is_bytes(options: Any) -> None:
    assert TYPEDARRAY.decode(b"\1\2\3", options) == b"\1\2\3"


def test_python_is_told_where_typed_arrays_are_watched() -> None:
    serializer: Serializer = TYPEDARRAY
    assert not any(serializer.accepts(value) for value in (array.array("i"), [1], b"", memoryview(b""), None))
    for call in (lambda: serializer.layout([1], {}), lambda: serializer.encode([1], {})):
        with pytest.raises(TypeError, match="npm package @memwatch/node"):
            call()
