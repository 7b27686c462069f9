"""The parts of a value that lies in bytes: fields, elements, bytes of a buffer, as its serializer names them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from ..host.secrets import hidden
from ..host.variables import AS_BYTES, VALUE_LIMIT
from ..records import Extent, Serializer, Shown, Variable
from .memory import Mark, Memory

UNKNOWN = Shown("unknown")
"""Stands for a value of which not all bytes are known."""
LENGTH = "len()"
SINGLES = 1 << 17
BETWEEN = 1 << 14
"""Limit of bytes of a value that belong to no part."""
_RANGE = re.compile(r"(.*)\[(\d{1,18})(?::(\d{1,18}))?\]")


class Unit(NamedTuple):
    """A part, or several elements that were always written together."""

    name: str
    """What stands behind the variable's name; empty: all of it."""
    start: int
    stop: int
    """Its bytes are [start, stop)."""
    decode: Callable[[bytes], Any]


class Parts:
    """How the bytes of one variable are divided. Nothing here raises, whatever a serializer does."""

    def __init__(self, variable: Variable, serializers: Mapping[str, Serializer]) -> None:
        self._variable = variable
        self._serializer = serializers.get(variable.serializer) if variable.serializer else None
        self.is_raw = self._serializer is None
        """Whether its serializer is missing, or it has none: it is bytes."""
        if "secret" in variable.flags:
            self._serializer = hidden(self._serializer or AS_BYTES)
        self._head = 0 if self._serializer is None else max(0, min(self._serializer.head, 64, variable.size))
        one, end = self._find(self._head, self._head + 1, b""), variable.size - self._head
        last = self._find(variable.size - 1, variable.size, b"")
        names = {"[0:1]": f"[{end - 1}:{end}]", "[0]": f"[{end - 1}]"}
        self.is_bytes = one is not None and last is not None and names.get(one.name) == last.name
        """Whether each of its parts is a byte."""
        self._is_array = self._serializer is not None and self._serializer.by_parts
        self.is_whole = one is None
        """Whether it has no parts."""
        self.is_cut = self._serializer is not None and self._serializer.cut is not None and not self.is_whole
        """Whether bytes can be had as parts that lie within them: see :meth:`cut`."""

    def whole(self, memory: Memory) -> Any:
        """The value; :data:`UNKNOWN` if some of its bytes aren't known, None if it can't be decoded or is large."""
        size = self._variable.size
        if size > VALUE_LIMIT:
            return None
        if self._serializer is not None and self._head and (stop := self.stop(memory)) is not None:
            data = memory.read(0, stop)  # what lies behind its end is no part of it
            data = None if data is None else data.ljust(size, b"\0")
        else:
            data = memory.read(0, size)
        if data is None:
            return UNKNOWN
        return data if self._serializer is None else self._decoded(data)

    def start(self) -> int:
        """Where the parts begin: behind the length, if there is one."""
        return self._head

    def stop(self, memory: Memory) -> int | None:
        """Where the value ends now; None if that isn't known."""
        size = self._variable.size
        if not self._head:
            return size
        head = memory.read(0, self._head)
        unit = None if head is None else self._find(0, 1, head)
        if head is None or unit is None or unit.name != LENGTH:
            return None if head is None else size
        number = unit.decode(head[unit.start : unit.stop])
        return min(size, self._head + number) if isinstance(number, int) else size

    def value(self, unit: Unit, memory: Memory) -> Any:
        """The value of a part."""
        if unit.stop - unit.start > VALUE_LIMIT:
            return None
        data = memory.read(unit.start, unit.stop)
        if data is None:
            return UNKNOWN
        try:
            return unit.decode(data)
        except Exception:  # a serializer's own
            return None

    def units(self, memory: Memory, start: int, stop: int) -> Iterator[tuple[Unit, Sequence[Mark]]]:
        """The parts of bytes [start, stop), each with its marks: each field, and elements together that were always
        written together."""
        if self.is_whole:
            whole = Unit("", 0, self._variable.size, self._decoded)
            yield whole, [stretch.mark for stretch in memory.stretches(whole.start, whole.stop)]
            return
        head = memory.peek(0, self._head)
        at, between = start, 0
        for stretch in memory.stretches(start, stop):
            at = max(at, stretch.start)
            while at < stretch.stop:
                unit = self._unit(at, stretch.stop, head)
                if unit is None:
                    at, between = at + 1, between + 1  # a byte between two fields
                    if between > BETWEEN:
                        return  # a value that claims to be larger than its fields
                    continue
                if unit.stop <= stretch.stop:
                    yield unit, (stretch.mark,)
                else:
                    yield unit, [each.mark for each in memory.stretches(unit.start, unit.stop)]
                at = unit.stop

    def cut(self, start: int, stop: int) -> Iterator[Unit]:
        """The bytes [start, stop), in order, as parts that lie within them, but for bytes that mean nothing."""
        cut = None if self._serializer is None else self._serializer.cut
        try:
            for found in () if cut is None else cut(start, stop, self._variable.options):
                if 0 <= found.start < found.stop <= self._variable.size:
                    yield Unit(*found[:4])
        except Exception:  # a serializer's own
            return

    def between(self, memory: Memory, start: int, stop: int) -> Unit:
        """The part that has all of these bytes, and no others if there is one."""
        found = self._find(start, stop, memory.peek(0, self._head))
        if found is not None and (found.start, found.stop) != (start, stop) and (exact := self._exact(start, stop)):
            return exact
        if found is None:
            return Unit("", 0, self._variable.size, self._decoded)
        return Unit(found.name, found.start, found.stop, found.decode)

    def locate(self, name: str, memory: Memory) -> Unit | None:
        """The part of this name: ``.qty``, ``[3]``, ``[0:16]``, ``.tag[0:4]``, ``len()``; None if there is none."""
        if self._serializer is not None and self._serializer.locate is not None:
            return self._located(name)
        head = memory.peek(0, self._head)
        if self._head and name == LENGTH:
            return self.between(memory, 0, 1)
        wanted = _RANGE.fullmatch(name)
        at, size = self._head, self._variable.size
        if wanted is None or wanted[1]:  # a field
            for found in self._singles(head):
                if found.name == name:
                    return Unit(name, found.start, found.stop, found.decode)
                owner = _RANGE.fullmatch(found.name)
                if wanted is not None and owner is not None and owner[1] == wanted[1]:
                    at, first = found.start, int(wanted[2])
                    return self._checked(at + first, at + int(wanted[3] or first + 1), name, head)
            return None
        first, last = int(wanted[2]), int(wanted[3] or int(wanted[2]) + 1)
        one = self._find(at, at + 1, head)
        if one is None or first >= last or last > size:
            return None
        width = one.stop - one.start
        if (part := self._checked(at + first * width, at + last * width, name, head)) is not None:
            return part
        fields = (found for found in self._singles(head) if found.name == name)  # without names, of different sizes
        return next((Unit(name, found.start, found.stop, found.decode) for found in fields), None)

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _located(self, name: str) -> Unit | None:
        """The part that its serializer knows by this name."""
        try:
            locate = None if self._serializer is None else self._serializer.locate
            found = None if locate is None else locate(name, self._variable.options)
            extent = None if found is None else self._find(*found, b"")
        except Exception:  # a serializer's own
            return None
        if extent is None or found is None:
            return None
        exact = None if (extent.start, extent.stop) == tuple(found) else self._exact(*found)
        return exact or Unit(*extent[:4])

    def _exact(self, start: int, stop: int) -> Unit | None:
        """The part that is just these bytes, if they are one."""
        units = [*islice(self.cut(start, stop), 2)] if self.is_cut else []
        return units[0] if len(units) == 1 and (units[0].start, units[0].stop) == (start, stop) else None

    def _singles(self, head: bytes) -> Iterator[Extent]:
        """The smallest parts, in order, up to a limit that no struct reaches."""
        at = self._head
        for _ in range(SINGLES):
            found = self._find(at, at + 1, head) if at < self._variable.size else None
            if found is None:
                return
            yield found
            at = max(found.stop, at + 1)

    def _checked(self, start: int, stop: int, name: str, head: bytes) -> Unit | None:
        if stop > self._variable.size:
            return None
        found = self._find(start, stop, head)
        plain = re.sub(r"\[(\d+):(\d+)\]$", lambda m: f"[{m[1]}]" if int(m[2]) == int(m[1]) + 1 else m[0], name)
        wide = re.sub(r"\[(\d+)\]$", lambda m: f"[{m[1]}:{int(m[1]) + 1}]", name)
        if found is None or found.name not in (name, plain, wide):
            return None
        return Unit(found.name, found.start, found.stop, found.decode)

    def _unit(self, at: int, end: int, head: bytes) -> Unit | None:
        """The part that begins at a byte: a field, or elements up to ``end``. None: none begins there."""
        one = self._find(at, at + 1, head)
        if one is None or one.start < at:
            return None
        found = one
        if self._is_array and one.stop < end:
            found = self._rows(one, at, end)
            return Unit(found.name, found.start, found.stop, found.decode)
        text = _RANGE.fullmatch(one.name)
        if one.stop < end and (text is not None and (self.is_bytes or not text[1] or one.stop - one.start == 1)):
            found = self._longest(one, at, end, head)
        return Unit(found.name, found.start, found.stop, found.decode)

    def _rows(self, one: Extent, at: int, end: int) -> Extent:
        """Whole elements up to ``end``."""
        last = self._find(end - 1, end, b"")
        if last is not None and last.stop > end:
            end = last.start
        found = self._find(at, end, b"") if end > one.stop else None
        return found if found is not None and found.start == at and found.stop <= end else one

    def _longest(self, one: Extent, at: int, end: int, head: bytes) -> Extent:
        """Elements up to ``end``, as far as they are of one field and end there or before."""
        owner = _RANGE.fullmatch(one.name)
        last = self._find(end - 1, end, head)
        if last is not None and last.stop > end:
            end = max(one.stop, last.start)
        low, high, best = one.stop, end, one
        while low < high:  # usually once
            found = self._find(at, high, head)
            name = None if found is None else _RANGE.fullmatch(found.name)
            fits = found is not None and found.start == at and found.stop <= end
            if found is not None and fits and name is not None and owner is not None and name[1] == owner[1]:
                best, low = found, high
                break
            high = low + (high - low) // 2
        return best

    def _find(self, start: int, stop: int, head: bytes) -> Extent | None:
        if self._serializer is None:
            return Extent(f"[{start}:{stop}]", start, stop, bytes)
        part, options = self._serializer.part, self._variable.options
        if part is None or stop > self._variable.size:
            return None
        try:
            heads = [head, head] if self._head else []
            found = part(start, stop, options, *heads)
            if found is not None and 0 <= found.start <= start and stop <= found.stop <= self._variable.size:
                return Extent(*found)
        except Exception:  # a serializer's own
            pass
        return None

    def _decoded(self, data: bytes) -> Any:
        if self._serializer is None:
            return data
        try:
            return self._serializer.decode(data, self._variable.options)
        except Exception:  # a serializer's own
            return None
