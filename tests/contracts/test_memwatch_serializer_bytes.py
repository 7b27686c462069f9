"""The plugin keeps the serializers' contract."""

import memwatch_serializer_bytes
from hypothesis import strategies as st

from memwatch_plugins.testing import SerializerContract


class TestBytes(SerializerContract):
    plugin, name = memwatch_serializer_bytes, "bytes"
    values = st.binary(max_size=200)
    foreign = ("text", bytearray(b"x"), memoryview(b"x"), None)


class TestByteArray(SerializerContract):
    plugin, name = memwatch_serializer_bytes, "bytearray"
    values = st.binary(max_size=200).map(bytearray)
    foreign = ("text", b"x", memoryview(b"x"), None)


class TestBytesOfAGivenCapacity(SerializerContract):
    plugin, name = memwatch_serializer_bytes, "bytes"
    values = st.binary(max_size=16)
    options = {"capacity": 16}
    refused = (bytes(17), bytes(1000))
    foreign = ("text", None)
