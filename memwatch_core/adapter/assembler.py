"""Puts instructions between those of a code object, and changes nothing else of it.

What is there stays in its order, with its arguments and positions. Jumps and the tables of exceptions and positions
are led to where their instructions lie now. What is known of instructions comes from :mod:`opcode` and from code that
was compiled here, so that no number of an opcode or of a cache stands in this file.
"""

from __future__ import annotations

import opcode
from collections.abc import Iterator, Mapping, Sequence
from types import CodeType
from typing import NamedTuple

EXTENDED_ARG = opcode.opmap["EXTENDED_ARG"]
_CACHE = opcode.opmap["CACHE"]
_JUMPS = frozenset(opcode.hasjrel) | frozenset(opcode.hasjabs)
ASYNC_END = opcode.opmap["END_ASYNC_FOR"]
"""From CPython 3.14 on, it says which SEND it belongs to, as if it jumped back to it."""
_BACKWARD = frozenset(number for name, number in opcode.opmap.items() if "BACKWARD" in name) | {ASYNC_END}
TWO_STORES = opcode.opmap.get("STORE_FAST_STORE_FAST", -1)
_STORE_FAST = opcode.opmap["STORE_FAST"]
_ONE_LINE, _NO_COLUMN, _LONG, _NOWHERE = 10, 13, 14, 15
"""Forms of an entry of the table of positions; the ones below 10 are short."""


class Instruction(NamedTuple):
    """An instruction of a code object. Sizes and addresses count code units, of two bytes."""

    at: int
    """Where it begins: with its first EXTENDED_ARG, if it has any."""
    op: int
    arg: int
    prefixes: int
    caches: int

    @property
    def size(self) -> int:
        return self.prefixes + 1 + self.caches

    @property
    def target(self) -> int | None:
        """Where it jumps to."""
        if self.op not in _JUMPS:
            return None
        behind = self.at + self.size
        return behind - self.arg if self.op in _BACKWARD else behind + self.arg


class Op(NamedTuple):
    """An instruction to be inserted. It doesn't jump."""

    op: int
    arg: int = 0
    caches: int = 0


def instructions(code: CodeType) -> Iterator[Instruction]:
    """The instructions of a code object, as they were compiled: never specialised ones."""
    return parse(code.co_code)


def parse(data: bytes) -> Iterator[Instruction]:
    """The instructions in bytes of code."""
    ops, args, n, at = data[::2], data[1::2], len(data) // 2, 0
    while at < n:
        begin, arg = at, args[at]
        while ops[at] == EXTENDED_ARG:
            at += 1
            arg = arg << 8 | args[at]
        op, here = ops[at], at
        at += 1
        while at < n and ops[at] == _CACHE:
            at += 1
        yield Instruction(begin, op, arg, here - begin, at - here - 1)


def compiled(text: str, name: str) -> Op:
    """The last instruction of this name in compiled code: how this version does what the text says."""
    found = [i for i in instructions(compile(text, "", "exec")) if opcode.opname[i.op] == name]
    return Op(found[-1].op, found[-1].arg, found[-1].caches)


def halves(instruction: Instruction) -> tuple[Op, ...]:
    """The two stores that an instruction makes in one, in their order; of any other, itself."""
    if instruction.op == TWO_STORES:
        return Op(_STORE_FAST, instruction.arg >> 4), Op(_STORE_FAST, instruction.arg & 15)
    return (Op(instruction.op, instruction.arg, instruction.caches),)


class Insertions:
    """What is to be inserted into a code object."""

    def __init__(self) -> None:
        self.before: dict[int, list[Op]] = {}
        """Of the instruction that begins there. It has that one's position, and jumps to that one lead to it."""
        self.between: dict[int, list[Op]] = {}
        """Between the two halves of the instruction there, which is split."""
        self.after: dict[int, list[Op]] = {}
        """Of the instruction that begins there. It has that one's position; no jump leads to it."""
        self.behind: dict[int, list[Op]] = {}
        """Of the instruction that begins there. It has no position, and no jump leads to it."""


class _Row:
    """An instruction in its new place."""

    __slots__ = ("arg", "caches", "op", "prefixes", "target")

    def __init__(self, op: int, arg: int, caches: int, prefixes: int = 0, target: int | None = None) -> None:
        self.op, self.arg, self.caches, self.target = op, arg, caches, target
        self.prefixes = max(prefixes, _prefixes(arg))


def insert(code: CodeType, insertions: Insertions, constants: Sequence[object], depth: int) -> CodeType:
    """The code object with instructions inserted. ``constants`` come behind its own; ``depth``: how many more values
    than before are on the stack at most. Raises ValueError: a jump would change its direction."""
    rows: list[_Row] = []
    first: dict[int, int] = {}
    """Of the instruction that began there: the row to which jumps lead now."""
    groups: list[tuple[Instruction, int, int]] = []
    """Each instruction, and how many rows it has now, those inserted behind it not counted; and how many those are."""
    at = 0
    for instruction in instructions(code):
        here = first[instruction.at] = len(rows)
        rows += (_Row(*op) for op in insertions.before.get(instruction.at, ()))
        between = insertions.between.get(instruction.at)
        if between is None:
            _, op, arg, prefixes, caches = instruction
            rows.append(_Row(op, arg, caches, prefixes, instruction.target))
        else:
            one, other = halves(instruction)
            rows += (_Row(*op) for op in (one, *between, other))
        rows += (_Row(*op) for op in insertions.after.get(instruction.at, ()))
        own = len(rows) - here
        rows += (_Row(*op) for op in insertions.behind.get(instruction.at, ()))
        groups.append((instruction, own, len(rows) - here - own))
        at = instruction.at + instruction.size
    first[at] = len(rows)
    starts = _placed(rows, first)
    moved = {old: starts[row] for old, row in first.items()}
    return code.replace(
        co_code=_encoded(rows),
        co_consts=code.co_consts + tuple(constants),
        co_exceptiontable=exception_table([(moved[a], moved[b], moved[to], rest) for a, b, to, rest in ranges(code)]),
        co_linetable=_positions(code.co_linetable, _growth(groups, rows)),
        co_stacksize=code.co_stacksize + depth,
    )


