"""pandas' serializer keeps the contract: for Series of numbers."""

from __future__ import annotations

from typing import Any

import memwatch_serializer_pandas
import numpy as np
import pytest
from hypothesis import strategies as st

from memwatch_plugins.testing.serializers import SerializerContract

pd = pytest.importorskip("pandas", "3", reason="needs pandas 3")


def series(dtype: str) -> st.SearchStrategy[Any]:
    """Series of five values, of random bytes."""
    size = np.dtype(dtype).itemsize * 5
    index = pd.Index(list("abcde"))
    return st.binary(min_size=size, max_size=size).map(
        lambda data: pd.Series(np.frombuffer(data, dtype).copy(), index=index, name="s", copy=False)
    )


class OfSeries(SerializerContract):
    plugin, name = memwatch_serializer_pandas, "pandas"
    refused = (pd.Series(["a"]), pd.Series([1], dtype="Int64"), pd.Index([1]))
    foreign = (1.5, b"abc", [1, 2], np.zeros(2), pd.Series, pd.Timestamp("2026-01-01"), None)

    def same(self, value: Any, back: Any) -> bool:
        expected = value._values
        if isinstance(back, pd.Series):
            return bool(value.index.equals(back.index)) and expected.tobytes() == back._values.tobytes()
        items = zip(expected.tolist(), back, strict=True)
        return len(back) == 5 and all(a == b or (a != a and b != b) for a, b in items)

    def write(self, watched: Any, value: Any) -> None:
        watched.iloc[:] = value._values


class TestDoubles(OfSeries):
    values = series("<f8")


class TestShort(OfSeries):
    values = series("<i2")


class TestBools(OfSeries):
    values = st.lists(st.booleans(), min_size=5, max_size=5).map(lambda v: pd.Series(v, copy=False))
