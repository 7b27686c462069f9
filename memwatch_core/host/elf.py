"""An ELF file, as far as the names of its functions go: build id, symbols, and which code leaves the stack alone.

Only what is asked for is read. A damaged file raises ValueError or struct.error, and nothing else: elf(5), the System V
ABI for x86-64, and the Linux Standard Base for ``.eh_frame``.
"""

from __future__ import annotations

import os
import stat
import struct
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator
from itertools import accumulate
from typing import NamedTuple

TABLE_MOST = 1 << 28
"""Bytes of a symbol table, or of its strings."""
ALIASES = 100
"""Names of one function that are compared."""
_HEAD = struct.Struct("<16s2HI3QI6H")
_SEGMENT = struct.Struct("<2I6Q")
_SECTION = struct.Struct("<2I4Q2I2Q")
_SYMBOL = struct.Struct("<I2BH2Q")
_LOAD, _NOTE, _FRAMES = 1, 4, 0x6474E550
_SYMBOLS, _DYNAMIC = 2, 11
_FUNCTION = 2
_BINDINGS = {1: 0, 2: 1}
"""Of a symbol: global and weak ones have the better names."""
_CFA_IS_RSP_8 = b"\x0c\x07\x08\x90\x01"
"""Of .eh_frame: where a function begins, its caller's place is on top of the stack."""

_COMMON = bytes.fromhex("017a5200017810011b")
"""Version 1, augmentation "zR", factors 1 and -8, return address in column 16, i32 relative to where it stands."""

Read = Callable[[int, int], bytes]


class Segment(NamedTuple):
    """A program header."""

    kind: int
    flags: int
    offset: int
    address: int
    physical: int
    size: int
    in_memory: int
    alignment: int


