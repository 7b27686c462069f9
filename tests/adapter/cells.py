"""What a journal says of places, straight from its bytes, by docs/journal-format.md; and what it should say."""

from __future__ import annotations

import json
import struct
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from journals import Opened

CELL = 64
ABSENT = "<absent>"


@dataclass(frozen=True)
class Change:
    """One event of a place."""

    variable: str
    path: str
    old: Any
    new: Any
    origin: str
    tid: int
    line: int
    function: str


def changes(journal: Opened) -> list[Change]:
    """All of them so far, in their order."""
    contents = journal.read()
    found = []
    for store in contents.stores:
        metadata = contents.metadata[store.variable]
        assert metadata["cells"] == CELL
        assert store.offset % CELL == 0
        assert store.path is not None, "a store names a cell whose path isn't known"
        old, new = value_of(store.before), value_of(store.after)
        found.append(
            Change(metadata["name"], store.path, old, new, store.origin, store.tid, store.line, store.function)
        )
    return found


def value_of(cell: bytes) -> Any:
    """Of the bytes of a cell that a store has recorded."""
    kind, used, flags = struct.unpack_from("<BBH", cell)
    payload = cell[4 : 4 + used]
    assert not any(cell[4 + used :]), "bytes behind a cell's payload"
    if flags & 1:
        _, length = struct.unpack_from("<QI", payload)
        return ("cut", kind, length, payload[12:].decode("utf-8", "replace") if kind != 7 else payload[12:])
    values: Mapping[int, Callable[[], Any]] = {
        0: lambda: ABSENT,
        1: lambda: None,
        2: lambda: False,
        3: lambda: True,
        4: lambda: struct.unpack("<q", payload)[0],
        5: lambda: repr(struct.unpack("<d", payload)[0]),
        6: lambda: payload.decode("utf-8", "surrogatepass"),
        7: lambda: payload,
        8: lambda: ("shown", payload.decode("utf-8", "surrogatepass")),
    }
    return values[kind]()


def expected(value: Any) -> Any:
    """How a cell shows a value."""
    if value is None or type(value) is bool:
        return value
    if type(value) is float:
        return repr(value)  # nan is nan
    if type(value) is int:
        return value if -(2**63) <= value < 2**63 else ("shown", str(value))
    if type(value) is str:
        data = value.encode("utf-8", "surrogatepass")
        return value if len(data) <= 60 else ("cut", 6, len(value), _cut(data, 48))
    if type(value) is bytes:
        return value if len(value) <= 60 else ("cut", 7, len(value), value[:48])
    if type(value) in (list, tuple, dict, set, frozenset, types.BuiltinFunctionType, type):
        text = repr(value)
        return ("shown", text) if len(text.encode()) <= 60 else ("cut", 8, 0, _cut(text.encode(), 45) + "…")
    return ("shown", f"<{type(value).__name__} at {id(value):#x}>")


def _cut(data: bytes, most: int) -> str:
    return data[:most].decode("utf-8", "ignore")


def key_text(key: Any, attributes: bool) -> str:
    """How a path goes on."""
    if attributes and isinstance(key, str) and key.isidentifier():
        return f".{key}"
    return f"[{json.dumps(key, ensure_ascii=False)}]" if type(key) is str else f"[{key!r}]"


def state_of(mapping: Mapping[Any, Any], attributes: bool, before: str = "") -> dict[str, Any]:
    """Path -> what its cell should show, of one dict."""
    return {before + key_text(key, attributes): expected(value) for key, value in mapping.items()}


def replay(state: Mapping[str, Any], changes: list[Change]) -> dict[str, Any]:
    """What changes make of a state. Fails where one doesn't begin with what the one before has left."""
    now = dict(state)
    for change in changes:
        assert now.get(change.path, ABSENT) == change.old, (change, now)
        now[change.path] = change.new
        if change.new == ABSENT:
            del now[change.path]
    return now
