"""What lies on the stack before each instruction of a code object, as far as it must be known: how many values, and
which of them a name held before a comprehension that the compiler has inlined.
"""

from __future__ import annotations

import dis
import functools
import opcode
from collections.abc import Iterator, Sequence
from types import CodeType

from .assembler import ASYNC_END, TWO_STORES, Instruction, halves, ranges

_CLEAR = opcode.opmap.get("LOAD_FAST_AND_CLEAR", -1)
_SWAP = opcode.opmap["SWAP"]
_WITH_ARGUMENT = frozenset(getattr(opcode, "hasarg", range(dis.HAVE_ARGUMENT, 256)))
_ENDS = frozenset(
    number
    for name, number in opcode.opmap.items()
    if name.startswith(("RETURN_VALUE", "RETURN_CONST", "RAISE_VARARGS", "RERAISE", "JUMP_FORWARD", "JUMP_BACKWARD"))
)
"""What no instruction follows."""

Stack = tuple[int | None, ...]
"""Of each value whether it is what a slot held before a comprehension: the number of that slot, or None."""


def follow(code: CodeType, found: Sequence[Instruction]) -> dict[int, Stack]:
    """The stack before an instruction, by the number of the instruction in ``found``, which are all of the code. Those
    that are never executed have none."""
    where = {one.at: index for index, one in enumerate(found)}
    handlers: dict[int, tuple[int, int]] = {}
    """Of an instruction: where its handler is, and what is kept of the stack there."""
    for begin, end, to, rest in ranges(code):
        for index in range(where[begin], where.get(end, len(found))):
            handlers.setdefault(index, (where[to], rest))
    lying: dict[int, Stack] = {}
    ways: list[tuple[int, Stack]] = [(0, ())]
    while ways:
        index, stack = ways.pop()
        if index in lying or index >= len(found):
            continue
        lying[index] = stack
        if index in handlers:
            to, rest = handlers[index]
            ways.append((to, stack[: rest >> 1] + (None,) * (1 + (rest & 1))))
        ways.extend(_next(index, found[index], stack, where))
    return lying


def _next(index: int, one: Instruction, stack: Stack, where: dict[int, int]) -> Iterator[tuple[int, Stack]]:
    """Where the code goes on from an instruction, and with what stack."""
    target = one.target
    if target is not None and one.op != ASYNC_END:
        yield where[target], after(one.op, one.arg, stack, jump=True)
    for op, arg, _ in halves(one) if one.op == TWO_STORES else ((one.op, one.arg, 0),):
        stack = after(op, arg, stack, jump=False)
    if one.op not in _ENDS:
        yield index + 1, stack


def after(op: int, arg: int, stack: Stack, *, jump: bool) -> Stack:
    """The stack behind an instruction; ``jump``: where it jumps to."""
    if op == _CLEAR:
        return (*stack, arg)
    if op == _SWAP:
        swapped = list(stack)
        swapped[-1], swapped[-arg] = swapped[-arg], swapped[-1]
        return tuple(swapped)
    effect = _effect(op, arg, jump)
    return stack + (None,) * effect if effect >= 0 else stack[:effect]


@functools.lru_cache(1 << 12)
def _effect(op: int, arg: int, jump: bool) -> int:
    return dis.stack_effect(op, arg if op in _WITH_ARGUMENT else None, jump=jump)
