"""Which stores of a code object belong to comprehensions that the compiler has inlined (CPython 3.12 and later).

``[x for x in rows]`` in a function has no frame of its own there. What ``x`` held before is kept on the stack
(LOAD_FAST_AND_CLEAR; nothing, if it held none) and stored back behind the comprehension. So the code is followed with
what lies on the stack: as long as the former value of a name is there, stores to the name are the comprehension's, and
so is the one that takes it from there. Positions aren't asked: code may have none.
"""

from __future__ import annotations

import dis
import opcode
from collections.abc import Iterator, Sequence
from types import CodeType

from .assembler import ASYNC_END, Instruction, halves, ranges

_CLEAR = opcode.opmap.get("LOAD_FAST_AND_CLEAR", -1)
_SWAP = opcode.opmap["SWAP"]
_STORE, _STORE_CELL = opcode.opmap["STORE_FAST"], opcode.opmap["STORE_DEREF"]
_STORE_AND_LOAD = opcode.opmap.get("STORE_FAST_LOAD_FAST", -1)
_WITH_ARGUMENT = frozenset(getattr(opcode, "hasarg", ()))
_ENDS = frozenset(
    number
    for name, number in opcode.opmap.items()
    if name.startswith(("RETURN_VALUE", "RETURN_CONST", "RAISE_VARARGS", "RERAISE", "JUMP_FORWARD", "JUMP_BACKWARD"))
)
"""What no instruction follows."""

Stack = tuple[int | None, ...]
"""Of each value whether it is what a slot held before a comprehension: the number of that slot, or None."""


def stores(code: CodeType, found: Sequence[Instruction]) -> set[tuple[int, int]]:
    """Where they are: the address of an instruction, and which of its halves."""
    alone: set[tuple[int, int]] = set()
    if not any(one.op == _CLEAR for one in found):
        return alone
    where = {one.at: index for index, one in enumerate(found)}
    handlers: dict[int, tuple[int, int]] = {}
    """Of an instruction: where its handler is, and what is kept of the stack there."""
    for begin, end, to, rest in ranges(code):
        for index in range(where[begin], where.get(end, len(found))):
            handlers.setdefault(index, (where[to], rest))
    seen: set[int] = set()
    ways: list[tuple[int, Stack]] = [(0, ())]
    while ways:
        index, stack = ways.pop()
        if index in seen or index >= len(found):
            continue
        seen.add(index)
        if index in handlers:
            to, rest = handlers[index]
            ways.append((to, stack[: rest >> 1] + (None,) * (1 + (rest & 1))))
        ways.extend(_next(index, found[index], stack, where, alone))
    return alone


def _next(
    index: int, one: Instruction, stack: Stack, where: dict[int, int], alone: set[tuple[int, int]]
) -> Iterator[tuple[int, Stack]]:
    """Where the code goes on from an instruction, and with what stack. Notes the stores."""
    target = one.target
    if target is not None and one.op != ASYNC_END:
        yield where[target], _after(one.op, one.arg, stack, jump=True)
    for half, (op, arg, _) in enumerate(halves(one)):
        slot = arg >> 4 if op == _STORE_AND_LOAD else arg
        if op in (_STORE, _STORE_CELL, _STORE_AND_LOAD) and slot in stack:
            alone.add((one.at, half))
        stack = _after(op, arg, stack, jump=False)
    if one.op not in _ENDS:
        yield index + 1, stack


def _after(op: int, arg: int, stack: Stack, *, jump: bool) -> Stack:
    if op == _CLEAR:
        return (*stack, arg)
    if op == _SWAP:
        swapped = list(stack)
        swapped[-1], swapped[-arg] = swapped[-arg], swapped[-1]
        return tuple(swapped)
    effect = dis.stack_effect(op, arg if op in _WITH_ARGUMENT else None, jump=jump)
    return stack + (None,) * effect if effect >= 0 else stack[:effect]
