"""What a journal says of attributes, straight from its bytes, and an oracle that looks before and after operations."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from journals import _payload

STORE, UNREGISTERED, PLACE = 1, 7, 13
ORIGINS = {1: "announced", 5: "found"}
ABSENT = "<absent>"


class Change(NamedTuple):
    variable: int
    path: str
    origin: str
    before: Any
    after: Any
    tid: int


class Tap:
    """The changes in a journal since they were last asked for."""

    def __init__(self, path: Path, value: Callable[[bytes], Any] | None = None) -> None:
        self.path, self._value = path, value or value_of
        self.ended: list[int] = []
        self._at = 0
        self._paths: dict[tuple[int, int], str] = {}

    def changes(self) -> list[Change]:
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            header = file.read(4096)
            slots = struct.unpack_from("<Q", header, 128)[0]
            file.seek(4096 + 64 * self._at)
            data = file.read((slots - self._at) * 64)
        found, at = [], 0
        while at + 64 <= len(data) and data[at]:
            kind, count, origin, _ = data[at : at + 4]
            tid, _, number = struct.unpack_from("<IQI", data, at + 4)
            if kind == STORE:
                offset, length = struct.unpack_from("<II", data, at + 20)
                payload = _payload(data, at, count, 36)
                before, after = self._value(payload[:length]), self._value(payload[length : 2 * length])
                found.append(Change(number, self._paths[number, offset], ORIGINS[origin], before, after, tid))
            elif kind == UNREGISTERED:
                self.ended.append(number)
            elif kind == PLACE:
                (length,) = struct.unpack_from("<I", data, at + 20)
                payload = _payload(data, at, count, 24)[:length]
                self._paths[number, struct.unpack_from("<I", payload)[0]] = payload[4:].decode()
            at += 64 * max(count, 1)
        self._at += at // 64
        return found


def value_of(cell: bytes) -> Any:
    """What a cell says: a value, or its words in a tuple."""
    kind, used, flags = struct.unpack_from("<BBH", cell)
    payload = cell[4 : 4 + used]
    if kind == 4:
        return struct.unpack("<q", payload)[0]
    if kind in (6, 8):
        text = payload[12:] if flags & 1 else payload
        return text.decode() if kind == 6 else (text.decode("utf-8", "replace"),)
    return {0: ABSENT, 1: None, 2: False, 3: True}[kind]


def shown(value: Any) -> Any:
    """What a cell should say of a value."""
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) in (list, tuple, dict, set):
        return (repr(value),)
    return (f"<{type(value).__name__} at {id(value):#x}>",)


State = dict[str, Any]


class Oracle:
    """Compares what operations change with the events that come."""

    def __init__(self, tap: Tap, look: Callable[[], State]) -> None:
        self.tap, self.look = tap, look
        tap.changes()

    def watches(self, operation: Callable[[], object], what: str = "") -> list[Change]:
        """The events of an operation: each change is there, none is found later, none that wasn't."""
        before = self.look()
        operation()
        after, changes = self.look(), self.tap.changes()
        assert all(change.origin == "announced" for change in changes), (what, changes)
        assert replayed(before, changes, what) == after, (what, before, after, changes)
        return changes


def replayed(state: State, changes: list[Change], what: str = "") -> State:
    """What changes make of a state; each begins with what the one before has left."""
    state = dict(state)
    for change in changes:
        assert state.get(change.path, ABSENT) == change.before, (what, change, state)
        state[change.path] = change.after
    return {path: value for path, value in state.items() if value != ABSENT}
