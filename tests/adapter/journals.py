"""Reads the events of a journal straight from its bytes, by docs/journal-format.md.

Nothing of the reading side is used, so that what the adapter's tests find is what the adapter wrote.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memwatch_core.adapter.watch import variable

STORE, PAD, VARIABLE, METADATA, CONTENT, UNREGISTERED, SITE, THREAD, PLACE = 1, 3, 4, 5, 6, 7, 8, 11, 13
ALIAS, NOT_FOLLOWED = 15, 17
ORIGINS = {1: "announced", 2: "store", 3: "syscall", 4: "kernel", 5: "found"}


@dataclass(frozen=True)
class Store:
    variable: int
    origin: str
    exact: bool
    tid: int
    offset: int
    before: bytes
    after: bytes
    site: int
    context: int
    file: str
    line: int
    function: str
    column: int
    call: tuple[int, int, int] | None
    """number of the call, fd, bytes"""
    path: str | None
    """of a place"""
    aliases: tuple[tuple[int, str], ...]
    """its other names: variable, path"""
    cut: bool
    """there are more"""


@dataclass
class Contents:
    """Everything of interest in one journal so far."""

    stores: list[Store]
    metadata: dict[int, Any]
    variables: dict[int, tuple[int, int, int]]
    """flags, depth start, depth stop"""
    contents: dict[int, bytes]
    ended: list[int]
    threads: list[tuple[int, str]]
    closed: int
    left: list[tuple[int, int, int, str, str]]
    """What isn't followed: variable, count, why, type, path."""

    def of(self, number: int) -> list[Store]:
        return [store for store in self.stores if store.variable == number]


def read(path: Path) -> Contents:
    """What was committed so far."""
    found = Contents([], {}, {}, {}, [], [], 0, [])
    if not path.exists():  # it is made at the first record
        return found
    sites: dict[int, tuple[str, int, str, int]] = {0: ("", 0, "", 0)}
    paths: dict[tuple[int, int], str] = {}
    others: dict[tuple[int, int], tuple[tuple[tuple[int, str], ...], bool]] = {}
    with path.open("rb") as file:
        header = file.read(4096)
        slots, found.closed = struct.unpack_from("<Q", header, 128)[0], struct.unpack_from("<Q", header, 200)[0]
        data = file.read(slots * 64)
    at = 0
    while at + 64 <= len(data):
        kind, count, origin, flags = data[at : at + 4]
        if kind == 0:
            break
        tid, _, number = struct.unpack_from("<IQI", data, at + 4)
        if kind == STORE:
            offset, length, site, context = struct.unpack_from("<IIII", data, at + 20)
            payload = _payload(data, at, count, 36)
            call = struct.unpack_from("<IiI", payload) if origin == 3 else None
            payload = payload[12:] if call else payload
            file_name, line, function, column = sites[site]
            found.stores.append(
                Store(
                    number,
                    ORIGINS[origin],
                    not flags & 3,
                    tid,
                    offset,
                    payload[:length],
                    payload[length : 2 * length],
                    site,
                    context,
                    file_name,
                    line,
                    function,
                    column,
                    call,
                    paths.get((number, offset)),
                    *others.get((number, offset), ((), False)),
                )
            )
        elif kind == VARIABLE:
            variable_flags, _, start, stop = struct.unpack_from("<IQQQ", data, at + 20)
            found.variables[number] = (variable_flags, start, stop)
        elif kind == UNREGISTERED:
            found.ended.append(number)
        elif kind in (METADATA, CONTENT, SITE, THREAD, PLACE, ALIAS, NOT_FOLLOWED):
            (length,) = struct.unpack_from("<I", data, at + 20)
            payload = _payload(data, at, count, 24)[:length]
            if kind == METADATA:
                found.metadata[number] = json.loads(payload)
            elif kind == PLACE:
                place = number, struct.unpack_from("<I", payload)[0]
                paths[place], others[place] = payload[4:].decode("utf-8", "surrogatepass"), ((), False)
            elif kind == ALIAS:
                others[number, struct.unpack_from("<I", payload)[0]] = _names(payload[8:]), payload[4] > 0
            elif kind == NOT_FOLLOWED:
                found.left.append((number, *struct.unpack_from("<QB", payload), *_left(payload)))
            elif kind == CONTENT:
                found.contents[number] = payload[8:]
            elif kind == THREAD:
                found.threads.append((tid, payload.decode()))
            else:
                line, column, file_length, _ = struct.unpack_from("<IIHH", payload)
                names = payload[12:].decode()
                raw = payload[12 : 12 + file_length].decode()
                sites[number] = (raw, line, names[len(raw) :], column)
        at += 64 * max(count, 1)
    return found


def _left(payload: bytes) -> tuple[str, str]:
    return payload[12 : 12 + payload[9]].decode(), payload[12 + payload[9] :].decode()


def _names(payload: bytes) -> tuple[tuple[int, str], ...]:
    found = []
    while payload:
        number, length = struct.unpack_from("<IH", payload)
        found.append((number, payload[6 : 6 + length].decode("utf-8", "surrogatepass")))
        payload = payload[6 + length :]
    return tuple(found)


def _payload(data: bytes, at: int, slots: int, start: int) -> bytes:
    first = data[at + start : at + 64]
    return first + b"".join(data[at + 64 * i + 4 : at + 64 * i + 64] for i in range(1, slots))


@dataclass(frozen=True)
class Opened:
    """The open journal, and what is in it."""

    path: Path

    def read(self) -> Contents:
        return read(self.path)

    def stores(self, watched: Any) -> list[Store]:
        return self.read().of(variable(watched).id)