class Elf:
    """``read(offset, size)`` reads from the file. Raises ValueError if it is none for this processor."""

    def __init__(self, read: Read) -> None:
        self._read = read
        ident, _, machine, _, _, segments, self._sections, *_, size, count, each, self._count, _ = _HEAD.unpack(
            read(0, _HEAD.size)
        )
        if ident[:6] != b"\x7fELF\x02\x01" or machine != 62 or size != _SEGMENT.size or each not in (0, _SECTION.size):
            raise ValueError("no ELF file for x86-64")
        self.segments = [Segment(*one) for one in _SEGMENT.iter_unpack(read(segments, size * count))]
        self._strings: dict[int, bytes] = {}
        self._functions: tuple[list[tuple[int, int, int, int, int]], list[int]] | None = None

    def build_id(self) -> str:
        """In hexadecimal; empty: it has none."""
        for segment in self.segments:
            if segment.kind != _NOTE:
                continue
            notes, at, align = self._read(segment.offset, min(segment.size, 1 << 16)), 0, segment.alignment
            while at + 12 <= len(notes):
                name, said, kind = struct.unpack_from("<3I", notes, at)
                start = at + 12 + _up(name, align)
                if kind == 3 and notes[at + 12 : at + 12 + name] == b"GNU\0":
                    return notes[start : start + said].hex()
                at = start + _up(said, align)
        return ""

    def function_at(self, address: int) -> tuple[bytes, int] | None:
        """Name and beginning of the function whose code is at an address: never just the nearest."""
        if self._functions is None:
            found = sorted(symbol for table in self._tables() for symbol in table)
            self._functions = found, list(accumulate((value + size for value, size, *_ in found), max))
        symbols, ends = self._functions
        at = bisect_right(symbols, (address, TABLE_MOST << 32)) - 1
        while at >= 0 and ends[at] > address:  # the furthest end of any that begins before
            value, size, *_ = symbols[at]
            if address < value + size:
                names = [symbol for symbol in symbols[max(0, at - ALIASES) : at + 1] if symbol[:2] == (value, size)]
                return min(map(self._name, names))[-1], value
            at -= 1
        return None

    def exported(self, names: Collection[bytes]) -> dict[bytes, int]:
        """Addresses, relative to where the file is loaded, of those of the names that other files may call or read."""
        found: dict[bytes, int] = {}
        sections = list(_SECTION.iter_unpack(self._read(self._sections, _SECTION.size * self._count)))
        for _, kind, _, _, offset, size, link, *_ in sections:
            if kind != _DYNAMIC:
                continue
            strings = self._read(*sections[link][4:6])
            for at, _, _, section, value, _ in _SYMBOL.iter_unpack(self._read(offset, size - size % _SYMBOL.size)):
                if section and (name := strings[at : strings.index(b"\0", at)]) in names:
                    found[name] = value
        return found

    def _tables(self) -> Iterator[list[tuple[int, int, int, int, int]]]:
        """Of each function: address, size, binding; where its name is, and in which section."""
        sections = list(_SECTION.iter_unpack(self._read(self._sections, _SECTION.size * self._count)))
        for _, kind, _, _, offset, size, link, *_ in sections:
            if kind not in (_SYMBOLS, _DYNAMIC):
                continue
            self._strings[link] = self._read(*sections[link][4:6])
            yield [
                (value, length, info >> 4, at, link)
                for at, info, _, section, value, length in _SYMBOL.iter_unpack(
                    self._read(offset, size - size % _SYMBOL.size)
                )
                if info & 15 == _FUNCTION and section and length
            ]

    def _name(self, symbol: tuple[int, int, int, int, int]) -> tuple[int, bool, int, bytes]:
        """Of several names for one function, the least is the best."""
        _, _, binding, at, link = symbol
        strings = self._strings[link]
        name = strings[at : strings.index(b"\0", at)]
        return _BINDINGS.get(binding, 2), name.startswith(b"_"), len(name), name

    # ---- the stack ---------------------------------------------------------------------------------------------------

    def leaves_stack_alone(self, address: int) -> bool:
        """Whether the place of the caller is certain to be on top of the stack when the code at an address runs."""
        header = next((segment for segment in self.segments if segment.kind == _FRAMES), None)
        if header is None or header.size > TABLE_MOST:
            return False
        data = self._read(header.offset, header.size)
        if data[:4] != bytes.fromhex("011b033b"):  # the table has pairs of i32, relative to it
            return False
        (count,) = struct.unpack_from("<I", data, 8)
        entries = list(struct.iter_unpack("<2i", data[12 : 12 + 8 * count]))
        at = bisect_right(entries, (address - header.address, 1 << 31)) - 1
        return at >= 0 and self._begins_so(header.address + entries[at][1], address)

    def _begins_so(self, entry: int, address: int) -> bool:
        offset = self._offset_of(entry)
        length, behind = struct.unpack("<2I", self._read(offset, 8))
        common = offset + 4 - behind
        (of_common,) = struct.unpack("<I", self._read(common, 4))
        if max(length, of_common) > 1 << 16:
            return False
        head, body = self._read(common + 8, of_common - 4), self._read(offset + 8, length - 4)
        if head[:9] != _COMMON or head[9:].rstrip(b"\0") != _CFA_IS_RSP_8:
            return False
        start, size = struct.unpack_from("<iI", body)
        here = entry + 8 + start
        if not here <= address < here + size or body[8]:
            return False
        for operation in body[9:]:
            if operation >> 6 == 1:
                here += operation & 63
            elif operation:
                return False
            if here > address:
                return True
        return True

    def _offset_of(self, address: int) -> int:
        for segment in self.segments:
            if segment.kind == _LOAD and segment.address <= address < segment.address + segment.size:
                return segment.offset + address - segment.address
        raise ValueError("an address outside of the file")


def _up(size: int, align: int) -> int:
    align = 8 if align == 8 else 4
    return (size + align - 1) // align * align


def reader_of(descriptor: int) -> Read:
    """Reads from an open file. Raises ValueError where it ends early."""

    def read(offset: int, size: int) -> bytes:
        data = os.pread(descriptor, size, offset) if 0 <= offset < 1 << 62 and 0 <= size <= TABLE_MOST else b""
        if len(data) != size:
            raise ValueError("it is cut short")
        return data

    return read


def opened(path: str | bytes) -> int:
    """A descriptor of a regular file. Raises OSError, ValueError; never waits."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise ValueError("it is no file")
