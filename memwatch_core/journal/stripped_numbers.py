"""Where variables have numbers of several bytes, of which nothing but equality stays in a copy without values."""

from __future__ import annotations

import mmap
import re
import struct
from array import array
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

from .. import structs

PLAIN, SLAB, LEFT = 0, 1, 2
"""Of a variable: its bytes are values; it is cells; its bytes are masked already. As in strip.c."""
IDS = 1 << 24
"""Ids from here on are of damaged records."""
HELD = 256 << 20
"""Bytes of variables with numbers whose contents are known while they are copied. Of more, a number that is stored in
parts has no equal."""
FIELDS = 1 << 22
"""Fields of a struct that are looked at."""
RUNS = 1 << 16
"""Numbers of an array of records that are looked at, each time that other bytes are between them."""
_NOT_HELD = 2**64 - 1
_WIDTHS = frozenset({2, 4, 8})
_ELEMENT = re.compile(r"(?:Int|Uint|Float)(16|32|64)Array")
_ARRAYS = frozenset({"numpy", "ctypes", "memoryview"})
_DTYPE = re.compile(r"[<>|]([biufcMm])(\d{1,2})(?:\[.*)?")
_ROW, _RUN = struct.Struct("=QQQQ"), struct.Struct("=QQQ")

Run = tuple[int, int, int]
"""Numbers that follow each other: [start, stop), and the width of each."""


class Variables:
    """What is known of the variables of a journal."""

    def __init__(self) -> None:
        self.kinds = bytearray()
        self.sizes: dict[int, int] = {}
        self.runs: dict[int, list[Run]] = {}

    def register(self, ident: int, size: int, masked: bool) -> None:
        """Notes that there is a variable."""
        self.sizes[ident] = size
        if masked:
            self._set(ident, LEFT)

    def hold_cells(self, ident: int) -> None:
        """Notes that it is a slab."""
        self._set(ident, SLAB)

    def describe(self, ident: int, said: dict[str, Any]) -> None:
        """Notes what its metadata say."""
        if runs := numbers_of(said):
            self.runs[ident] = runs

    def tables(self) -> Tables:
        """All of that as strip.c takes it."""
        words, rows, runs, used = array("I", iter(self.kinds)), bytearray(_ROW.pack(0, 0, 0, 0)), bytearray(), 0
        for ident, found in self.runs.items():
            size = min(found[-1][1], self.sizes.get(ident, 0))
            found = [(start, end, width) for start, stop, width in found
                     if (end := start + max(0, min(stop, size) - start) // width * width) > start]  # fmt: skip
            if not found:
                continue
            is_held = used + size <= HELD
            first = len(runs) // _RUN.size
            for run in found:
                runs += _RUN.pack(*run)
            if ident >= len(words):
                words.frombytes(bytes(words.itemsize * (ident + 1024 - len(words))))
            words[ident] |= len(rows) // _ROW.size << 2
            rows += _ROW.pack(3 * used if is_held else _NOT_HELD, size, first, first + len(found))
            used += size if is_held else 0
        return Tables(words, bytes(rows), bytes(runs), mmap.mmap(-1, max(1, 3 * used)))

    def _set(self, ident: int, kind: int) -> None:
        if ident >= len(self.kinds):
            self.kinds.extend(bytes(ident + 1024 - len(self.kinds)))
        self.kinds[ident] = kind


class Tables(NamedTuple):
    """Arguments of strip.c."""

    variables: array[int]
    rows: bytes
    runs: bytes
    held: mmap.mmap


def numbers_of(said: dict[str, Any]) -> list[Run]:
    """The numbers of several bytes in a variable with these metadata, in order."""
    serializer, options, size = said.get("serializer"), said.get("options"), said.get("size")
    options = options if isinstance(options, dict) else {}
    if not isinstance(serializer, str) or not isinstance(size, int) or not serializer:
        return []
    if serializer in ("bytes", "bytearray"):
        return [(0, 8, 8)]  # how many they are
    if serializer == "typedarray":
        element = _ELEMENT.search(str(options.get("class")))
        return [(0, size, int(element[1]) // 8)] if element else []
    if serializer in _ARRAYS:
        return [*islice(_elements(options.get("dtype"), size), RUNS)]
    if serializer == "struct":
        return [*_fields(str(options.get("format")))]
    return [(0, size, size)] if size in _WIDTHS else []


def _elements(dtype: Any, size: int) -> Iterator[Run]:
    """Of an array that is a number after the other, or a record after the other."""
    if isinstance(dtype, str):
        yield from _of_item(dtype, 0, size)
    elif isinstance(dtype, dict) and isinstance(step := dtype.get("size"), int) and step > 0:
        for at in range(0, size - step + 1, step):
            yield from _of_item(dtype, at, at + step)


def _of_item(dtype: Any, start: int, stop: int, depth: int = 0) -> Iterator[Run]:
    """The numbers of an item, as memwatch_plugins/arrays/items.py has it, that is between two bytes."""
    found = _DTYPE.fullmatch(dtype) if isinstance(dtype, str) else None
    if found is not None:
        width = min(int(found[2]) // (2 if found[1] == "c" else 1), 8)
        if width in _WIDTHS and start + width <= stop:
            yield start, stop - (stop - start) % width, width
    elif isinstance(dtype, list) and len(dtype) == 2 and depth < 8:
        yield from _of_item(dtype[0], start, stop, depth + 1)  # of a block of records, the first
    elif isinstance(dtype, dict) and isinstance(fields := dtype.get("fields"), list) and depth < 8:
        places = sorted((field[2], i) for i, field in enumerate(fields) if _is_field(field))
        for (at, i), (end, _) in zip(places, [*places[1:], (stop - start, 0)][: len(places)], strict=True):
            last = min(start + end, stop, start + at + _size(fields[i][1]))
            yield from _of_item(fields[i][1], start + at, last, depth + 1)


def _is_field(field: Any) -> bool:
    return isinstance(field, list) and len(field) == 3 and isinstance(field[2], int) and field[2] >= 0


def _size(dtype: Any) -> int:
    """Bytes of an item; of one that isn't simple, as many as there may be."""
    found = _DTYPE.fullmatch(dtype) if isinstance(dtype, str) else None
    return int(found[2]) if found is not None else 1 << 32


def _fields(form: str) -> Iterator[Run]:
    try:
        struct.calcsize(form)
    except (struct.error, UnicodeEncodeError):
        return
    last: Run | None = None
    for field in islice(structs.fields(form), FIELDS):
        width = min(field.size, 8)  # a complex number is two
        if field.letter in structs.TEXTS or width not in _WIDTHS:
            continue
        run = (field.offset, field.offset + field.size, width)
        if last is not None and last[1:] == (run[0], width):
            last = (last[0], run[1], width)
            continue
        if last is not None:
            yield last
        last = run
    if last is not None:
        yield last