def _prefixes(arg: int) -> int:
    return (max(arg.bit_length(), 1) - 1) // 8


def _placed(rows: list[_Row], first: Mapping[int, int]) -> list[int]:
    """Where each row begins, and the end of the last. Jumps get their arguments; one that becomes longer moves what is
    behind it, until all fit."""
    jumps = [(index, row, first[row.target]) for index, row in enumerate(rows) if row.target is not None]
    while True:
        starts, at = [], 0
        for row in rows:
            starts.append(at)
            at += row.prefixes + 1 + row.caches
        starts.append(at)
        fits = True
        for index, row, to in jumps:
            distance = starts[to] - starts[index + 1]
            row.arg = -distance if row.op in _BACKWARD else distance
            if row.arg < 0:
                raise ValueError(f"{opcode.opname[row.op]} can't jump by {distance}")
            if _prefixes(row.arg) > row.prefixes:
                row.prefixes, fits = _prefixes(row.arg), False
        if fits:
            return starts


def _encoded(rows: list[_Row]) -> bytes:
    out = bytearray()
    for row in rows:
        arg = row.arg
        for shift in range(8 * row.prefixes, 0, -8):
            out += bytes((EXTENDED_ARG, arg >> shift & 255))
        out += bytes((row.op, arg & 255))
        out += bytes(2 * row.caches)
    return bytes(out)


# ---- exception table -------------------------------------------------------------------------------------------------


def ranges(code: CodeType) -> Iterator[tuple[int, int, int, int]]:
    """The exception table: begin, end, handler; depth of the stack and whether the instruction is kept, in one."""
    data = iter(code.co_exceptiontable)
    for byte in data:
        begin = _number(data, byte)
        size, target, rest = (_number(data, next(data)) for _ in range(3))
        yield begin, begin + size, target, rest


def _number(data: Iterator[int], byte: int) -> int:
    value = byte & 63
    while byte & 64:
        byte = next(data)
        value = value << 6 | byte & 63
    return value


def exception_table(rows: Sequence[tuple[int, int, int, int]]) -> bytes:
    """The bytes of an exception table, rows of which are as :func:`ranges` has them."""
    out = bytearray()
    for begin, end, target, rest in rows:
        where = len(out)
        for value in (begin, end - begin, target, rest):
            shift = (max(value.bit_length(), 1) - 1) // 6 * 6
            out += bytes(value >> s & 63 | (64 if s else 0) for s in range(shift, -1, -6))
        out[where] |= 128
    return bytes(out)


# ---- table of positions ----------------------------------------------------------------------------------------------


def _growth(groups: Sequence[tuple[Instruction, int, int]], rows: Sequence[_Row]) -> dict[int, tuple[int, int]]:
    """By how much the code has grown at the instruction that began there, and what has come behind it, as the address
    of the next one: units with its position, units without any, which are in front of them."""
    growth: dict[int, tuple[int, int]] = {}
    at = blank = 0
    for instruction, own, behind in groups:
        size = sum(row.prefixes + 1 + row.caches for row in rows[at : at + own])
        if size != instruction.size or blank:
            growth[instruction.at] = size - instruction.size, blank
        at += own
        blank = sum(row.prefixes + 1 + row.caches for row in rows[at : at + behind])
        at += behind
    return growth


def _positions(table: bytes, growth: Mapping[int, tuple[int, int]]) -> bytes:
    out = bytearray()
    at = read = 0
    while read < len(table):
        form, length = table[read] >> 3 & 15, (table[read] & 7) + 1
        end = _entry_end(table, read + 1, form)
        entry, read = table[read + 1 : end], end
        run = 0
        for unit in range(at, at + length):
            more, blank = growth.get(unit, (0, 0))
            if blank:
                form, entry = _put(out, form, entry, run)
                _put(out, _NOWHERE, b"", blank)
                run = 0
            run += more + 1
        _put(out, form, entry, run)
        at += length
    return bytes(out)


def _entry_end(table: bytes, at: int, form: int) -> int:
    if form == _NOWHERE:
        return at
    if form < _ONE_LINE:
        return at + 1
    if form < _NO_COLUMN:
        return at + 2
    for _ in range(4 if form == _LONG else 1):
        while table[at] & 64:
            at += 1
        at += 1
    return at


def _put(out: bytearray, form: int, entry: bytes, units: int) -> tuple[int, bytes]:
    """Writes an entry for so many units. Returns how it goes on: from the line that it has led to."""
    while units:
        out.append(128 | form << 3 | min(units, 8) - 1)
        out += entry
        units -= min(units, 8)
        form, entry = _same_line(form, entry)
    return form, entry


def _same_line(form: int, entry: bytes) -> tuple[int, bytes]:
    if _ONE_LINE <= form < _NO_COLUMN:
        return _ONE_LINE, entry
    if form in (_NO_COLUMN, _LONG):
        at = 0
        while entry[at] & 64:
            at += 1
        return form, b"\0" + entry[at + 1 :]
    return form, entry
