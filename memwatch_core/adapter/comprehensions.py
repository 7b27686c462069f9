"""Which stores of a code object belong to comprehensions that the compiler has inlined (CPython 3.12 and later).

``[x for x in rows]`` in a function has no frame of its own there. What ``x`` held before is kept on the stack
(LOAD_FAST_AND_CLEAR; nothing, if it held none) and stored back behind the comprehension. As long as the former value of
a name is there, stores to the name are the comprehension's, and so is the one that takes it from there. Positions
aren't asked: code may have none.
"""

from __future__ import annotations

import opcode
from collections.abc import Mapping, Sequence

from . import stacks
from .assembler import Instruction, halves

_STORE, _STORE_CELL = opcode.opmap["STORE_FAST"], opcode.opmap["STORE_DEREF"]
_STORE_AND_LOAD = opcode.opmap.get("STORE_FAST_LOAD_FAST", -1)


def stores(found: Sequence[Instruction], lying: Mapping[int, stacks.Stack]) -> set[tuple[int, int]]:
    """Where they are: the address of an instruction, and which of its halves. ``lying``: the stack before each."""
    alone: set[tuple[int, int]] = set()
    for index, stack in lying.items():
        if not any(slot is not None for slot in stack):
            continue
        one = found[index]
        for half, (op, arg, _) in enumerate(halves(one)):
            slot = arg >> 4 if op == _STORE_AND_LOAD else arg
            if op in (_STORE, _STORE_CELL, _STORE_AND_LOAD) and slot in stack:
                alone.add((one.at, half))
            stack = stacks.after(op, arg, stack, jump=False)
    return alone
