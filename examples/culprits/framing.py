# framing.py
"""A library that reads messages of eight bytes, into the same buffer each time."""


def messages(file, buffer):
    while file.readinto(buffer):
        yield memoryview(buffer)
