"""Makes runnable cases of instructions: solves for registers, and says what will be written."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from typing import Any

from capstone import x86_const as x

from .instructions import (
    FAMILY,
    REFUSED,
    STACK,
    STRING,
    SUFFIX,
    decode,
    element_size,
    is_string,
    memory_operand,
    name_of,
    operand_size,
    plain_mnemonic,
    prefixes,
    pushed,
    text_of,
    vector_number,
)
from .machine import CODE_DISTANCE, GPR, NO_ARENA, PAGE, Case, Layout, Patch, State
from .states import MASK64, random_state

FS, GS = x.X86_REG_FS, x.X86_REG_GS


class Unplaceable(Exception):
    """No registers make this instruction write into the page that was asked for."""


def _set(state: State, number: int, value: int, fixed: Mapping[int, int]) -> None:
    if number in fixed and fixed[number] & MASK64 != value & MASK64:
        raise Unplaceable("a register of the address has a value already")
    state.gpr[number] = value & MASK64


def _solve(
    instruction: Any,
    operand: Any,
    state: State,
    target: int,
    layout: Layout,
    fixed: Mapping[int, int],
    rng: random.Random,
) -> int:
    """Sets registers (or the displacement in the code) so that `operand` lies at `target`, or near: returns where."""
    memory = operand.mem
    base, index = name_of(instruction, memory.base), name_of(instruction, memory.index)
    code = bytes(state.code[: state.length])
    here = layout.base - CODE_DISTANCE + (PAGE - len(code) if state.flags & 1 else 0)
    narrow = instruction.addr_size == 4
    if narrow and target >= 1 << 32:
        raise Unplaceable("32-bit addresses")
    if index in ("riz", "eiz"):
        index = ""
    segment = 0
    if memory.segment == GS and narrow:
        state.gs = rng.choice((0, 0x1230))
    if memory.segment == GS:
        segment = state.gs
    if base in ("rip", "eip"):
        at = instruction.disp_offset
        displacement = target - (here + len(code)) - segment
        if memory.segment == FS or not -(1 << 31) <= displacement < 1 << 31:
            raise Unplaceable("out of reach from the code")
        state.code[at : at + 4] = list((displacement & 0xFFFFFFFF).to_bytes(4, "little"))
        state.flags |= NO_ARENA
        return target
    vsib = bool(index) and index[0] in "xyz"
    if not base and (not index or vsib):
        if memory.segment == GS and not vsib:
            state.gs = (target - memory.disp) & MASK64
            state.flags |= NO_ARENA
            if state.gs >= 1 << 47:
                raise Unplaceable("GS base not canonical")
            return target
        width = 8 if code[instruction.disp_offset - 1] & 0xFC == 0xA0 and not vsib else 4
        if memory.segment == FS or (width == 4 and target >= 1 << 31):
            raise Unplaceable("absolute address")
        at = instruction.disp_offset or len(code) - 4
        state.code[at : at + width] = list(target.to_bytes(width, "little"))
        state.flags |= NO_ARENA
        return target
    wanted = target - segment - memory.disp
    popped = 0
    if plain_mnemonic(instruction) == "pop" and base == "rsp":
        popped = operand_size(instruction)
        wanted -= popped
        state.flags |= NO_ARENA  # what is popped lies far away then, where another memory may have other neighbours
    if index and not vsib:
        i = FAMILY[index]
        if memory.segment == FS and (not base or FAMILY[base] == i):
            raise Unplaceable("fs: without a register of its own to take its base off")
        if base and FAMILY[base] == i:
            value = wanted // (1 + memory.scale)
            _set(state, i, value & 0xFFFFFFFF if narrow else value, fixed)
            state.flags |= NO_ARENA
            return int(target - (wanted - value * (1 + memory.scale)))
        if not base:
            value = wanted // memory.scale
            _set(state, i, value & 0xFFFFFFFF if narrow else value, fixed)
            state.flags |= NO_ARENA
            return int(target - (wanted - value * memory.scale))
        small = fixed.get(i, rng.choice((0, 1, 5, -1, -7, 1000, -100000, rng.getrandbits(30))))
        if narrow:
            small &= 0xFFFFFFFF
            state.gpr[i] = small | (rng.getrandbits(32) << 32 if i not in fixed else 0)
        else:
            state.gpr[i] = small & MASK64
        wanted -= small * memory.scale
    b = FAMILY[base]
    if narrow:
        wanted &= 0xFFFFFFFF
        if b not in fixed:
            wanted |= rng.getrandbits(32) << 32
        state.flags |= NO_ARENA
    _set(state, b, wanted, fixed)
    if memory.segment == FS:
        state.fs_minus |= 1 << b
        if narrow:
            raise Unplaceable("fs: with 32-bit addresses")
    state.pointers |= 1 << b
    return target


def _intervals(offsets: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """The bytes that single writes cover, joined where they touch."""
    joined: list[list[int]] = []
    for at, size in sorted(offsets):
        if joined and at <= joined[-1][0] + joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], at + size - joined[-1][0])
        else:
            joined.append([at, size])
    return tuple((a, n) for a, n in joined)


def make(
    code: bytes,
    layout: Layout,
    target: int,
    rng: random.Random,
    *,
    text: str = "",
    fixed: Mapping[str, int] | None = None,
    success: bool | None = None,
    mask: int | None = None,
    at_end: bool = False,
    manual: tuple[str, int, int] | None = None,
    source: int | None = None,
    in_use: bool = False,
) -> Case:
    """A case of `code` that writes at byte `target` of the layout's memory.

    fixed     values of general registers by name ("rflags" too)
    success   for cmpxchg and its kind: whether the comparison succeeds (default: chance)
    mask      every opmask register, and the sign bits of a mask in a vector register
    manual    (base register, displacement, size) of an instruction that capstone doesn't know
    source    where a string instruction reads, in the layout's memory
    in_use    no component of the vector state starts out in its initial configuration

    Raises Unplaceable."""
    state = random_state(rng, rng.getrandbits(48), layout)
    state.code[: len(code)] = code
    state.length = len(code)
    state.flags = 1 if at_end else 0
    if in_use:
        state.x_init = 0
    values = dict(fixed or {})
    if "rflags" in values:
        state.rflags = values.pop("rflags") | 0x202
    numbers = {GPR.index(name): value for name, value in values.items()}
    for number, value in numbers.items():
        state.gpr[number] = value & MASK64
    if mask is not None:
        for i in range(8):
            state.k[i] = mask
    address = layout.base + target
    if manual is not None:
        base, displacement, size = manual
        _set(state, GPR.index(base), address - displacement, numbers)
        state.pointers |= 1 << GPR.index(base)
        masked_out = re.search(r"\{k1\}", text) and (state.x_init & 32 or not state.k[1] & 1)
        written = () if masked_out else ((target, size),)
        return Case(text, state, written, (target, size))
    instruction = decode(code, layout.base - CODE_DISTANCE)
    if instruction is None:
        raise Unplaceable(f"capstone doesn't know {code.hex(' ')}")
    mnemonic = plain_mnemonic(instruction)
    case = Case(text or text_of(instruction), state)
    case.refused = bool(REFUSED.match(text_of(instruction)))
    operands = instruction.operands
    memory = memory_operand(instruction)
    if mnemonic in ("fnsave", "fnstenv"):
        state.x_init = 0
    if re.search(r"\bmm\d", instruction.op_str):
        state.ftw, state.fsw = 0xFF, 0
    if STACK.match(mnemonic):
        size = pushed(instruction)
        _set(state, 4, address + size, numbers)
        state.pointers |= 1 << 4
        if memory is not None:
            _solve(instruction, memory, state, layout.base + 4 * PAGE + 0x100, layout, numbers, rng)
            state.pointers &= 1 << 4
        names = {name_of(instruction, o.reg) for o in operands if o.type == x.X86_OP_REG}
        if names & {"rsp", "sp"} or mnemonic == "enter":
            state.flags |= NO_ARENA
        if mnemonic == "call" and memory is None:
            register = next((o for o in operands if o.type == x.X86_OP_REG), None)
            back = layout.base - CODE_DISTANCE + len(code)
            if register is not None:
                _set(state, FAMILY[name_of(instruction, register.reg)], back, numbers)
        elif mnemonic == "call":
            back = layout.base - CODE_DISTANCE + len(code)
            state.patch[0] = Patch(4 * PAGE + 0x100, 8, (*back.to_bytes(8, "little"), *([0] * 56)))
        if mnemonic == "enter":
            depth = operands[1].imm & 31
            state.gpr[5] = address + 3 * PAGE  # copied frame pointers are read below it
            state.gpr[5] = layout.base + 4 * PAGE + 0x400
            total = 8 * (1 + (depth if depth else 0))
            _set(state, 4, address + total, numbers)
            case.written = ((target, total),)
        else:
            case.written = ((target, size),)
        return case
    if is_string(instruction):
        return _make_string(case, instruction, layout, target, numbers, source)
    if mnemonic in ("maskmovq", "maskmovdqu", "vmaskmovdqu"):
        size = 8 if mnemonic == "maskmovq" else 16
        _set(state, 7, address, numbers)
        state.pointers |= 1 << 7
        if instruction.addr_size == 4:
            state.flags |= NO_ARENA
        number = vector_number(name_of(instruction, operands[1].reg))
        vector = state.st[number] if size == 8 else state.zmm[number]
        for i in range(size):
            if mask is not None:
                vector[i] = vector[i] & 0x7F | (0x80 if mask >> i & 1 else 0)
        if size == 16 and state.x_init & 2:
            state.x_init = 0
        if size == 8 and state.x_init & 1:
            state.x_init = 0
        case.written = _intervals([(target + i, 1) for i in range(size) if vector[i] & 0x80])
        case.operand = (target, size)
        return case
    if mnemonic == "clzero":
        _set(
            state, 0, address - (state.gs if 0x65 in prefixes(code) else 0) + rng.randrange(64 - address % 64), numbers
        )
        state.pointers |= 1
        if instruction.addr_size == 4:
            if layout.base >= 1 << 32:
                raise Unplaceable("32-bit addresses")
            state.gpr[0] |= rng.getrandbits(32) << 32
            state.flags |= NO_ARENA
        if 0x64 in prefixes(code):
            state.fs_minus |= 1
        case.written = ((target // 64 * 64, 64),)
        return case
    if mnemonic == "movdir64b":
        _set(state, FAMILY[name_of(instruction, operands[0].reg)], address, numbers)
        state.pointers |= 1 << FAMILY[name_of(instruction, operands[0].reg)]
        kept = state.pointers
        _solve(instruction, memory, state, layout.base + 4 * PAGE + 0x100, layout, numbers, rng)
        state.pointers = kept
        case.written = ((target, 64),)
        return case
    if memory is None:
        raise Unplaceable("no memory operand")
    size = operand_size(instruction)
    shift = 0
    if re.match(r"^bt[src]$", mnemonic) and operands[1].type == x.X86_OP_REG:
        number = FAMILY[name_of(instruction, operands[1].reg)]
        width = memory.size
        if number not in numbers:
            span = 1 << rng.choice((3, 8, 13, 20, 30))
            limit = 15 if width == 2 else 31 if width == 4 else 40
            state.gpr[number] = rng.randrange(-min(span, 1 << limit), min(span, 1 << limit)) & MASK64
        offset = state.gpr[number] & ((1 << 8 * width) - 1)
        offset -= (offset >> (8 * width - 1)) << (8 * width)
        shift = (offset >> {2: 4, 4: 5, 8: 6}[width]) * width
        numbers = {**numbers, number: state.gpr[number]}
        if instruction.addr_size == 4 and not 0 <= address - shift < 1 << 32:
            raise Unplaceable("bit offset beyond 4 GiB")
    actual = _solve(instruction, memory, state, address - shift, layout, numbers, rng) + shift - layout.base
    used = {FAMILY.get(name_of(instruction, o.reg)) for o in operands if o.type == x.X86_OP_REG} - {None}
    if mnemonic.startswith("cmpxchg"):
        used |= {0, 2, 3, 1} if mnemonic[-1] == "b" else {0}
    if re.match(r"^f.*(env|save)$|^fxsave", mnemonic):
        case.wide = mnemonic.startswith("fxsave")
        case.pieces = True
    if any(state.pointers >> (n or 0) & 1 for n in used if n is not None):
        state.flags |= NO_ARENA
    if mnemonic.startswith("cmpxchg"):
        _compare(case, mnemonic, actual, size, rng.random() < 0.5 if success is None else success)
        if state.fs_minus & (0b0101 if mnemonic[-1] == "b" else 0b0001):
            case.written = None  # the accumulator is an address less the FS base, which only the harness knows
        return case
    if mnemonic.startswith("xsave"):
        if "rax" not in values:
            state.gpr[0] = rng.choice((0xE7, 0xE3, 7, 3, 1, 2, 4, 0xE6, MASK64, 0x20, 0xC6))
        case.wide = case.pieces = True
        case.operand = (actual, size)
        # Linux marks x87 and SSE as in use in every signal frame, so after any signal XINUSE has both.
        state.x_init &= ~3
        return case
    if mnemonic.startswith(("vscatter", "vpscatter")):
        return _make_scatter(case, instruction, memory, layout, actual, rng)
    opmask = next(
        (o for o in operands if o.type == x.X86_OP_REG and re.match(r"^k\d$", name_of(instruction, o.reg))), None
    )
    if mnemonic.startswith("kmov"):
        opmask = None
    if opmask is not None or mnemonic.startswith(("vmaskmov", "vpmaskmov")):
        element = element_size(mnemonic, size)
        count = size // element
        if opmask is not None:
            bits = state.k[vector_number(name_of(instruction, opmask.reg))]
            if state.x_init & 32:
                bits = 0
        else:
            vector = state.zmm[vector_number(name_of(instruction, operands[1].reg))]
            state.x_init = 0
            for i in range(count):
                top = vector[(i + 1) * element - 1]
                if mask is not None:
                    vector[(i + 1) * element - 1] = top & 0x7F | (0x80 if mask >> i & 1 else 0)
            bits = sum(1 << i for i in range(count) if vector[(i + 1) * element - 1] & 0x80)
        if "compress" in mnemonic:
            total = element * bin(bits & ((1 << count) - 1)).count("1")
            case.written = ((actual, total),) if total else ()
        else:
            case.written = _intervals([(actual + i * element, element) for i in range(count) if bits >> i & 1])
        case.operand = (actual, size)
        return case
    case.written = ((actual, size),)
    if case.wide:
        case.operand = (actual, size)
        case.written = None
    return case


def _compare(case: Case, mnemonic: str, at: int, size: int, success: bool) -> None:
    """Puts into memory what the accumulator compares with, or something else."""
    state = case.state
    if mnemonic in ("cmpxchg8b", "cmpxchg16b"):
        half = (1 << 4 * size) - 1
        value = (state.gpr[0] & half) | (state.gpr[2] & half) << 4 * size
    else:
        value = state.gpr[0] & ((1 << 8 * size) - 1)
    if not success:
        value ^= 1 << (state.seed % (8 * size))
    state.patch[0] = Patch(at, size, (*value.to_bytes(size, "little"), *([0] * (64 - size))))
    case.written = ((at, size),) if success else ()
    case.operand = (at, size)


def _make_string(
    case: Case, instruction: Any, layout: Layout, target: int, fixed: Mapping[int, int], source: int | None
) -> Case:
    """stos and movs: `target` is the lowest byte written, RCX comes from `fixed`."""
    state = case.state
    case.pieces = True
    found = STRING.search(instruction.mnemonic)
    assert found is not None
    size = SUFFIX[found[0][-1]]
    narrow = instruction.addr_size == 4
    if narrow and layout.base >= 1 << 32:
        raise Unplaceable("32-bit addresses")
    repeated = bool({0xF2, 0xF3} & prefixes(bytes(instruction.bytes)))
    count = fixed.get(1, state.gpr[1]) & (0xFFFFFFFF if narrow else MASK64) if repeated else 1
    if repeated and count > 4096:
        raise Unplaceable("rep needs a count")
    down = bool(state.rflags & 0x400)
    first = (count - 1) * size if down and count else 0
    state.gpr[7] = layout.base + target + first
    state.pointers |= 1 << 7
    if found[1] == "movs":
        at = 4 * PAGE + 0x100 if source is None else source
        state.gpr[6] = layout.base + at + first
        memory = instruction.operands[1].mem
        if memory.segment == FS:
            state.fs_minus |= 1 << 6
        elif memory.segment == GS:
            state.gpr[6] -= state.gs
            state.gpr[6] &= MASK64
        if source is not None and source < 4 * PAGE:
            state.pointers |= 1 << 6
    if narrow:
        state.flags |= NO_ARENA
    case.written = ((target, count * size),) if count else ()
    return case


def _make_scatter(case: Case, instruction: Any, memory: Any, layout: Layout, at: int, rng: random.Random) -> Case:
    """Scatters elements over the rest of the page: some onto each other, some unaligned."""
    state = case.state
    mnemonic = plain_mnemonic(instruction)
    element = element_size(mnemonic, 0)
    qword_index = re.search(r"scatter(.)", mnemonic)
    assert qword_index is not None
    index_size = 8 if qword_index[1] == "q" else 4
    index = name_of(instruction, memory.mem.index)
    data = name_of(instruction, instruction.operands[-1].reg)
    width = {"x": 16, "y": 32, "z": 64}
    count = min(width[index[0]] // index_size, width[data[0]] // element)
    state.x_init = 0
    case.pieces = True
    number = vector_number(index)
    opmask = next(o for o in instruction.operands if o.type == x.X86_OP_REG and name_of(instruction, o.reg)[0] == "k")
    bits = state.k[vector_number(name_of(instruction, opmask.reg))]
    room = max(1, (2 * PAGE - 64 - at) // memory.mem.scale)
    written = []
    last = 0
    values = bytearray()
    for i in range(64 // index_size):
        value = rng.randrange(-8, room) if rng.random() < 0.9 or i == 0 else last
        last = value
        values += (value & ((1 << 8 * index_size) - 1)).to_bytes(index_size, "little")
        if i < count and bits >> i & 1:
            written.append((at + value * memory.mem.scale, element))
    state.zmm[number][:] = values
    case.written = _intervals(written)
    case.operand = (at, 0)
    return case
