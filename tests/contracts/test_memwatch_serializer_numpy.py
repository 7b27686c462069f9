"""numpy's serializer keeps the contract: for records, numbers of all kinds, texts, and any order of axes."""

from __future__ import annotations

from typing import Any

import memwatch_serializer_numpy
import numpy as np
from hypothesis import strategies as st

from memwatch_plugins.testing.serializers import SerializerContract

RECORD = np.dtype([("qty", "<i4"), ("price", "<f8"), ("pos", "<f4", (2,)), ("tag", "S3")])


def arrays(dtype: Any, *shape: int, order: Any = "C") -> st.SearchStrategy[Any]:
    """Arrays of random bytes, as far as these are elements."""
    size = np.dtype(dtype).itemsize * int(np.prod(shape))

    def made(data: bytes) -> Any:
        value = np.ndarray(shape, dtype, np.frombuffer(data, "u1").copy(), order=order)
        return value

    return st.binary(min_size=size, max_size=size).map(made)


def listed(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.ndim:
        return [listed(each) for each in value]
    if value.dtype.names is not None:
        return {name: listed(value[name]) for name in value.dtype.names}
    return str(value) if value.dtype.kind in "Mm" else value.item()


def alike(one: Any, other: Any) -> bool:
    """Equal, or both not equal to themselves."""
    if isinstance(one, dict):
        return list(one) == list(other) and all(alike(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(alike, one, other))
    return bool(one == other or (one != one and other != other))


class OfArrays(SerializerContract):
    plugin, name = memwatch_serializer_numpy, "numpy"
    refused = (np.array([None]), np.broadcast_to(np.zeros(2), (3, 2)))
    foreign = (1.5, b"abc", [1, 2], memoryview(b""), np.float64(1), None)

    def same(self, value: Any, back: Any) -> bool:
        return alike(listed(value), listed(back) if isinstance(back, np.ndarray) else back)

    def write(self, watched: Any, value: Any) -> None:
        watched[...] = value


class TestFortran(OfArrays):
    values = arrays(">i2", 4, 3, order="F")


class TestRecords(OfArrays):
    values = arrays(RECORD, 6)


class TestTimes(OfArrays):
    values = arrays("<M8[D]", 7).map(lambda a: (a.view("i8") % 100_000).view("M8[D]"))


class TestTransposed(OfArrays):
    values = arrays("u1", 3, 4, 5).map(lambda a: a.transpose(1, 2, 0))
