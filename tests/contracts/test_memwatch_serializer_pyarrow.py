"""pyarrow's serializer keeps the contract."""

from __future__ import annotations

from typing import Any

import memwatch_serializer_pyarrow
import pytest
from hypothesis import strategies as st

from memwatch_plugins.testing.serializers import SerializerContract

pa = pytest.importorskip("pyarrow", reason="pyarrow isn't installed: make soak brings it")


class TestBuffers(SerializerContract):
    plugin, name = memwatch_serializer_pyarrow, "pyarrow"
    values = st.binary(min_size=9, max_size=9).map(lambda data: pa.py_buffer(bytearray(data)))
    refused = (pa.py_buffer(b"abc"), pa.array([1]), pa.table({"a": [1]}))
    foreign = (1.5, b"abc", bytearray(b"abc"), memoryview(b"abc"), pa, None)

    def same(self, value: Any, back: Any) -> bool:
        return list(value.to_pybytes()) == (back if isinstance(back, list) else list(back.to_pybytes()))

    def write(self, watched: Any, value: Any) -> None:
        memoryview(watched).cast("B")[:] = value.to_pybytes()
