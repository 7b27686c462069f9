"""What was written, when a condition is met: the record that actions get, and the sentence that is shown."""

from __future__ import annotations

import os
import re
import struct
import threading
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

from ..native import proxy
from ..records import Described, Hit, Serializer

Decode = Callable[[bytes], object]
ABSENT = Described("absent")
_ORIGINS = {1: "announced", 2: "store", 3: "syscall", 4: "kernel", 5: "found"}
_CUT, _CUT_HEAD = 1, 12
_BEGINS, _KINDS = 0x80, 0x3F
"""Of a name of a function: it held nothing before, in this call."""
_WHOLE = re.compile(r"-?[0-9]{19,}", re.ASCII)
"""A whole number of more than 64 bits is told in words."""
_OURS = (int, float, complex, str, bytes, bool, type(None), Described)
_SHOWN = 60
"""Limit of items that are written: more than fit."""
_WORDS = {0: ABSENT, 1: None, 2: False, 3: True}


class OfElement:
    """Decodes an element of an array of numbers, and says where it is."""

    def __init__(self, variable: str, one: struct.Struct, serializer: Serializer, options: Mapping[str, Any]) -> None:
        self._variable, self._one, self._part, self._options = variable, one, serializer.part, options

    def __call__(self, data: bytes) -> object:
        return self._one.unpack(data)[0]

    def path(self, offset: int) -> str:
        """``prices[1, 2]``, of the element that begins there."""
        try:
            part = self._part and self._part(offset, offset + self._one.size, self._options)
        except Exception:  # a plugin's
            part = None
        return f"{self._variable}{part.name}" if part else self._variable


class OfPart:
    """Decodes a value that is known by its parts, an array of records for instance, and says which one changed."""

    def __init__(self, variable: str, serializer: Serializer, options: Mapping[str, Any]) -> None:
        self._variable, self._serializer, self._options = variable, serializer, options

    def __call__(self, data: bytes) -> object:
        return self._serializer.decode(data, self._options)

    def changed(self, before: bytes, after: bytes) -> tuple[str, object, object] | None:
        """``d[1]`` and what it was and is: the smallest part that has all bytes that changed. None: there is none."""
        differ = [at for at, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
        try:
            part = self._serializer.part and differ and self._serializer.part(differ[0], differ[-1] + 1, self._options)
            if not part:
                return None
            old, new = (part.decode(data[part.start : part.stop]) for data in (before, after))
        except Exception:  # a plugin's
            return None
        return f"{self._variable}{part.name}", old, new


def decode_cell(data: bytes) -> object:
    """What a place holds. A value of another type than None, bool, int, float, str and bytes is described in words, and
    so is one that is too long."""
    kind, used, flags = struct.unpack_from("<BBH", data)
    kind &= _KINDS
    payload = data[4 : 4 + used]
    if kind in _WORDS:
        return _WORDS[kind]
    if kind in (4, 5):
        return struct.unpack("<q" if kind == 4 else "<d", payload)[0]
    cut = flags & _CUT
    text = payload[_CUT_HEAD if cut else 0 :]
    if kind == 7:
        return Described(f"{text!r}…") if cut else text
    shown = _text(text)
    if kind == 6:
        return Described(f"{shown!r}…") if cut else shown
    if kind == 8 and not cut and _WHOLE.fullmatch(shown):
        return int(shown)
    return Described(shown if kind == 8 else "<secret>")


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:  # cut within a character
        return data.decode("utf-8", "replace")


def met(raw: proxy.Hit, variable: str, when: str | None, decode: Decode) -> Hit:
    """The record of what C tells."""
    _, _, tid, how, _, offset, size, time, more, path, file, line, function, before, after = raw
    whole = size == len(before) and size > 0
    if whole and decode is decode_cell and after[0] & _BEGINS:
        before = bytes(size)
    part = decode.changed(before, after) if whole and isinstance(decode, OfPart) else None
    if part is None:
        place = decode.path(offset) if isinstance(decode, OfElement) else variable
        old, new = (_decoded(decode, data) if whole else None for data in (before, after))
    else:
        place, old, new = part
    return Hit(
        variable=variable,
        path=path or place,
        old=old,
        new=new,
        changed=before != after,
        thread=_name(tid),
        tid=tid,
        site=(file, line, function) if file else None,
        origin=_ORIGINS.get(how, ""),
        when=when,
        time_ns=time,
        more=more,
        secret=size == 0,
    )


def _decoded(decode: Decode, data: bytes) -> Any:
    try:
        return decode(data)
    except Exception:  # a plugin's
        return None


def _name(tid: int) -> str:
    """Read past ``threading.enumerate()``, whose lock another thread may hold."""
    for thread in list(threading._active.values()):  # type: ignore[attr-defined]
        inner = object.__getattribute__(thread, "__dict__")
        if inner.get("_native_id") == tid:
            return str(inner.get("_name"))
    return f"Thread-{tid}"


def written(hit: Hit) -> str:
    """``total 5 → -1``."""
    values = "was written to" if hit.secret or (hit.old is None and hit.new is None) else ""
    return f"{hit.path} {values or f'{_shown(hit.old)} → {_shown(hit.new)}'}"


def sentence(hit: Hit, frame: FrameType | None) -> str:
    """``total 5 → -1 by add() at orders.py:41 (when new < 0)``."""
    text = f"{written(hit)}{_where(hit, frame)}"
    if hit.when is not None:
        text += f" (when {hit.when})"
    if hit.more:
        text += f", and {hit.more} more like it"
    return text


def _where(hit: Hit, frame: FrameType | None) -> str:
    if hit.site is None:
        return ", found changed" if hit.origin == "found" else f" by {hit.thread}, which runs no Python there"
    file, line, function = hit.site
    text = f" at {_near(file)}:{line} {function}"
    at = frame.f_lineno if frame is not None else None  # None: where a function begins
    if frame is not None and at is not None and hit.tid and (at != line or frame.f_code.co_filename != file):
        stopped = frame.f_code.co_filename
        here = f"line {at}" if stopped == file else f"{_near(stopped)}:{at}"
        text += f", noticed at {here}"
    return text


def _near(file: str) -> str:
    """A path as it is from the working folder, if it is below that."""
    try:
        return file.removeprefix(f"{os.getcwd()}/")
    except OSError:  # it is gone
        return file


def _shown(value: object) -> str:
    """A value of ours: no code of the program's runs."""
    if type(value) in _OURS:
        text = repr(value)
    elif type(value) is list:
        text = f"[{', '.join(map(_shown, value[:_SHOWN]))}]"
    elif type(value) is dict:
        text = f"{{{', '.join(f'{_shown(key)}: {_shown(value[key])}' for key in [*value][:_SHOWN])}}}"
    elif isinstance(value, tuple) and all(type(item) in (int, float, bytes, bool, str) for item in value):
        text = repr(tuple(value))
    else:
        text = proxy.written(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
