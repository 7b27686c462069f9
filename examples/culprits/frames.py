# frames.py
"""A frame is a header of four bytes, a payload, and a checksum of two. The payload's last byte is wrong."""

import struct

from memwatch_core import watch

frame = watch(bytearray(16), name="frame", capacity=56)


def header(kind):
    struct.pack_into("BB", frame, 0, kind, len(frame))


def payload(text):
    frame[4:14] = text.ljust(10, b".")


def checksum():
    struct.pack_into("=H", frame, 13, sum(frame[:14]))  # it belongs to 14


header(7)
payload(b"temp=21.5C")
checksum()
print(bytes(frame))
