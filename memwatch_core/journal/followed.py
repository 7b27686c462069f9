"""One variable as its stores leave it: bytes, value, parts. For the store loop in Python."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Mapping
from typing import Any

from ..records import Alias, Extent, Part, Variable
from . import layout
from .layout import CELL_SIZE, UNNAMED

DECODED = 16
"""Limit of a decoded value's size in memory, as a multiple of its bytes: that of a list of numbers."""
LARGE = 1 << 14
"""Values larger than this, in bytes, aren't kept from one batch to the next."""
MAPPED = 1 << 16
"""Shadows larger than this, in bytes, are mapped, and take memory only where written."""
HEAD = 64
"""Limit of the value's first bytes that a serializer's ``part`` may ask for."""

Decode = Callable[[bytes, Mapping[str, Any]], Any]
FindPart = Callable[..., Extent | None]
Shadow = bytearray | mmap.mmap


class Place:
    """A place of an object or a dict."""

    __slots__ = ("aliases", "cut", "last", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self.aliases: tuple[Alias, ...] = ()
        self.cut = False
        """Its other names, and whether there are more."""
        self.last = b""
        """The bytes of its cell after the last store since its PLACE; empty if there was none."""


class Followed:
    """The known state of one variable. When its serializer first raises, its id is added to ``failures``."""

    __slots__ = (
        "_decode", "_failed", "_failures", "_find", "_fresh", "_head", "_shadow", "_value", "path", "places",
        "provisional", "told", "variable", "weight",
    )  # fmt: skip

    def __init__(self, variable: Variable, failures: list[int]) -> None:
        self.variable = variable
        self.path: str | None = None
        self.provisional = False
        self.told: int | None = None
        """The id that its events carry, if it is a slab; otherwise None."""
        self.places: dict[int, Place] = {}
        """The places of a slab, by the offsets of their cells."""
        self.weight = 1
        """Memory that a value takes, for each of its bytes."""
        self._failures = failures
        self._failed = False
        self._decode: Decode | None = None
        self._find: FindPart | None = None
        self._head = 0
        self._shadow: Shadow | None = None
        self._value: Any = None
        self._fresh = False  # whether it is the value of the bytes in the shadow

    def define(
        self,
        variable: Variable,
        path: str | None,
        decode: Decode | None,
        letter: str,
        part: FindPart | None,
        shadow: bool,
        provisional: bool,
        head: int,
        told: int | None,
    ) -> None:
        """Redefines the variable: see :meth:`PythonStores.define`. Its bytes are kept."""
        self.variable, self.path, self.provisional, self.told = variable, path, provisional, told
        self._find, self._head = part, max(0, min(head, HEAD, variable.size))
        self._decode, self.weight = decode, DECODED
        if decode is not None and letter:
            unpack = struct.Struct(f"<{letter}").unpack
            self._decode, self.weight = lambda data, options: unpack(data)[0], 1
        self.drop_value()
        self._shadow = _resized(self._shadow, variable.size) if shadow else None

    @property
    def size(self) -> int:
        """Bytes of the value."""
        return self.variable.size

    @property
    def is_followed(self) -> bool:
        """Whether its bytes are known."""
        return self._shadow is not None

    @property
    def is_decoded(self) -> bool:
        """Whether its values are known."""
        return self._shadow is not None and self._decode is not None

    @property
    def is_large(self) -> bool:
        """Whether its value is kept only until the end of a batch."""
        return self.size * self.weight > LARGE

    def drop_value(self) -> None:
        """Forgets the value, which is decoded again on demand."""
        self._value, self._fresh = None, False

    def agrees(self, offset: int, before: bytes, after: bytes = b"") -> bool:
        """Whether the bytes before a store are those known, within the watched range."""
        if self.told is not None:
            if layout.is_begun(after):
                return True
            place = self._place(offset, len(before))
            both = 0 if place is None else min(len(place.last), len(before))
            if place is None or place.last[:both] == before[:both]:
                return True
            return layout.is_explained(place.last[0], before[0])
        first, last = self.variable.depth or (0, self.size)
        start, stop = max(offset, first), min(offset + len(before), last, self.size)
        known = b"" if self._shadow is None else self._shadow[start:stop]
        return self._shadow is None or start >= stop or known == before[start - offset : stop - offset]

    def put(self, offset: int, data: bytes) -> None:
        """Sets bytes; those outside of the variable are ignored."""
        data = data[: max(0, self.size - offset)]
        if self._shadow is not None and data and self._shadow[offset : offset + len(data)] != data:
            self._shadow[offset : offset + len(data)] = data
            self._fresh = False

    def contents(self) -> bytes | None:
        """All its bytes; None if they aren't known."""
        return None if self._shadow is None else bytes(self._shadow[: self.size])

    def value(self) -> Any:
        """The present value; None if it can't be decoded."""
        if not self._fresh:
            self._value, self._fresh = None, True
            if self._decode is not None and self._shadow is not None:
                try:
                    self._value = self._decode(bytes(self._shadow), self.variable.options)
                except Exception:
                    self._fail()
        return self._value

    # ---- parts ------------------------------------------------------------------------------------------------------

    def extent(self, offset: int, length: int, before: bytes = b"", after: bytes = b"") -> Extent | None:
        """The extent of the part that contains these bytes; None if the serializer has none, or returns an impossible
        one."""
        stop = min(offset + length, self.size)
        if self._find is None or offset >= stop:
            return None
        try:
            heads = [self._beginning(offset, data) for data in (before, after)] if self._head else []
            found = self._find(offset, stop, self.variable.options, *heads)
            if found is None:
                return None
            extent = Extent(*found)
            if type(extent.name) is str and 0 <= extent.start <= offset and stop <= extent.stop <= self.size:
                return extent
        except Exception:
            pass
        self._fail()
        return None

    def bytes_of(self, extent: Extent | None, offset: int = 0, data: bytes = b"") -> bytes | None:
        """The bytes of a part; ``data`` is what a store at ``offset`` left (or found) there."""
        if extent is None:
            return None
        if self._shadow is not None:
            return bytes(self._shadow[extent.start : extent.stop])
        covered = offset <= extent.start and extent.stop <= offset + len(data)
        return data[extent.start - offset : extent.stop - offset] if covered else None

    def part(self, make: type[Part], extent: Extent | None, before: bytes | None, after: bytes | None) -> Part | None:
        """A part, from its bytes before and after a store."""
        if extent is None:
            return None
        old = self._decoded(extent, before, old=True)
        same = after == before and extent.decode_old is None
        return make(extent.name, old, old if same else self._decoded(extent, after))

    def part_now(self, make: type[Part], start: int, stop: int) -> Part | None:
        """The part that contains the bytes [start, stop), in its present state; None if there is none."""
        extent = None if self._shadow is None else self.extent(start, stop - start)
        return None if extent is None else make(extent.name, None, self._decoded(extent, self.bytes_of(extent)))

    def place(
        self, make: type[Part], cell: Callable[[bytes], Any], offset: int, before: bytes, after: bytes, activation: int
    ) -> Part | None:
        """The change of a place by a store; None if the store touched no cell, or more than one."""
        if not self._is_cell(offset, len(before)):
            return None
        place = self._place(offset, len(before))
        if place is not None:
            place.last = after
        begins = bool(after) and bool(after[0] & layout.CELL_BEGINS)
        old = cell(b"" if begins else before)
        new = old if before == after and not begins else cell(after)
        return make(UNNAMED if place is None else place.path, old, new, activation or None)

    def aliases(self, offset: int, length: int) -> tuple[tuple[Alias, ...], bool]:
        """The other names of the place that a store touched, and whether there are more."""
        place = None if self.told is None else self._place(offset, length)
        return ((), False) if place is None else (place.aliases, place.cut)

    def _is_cell(self, offset: int, length: int) -> bool:
        return offset % CELL_SIZE == 0 and length <= CELL_SIZE and offset + CELL_SIZE <= self.size

    def _place(self, offset: int, length: int) -> Place | None:
        return self.places.get(offset) if self._is_cell(offset, length) else None

    def _beginning(self, offset: int, data: bytes) -> bytes:
        """The value's first bytes, with ``data`` at ``offset``; empty if unknown."""
        if self._shadow is None:
            return data[: self._head] if offset == 0 and len(data) >= self._head else b""
        head = bytearray(self._shadow[: self._head])
        head[offset : offset + len(data)] = data[: max(0, self._head - offset)]
        return bytes(head)

    def _decoded(self, extent: Extent, data: bytes | None, old: bool = False) -> Any:
        decode = extent.decode_old if old and extent.decode_old is not None else extent.decode
        try:
            return None if data is None else decode(data)
        except Exception:
            self._fail()
            return None

    def _fail(self) -> None:
        if not self._failed:
            self._failures.append(self.variable.id)
        self._failed = True


def _resized(shadow: Shadow | None, size: int) -> Shadow:
    """A shadow of another size, with the old content and zeros behind it."""
    if shadow is not None and len(shadow) == size:
        return shadow
    if isinstance(shadow, mmap.mmap) and size > MAPPED:
        if size < len(shadow):
            page = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
            shadow[size : min(page, len(shadow))] = bytes(min(page, len(shadow)) - size)
        shadow.resize(size)
        return shadow
    made = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) if size > MAPPED else bytearray(size)
    if shadow is not None:
        kept = min(len(shadow), size)
        made[:kept] = shadow[:kept]
    return made
