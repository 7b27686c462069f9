"""Writes journals by the page docs/journal-format.md alone: no constant and no code is shared with what is tested."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

FREE, STORE, CONTINUATION, PAD, VARIABLE, METADATA, CONTENT = range(7)
UNREGISTERED, SITE, CONTEXT, OUTCOME, THREAD, LOST, PLACE, STACK, ALIAS = range(7, 16)
NOT_FOLLOWED = 17
REQUEST = 16
SEGMENT = 16384
TIME = 1_700_000_000_000_000_000


class JournalWriter:
    """Appends records to a list of slots; ``save`` makes a file of it, cut into whole segments as the real one is."""

    def __init__(self, pid: int = 4242, runtime: str = "python", tracker: str = "readonly", started: int = TIME):
        self.pid, self.runtime, self.tracker, self.started = pid, runtime, tracker, started
        self.session = bytes(range(16))
        self.slots = bytearray()
        self.lost = 0
        self.closed = started + 10**9
        self.clock = started
        self.reserved: int | None = None

    @property
    def position(self) -> int:
        return len(self.slots) // 64

    def record(self, kind: int, head: bytes, first: int, payload: bytes = b"", origin: int = 0, flags: int = 0) -> int:
        """A record whose head lies behind the word and whose payload starts at offset ``first``; the slot it got."""
        room = 64 - first
        slots = 1 + max(0, -(-(len(payload) - room) // 60))
        assert slots <= 255
        while SEGMENT - self.position % SEGMENT < slots:
            left = min(SEGMENT - self.position % SEGMENT, 255)
            self.slots += struct.pack("<BBBB60x", PAD, left, 0, 0) + bytes(64 * (left - 1))
        at = self.position
        self.slots += (struct.pack("<BBBB", kind, slots, origin, flags) + head + payload[:room]).ljust(64, b"\0")
        for i in range(slots - 1):
            self.slots += (b"\2\0\0\0" + payload[room + 60 * i : room + 60 * i + 60]).ljust(64, b"\0")
        return at

    def now(self, time: int | None) -> int:
        self.clock = self.clock + 1000 if time is None else time
        return self.clock

    def store(self, variable: int, offset: int, before: bytes, after: bytes, *, site: int = 0, context: int = 0,
              tid: int = 7, time: int | None = None, origin: int = 1, flags: int = 0,
              call: tuple[int, int, int] = (1, 5, 8), stack: int | None = None,
              request: int | None = None, native: int | None = None,
              activation: int | None = None) -> int:  # fmt: skip
        assert len(before) == len(after)
        head = struct.pack("<IQIIIII", tid, self.now(time), variable, offset, len(before), site, context)
        about = struct.pack("<IiI", *call) if origin in (3, 4) else b""
        behind = b"" if stack is None else struct.pack("<I", stack)
        behind += b"" if request is None else struct.pack("<I", request)
        behind += b"" if native is None else struct.pack("<I", native)
        behind += b"" if activation is None else struct.pack("<I", activation)
        flags |= 0 if activation is None else 4
        flags |= (0 if stack is None else 8) | (0 if request is None else 16) | (0 if native is None else 32)
        return self.record(STORE, head, 36, about + before + after + behind, origin, flags)

    def blob(self, kind: int, ident: int, payload: bytes, *, tid: int = 7, time: int | None = None,
             flags: int = 0) -> int:  # fmt: skip
        head = struct.pack("<IQII", tid, self.now(time), ident, len(payload))
        return self.record(kind, head, 24, payload, flags=flags)

    def variable(self, ident: int, size: int, *, flags: int = 1, start: int = 0, stop: int = 2**64 - 1,
                 time: int | None = None) -> int:  # fmt: skip
        head = struct.pack("<IQIIQQQQ", 7, self.now(time), ident, flags, size, start, stop, 0x7F0000000000)
        return self.record(VARIABLE, head, 64)

    def content(self, ident: int, data: bytes, offset: int = 0) -> int:
        return self.blob(CONTENT, ident, struct.pack("<Q", offset) + data)

    def metadata(self, ident: int, **fields: Any) -> int:
        return self.blob(METADATA, ident, json.dumps(fields).encode())

    def watch(self, ident: int, data: bytes, name: str, serializer: str = "int64", **fields: Any) -> None:
        self.variable(ident, len(data))
        if any(data):
            self.content(ident, data)
        self.metadata(ident, name=name, serializer=serializer, **fields)

    def slab(self, ident: int, name: str, pages: int = 1, **fields: Any) -> None:
        """An object that is watched where it lies: cells of 64 bytes, none of them used yet."""
        self.variable(ident, 4096 * pages)
        self.metadata(ident, **({"name": name, "cells": 64, "shown": "Order"} | fields))

    def place(self, ident: int, offset: int, path: str, **options: Any) -> int:
        return self.blob(PLACE, ident, struct.pack("<I", offset) + path.encode("utf-8", "surrogatepass"), **options)

    def alias(self, ident: int, offset: int, names: list[tuple[int, str]], cut: bool = False) -> int:
        """The other names of a place: variable, and path."""
        paths = [(number, path.encode("utf-8", "surrogatepass")) for number, path in names]
        payload = b"".join(struct.pack("<IH", number, len(path)) + path for number, path in paths)
        return self.blob(ALIAS, ident, struct.pack("<II", offset, cut) + payload)

    def not_followed(self, ident: int, count: int, why: int, kind: str = "", path: str = "") -> int:
        name = kind.encode("utf-8", "surrogatepass")
        head = struct.pack("<QBBH", count, why, len(name), 0)
        return self.blob(NOT_FOLLOWED, ident, head + name + path.encode("utf-8", "surrogatepass"))

    def change(self, ident: int, offset: int, before: bytes, after: bytes, **options: Any) -> int:
        """A store to a cell, of what :func:`cell` makes: as long as the longer one."""
        length = max(len(before), len(after))
        return self.store(ident, offset, before.ljust(length, b"\0"), after.ljust(length, b"\0"), **options)

    def unregistered(self, ident: int, site: int = 0, why: int = 0, given: int = 0, target: bytes = b"") -> int:
        head = struct.pack("<IQI", 7, self.now(None), ident)
        return self.record(UNREGISTERED, head + struct.pack("<IBBB36sx", site, why, given, len(target), target), 64)

    def site(self, ident: int, file: str, line: int, function: str, column: int = 0, flags: int = 0) -> int:
        names = [name.encode("utf-8", "surrogateescape") for name in (file, function)]
        head = struct.pack("<IIHH", line, column, *map(len, names))
        return self.blob(SITE, ident, head + b"".join(names), flags=flags)

    def stack(self, ident: int, sites: list[int], flags: int = 0, **options: Any) -> int:
        return self.blob(STACK, ident, struct.pack(f"<I{len(sites)}I", flags, *sites), **options)

    def request(self, ident: int, **fields: Any) -> int:
        return self.json(REQUEST, ident, fields)

    def json(self, kind: int, ident: int, fields: dict[str, Any]) -> int:
        return self.blob(kind, ident, json.dumps(fields).encode())

    def thread(self, tid: int, name: str) -> int:
        return self.blob(THREAD, 0, name.encode(), tid=tid)

    def header(self) -> bytes:
        reserved = self.position if self.reserved is None else self.reserved
        head = b"MEMWATCH" + struct.pack("<HHIIIQQ", 1, 0, 4096, 64, SEGMENT, self.pid, self.started)
        head += self.runtime.encode().ljust(16, b"\0") + self.tracker.encode().ljust(16, b"\0") + self.session
        head += struct.pack("<II", 4096, 1)
        head = head.ljust(128, b"\0") + struct.pack("<Q", reserved)
        return (head.ljust(192, b"\0") + struct.pack("<QQ", self.lost, self.closed)).ljust(4096, b"\0")

    def bytes(self, *, whole_segments: bool = True) -> bytes:
        slots = bytes(self.slots)
        if whole_segments:
            slots = slots.ljust(-(-max(len(slots), 1) // (SEGMENT * 64)) * SEGMENT * 64, b"\0")
        return self.header() + slots

    def save(self, folder: Path, *, whole_segments: bool = True) -> Path:
        path = folder / f"{self.pid}-{self.runtime}.mwj"
        path.write_bytes(self.bytes(whole_segments=whole_segments))
        return path


def cell(value: Any = ..., *, cut: tuple[int, int] | None = None) -> bytes:
    """The cell of a place that has this value; of none (``...``), of one that isn't there. ``cut``: the hash and length
    of a value of which this is the beginning. A tuple: the text of any other value."""
    if value is None or isinstance(value, bool) or value is ...:
        return bytes([{...: 0, None: 1, False: 2, True: 3}[value], 0, 0, 0])
    kind, payload = {
        int: lambda: (4, struct.pack("<q", value)),
        float: lambda: (5, struct.pack("<d", value)),
        str: lambda: (6, value.encode("utf-8", "surrogatepass")),
        bytes: lambda: (7, value),
        tuple: lambda: (8, value[0].encode("utf-8", "surrogatepass")),
    }[type(value)]()
    if cut is not None:
        payload = struct.pack("<QI", *cut) + payload
    assert len(payload) <= 60
    return bytes([kind, len(payload), int(cut is not None), 0]) + payload
