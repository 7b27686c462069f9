"""Where the cases of a form are put: inside, at the edges of and across pages, variables and cache lines."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from . import cases as make_cases
from . import instructions
from .forms import Form
from .machine import (
    DEPTH,
    HIGH,
    HOLE_AFTER,
    HOLE_BEFORE,
    LOW_ONE,
    ONE,
    PACKED,
    PAGE,
    PAIR,
    SPAN,
    Case,
    Layout,
)

LAYOUTS = (ONE, LOW_ONE, PAIR, SPAN, PACKED, DEPTH, HOLE_AFTER, HOLE_BEFORE)


def _targets(layout: Layout, size: int, align: int, rng: random.Random, few: bool) -> Iterator[int]:
    def aligned(at: int) -> int:
        return at // align * align

    def cross(edge: int) -> int:
        return edge - (rng.randrange(1, size) if size > 1 and align == 1 else align)

    inside = PAGE + aligned(rng.randrange(0, max(1, PAGE - size)))
    if layout is ONE:
        yield inside
        if few:
            return
        yield PAGE
        yield aligned(2 * PAGE - size)
        yield cross(2 * PAGE)
        yield cross(PAGE)
        yield aligned(PAGE + 64 * rng.randrange(1, 50) - 1)
        if align > 1:
            yield inside + 1  # a general protection fault, the same one
    elif layout is LOW_ONE:
        yield inside
    elif layout in (PAIR, SPAN):
        yield cross(2 * PAGE)
        yield inside + (PAGE if inside + size < 2 * PAGE else 0)
    elif layout is PACKED:
        yield aligned(PAGE + rng.randrange(0, 80))
        yield aligned(PAGE + rng.choice((6, 7, 38, 41, 190, 1198)))
        yield cross(2 * PAGE)
    elif layout is DEPTH:
        yield aligned(PAGE + rng.choice((90, 99, 100, 150, 198, 199, 200)))
        yield cross(2 * PAGE)
    elif layout is HOLE_AFTER:
        yield aligned(2 * PAGE - size)
        yield cross(2 * PAGE)
    else:
        yield PAGE
        yield cross(PAGE)


def place(
    forms: Sequence[tuple[Form, bytes]], layout: Layout, rng: random.Random, *, few: bool = False
) -> tuple[list[Case], dict[str, str]]:
    """The cases of all forms in one layout, and why some have none."""
    cases: list[Case] = []
    unplaced: dict[str, str] = {}
    for form, code in forms:
        made = 0
        reason = ""
        instruction = instructions.decode(code)
        size = form.manual or 8
        if instruction is not None and instructions.memory_operand(instruction) is not None:
            size = instructions.operand_size(instruction)
        for number, target in enumerate(_targets(layout, size, form.align, rng, few)):
            if layout is HOLE_BEFORE and number and "xsave" in form.text:
                continue  # with no legacy component asked for, the CPU doesn't touch the first page; the core does
            mask = (None, None, 0, 2**64 - 1, 1 << rng.randrange(16), 0x80 | 1)[rng.randrange(6)] if number else None
            try:
                cases.append(
                    make_cases.make(
                        code,
                        layout,
                        target,
                        rng,
                        text=form.text,
                        fixed=form.fixed,
                        success=None if number > 1 else bool(number),
                        mask=mask,
                        manual=("rdi", 0x10, form.manual) if form.manual else None,
                        at_end=number == 2 and layout.base == HIGH,
                    )
                )
                made += 1
            except make_cases.Unplaceable as why:
                reason = str(why)
        if not made:
            unplaced[form.text] = reason
    return cases, unplaced
