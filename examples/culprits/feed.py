# feed.py
"""Keeps two messages, and finds the second one twice."""

from pathlib import Path

from framing import messages

from memwatch_core import watch

buffer = watch(bytearray(8), name="buffer")


def poll(path):
    with open(path, "rb", buffering=0) as file:
        return list(messages(file, buffer))


Path("feed.bin").write_bytes(b"price=10price=12")
first, second = poll("feed.bin")
print(bytes(first), bytes(second))
