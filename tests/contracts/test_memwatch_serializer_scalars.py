"""The plugin keeps the serializers' contract."""

import memwatch_serializer_scalars
from hypothesis import strategies as st

from memwatch_plugins.testing import SerializerContract


class TestInt64(SerializerContract):
    plugin, name = memwatch_serializer_scalars, "int64"
    values = st.integers(-(2**63), 2**63 - 1)
    refused = (2**63, -(2**63) - 1, 10**5000)
    foreign = (1.5, "1", True, None)


class TestFloat64(SerializerContract):
    plugin, name = memwatch_serializer_scalars, "float64"
    values = st.floats()
    foreign = (1, "1.5", None, 1j)


class TestBool(SerializerContract):
    plugin, name = memwatch_serializer_scalars, "bool"
    values = st.booleans()
    foreign = (0, 1, "True", None)
