"""The plugin keeps the serializers' contract."""

from collections import namedtuple

import memwatch_serializer_struct
from hypothesis import strategies as st

from memwatch_plugins.testing import SerializerContract

Order = namedtuple("Order", "qty price")


class TestTuple(SerializerContract):
    plugin, name = memwatch_serializer_struct, "struct"
    values = st.tuples(st.integers(-(2**63), 2**63 - 1), st.floats(), st.booleans(), st.binary(min_size=5, max_size=5))
    options = {"format": "<qd?5s"}
    refused = ((2**63, 1.0, True, b""), (1, 1.0, True), (1, "x", True, b""), (1, 1.0, True, b"longer than 5"))
    foreign = ([1, 1.0], "text", None)

    def same(self, value, back):
        return all(a == b or (a != a and b != b) for a, b in zip(value, back, strict=True))


class TestNamedTuple(SerializerContract):
    plugin, name = memwatch_serializer_struct, "struct"
    values = st.builds(Order, st.integers(0, 2**31 - 1), st.floats(width=32, allow_nan=False))
    options = {"format": ">if"}
    refused = (Order(2**31, 1.0), Order(1, 1e300), Order("1", 1.0))
    foreign = ([1, 1.0], None)

    def same(self, value, back):
        return value == back and value._fields == back._fields
