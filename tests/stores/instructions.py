"""What capstone says of an instruction, corrected where it is wrong.

capstone's operands and their sizes are relied upon. Its access flags are not: 5.0 calls the destination of movnti,
movaps zmm, vmaskmov, stmxcsr, fst and many more "read". So a memory operand in the first place counts as written unless
the mnemonic is one of READS_ONLY, and the plain run of every case is the proof: a case whose memory changes anywhere
else than in what is said here fails.
"""

from __future__ import annotations

import re
from typing import Any

import capstone
from capstone import x86_const as x

from .machine import GPR

DECODER = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
DECODER.detail = True

READS_ONLY = re.compile(
    r"^(cmp|test|bt$|push|call|jmp|fld|fild|fbld|fadd|fiadd|fsub|fisub|fmul|fimul|fdiv|fidiv|fcom|ficom|frstor|ldmxcsr|vldmxcsr|"
    r"fxrstor|xrstor|mul|imul|div|idiv|prefetch|nop|clflush|clwb|cldemote|lgdt|lidt|ltr|lldt|lmsw|invlpg|verr|verw|"
    r"lods|scas|outs|ptwrite|rstorssp|clrssbsy|vpgather|vgather|bound|jrcxz|loop)"
)
STACK = re.compile(r"^(push|call|enter)")
REFUSED = re.compile(r"^enter\b|^push [c-g]s$")  # docs/guarantees.md, "Instructions that are refused"
STRING = re.compile(r"\b(movs|stos)[bwdq]\b")
SUFFIX = {"b": 1, "w": 2, "d": 4, "q": 8}
FAMILY: dict[str, int] = {}
for _number, _long in enumerate(GPR):
    FAMILY[_long] = _number
    if _number < 8:
        _short = _long[1:]
        FAMILY["e" + _short] = FAMILY[_short] = _number
        if _number < 4:
            FAMILY[_short[0] + "l"] = FAMILY[_short[0] + "h"] = _number
        else:
            FAMILY[_short + "l"] = _number
    else:
        for _tail in "dwb":
            FAMILY[_long + _tail] = _number


def decode(code: bytes, address: int = 0x1000) -> Any:
    """capstone's reading of one instruction, None if it has none."""
    for instruction in DECODER.disasm(code, address):
        return instruction if instruction.size == len(code) else None
    return None


def prefixes(code: bytes) -> set[int]:
    """The legacy prefixes of an instruction (capstone forgets the F2 of "repne movsd")."""
    found = set()
    for byte in code:
        if byte not in b"\x66\x67\xf0\xf2\xf3\x2e\x36\x3e\x26\x64\x65" and not 0x40 <= byte <= 0x4F:
            break
        found.add(byte)
    return found


def text_of(instruction: Any) -> str:
    return f"{instruction.mnemonic} {instruction.op_str}".strip()


def name_of(instruction: Any, register: int) -> str:
    return str(instruction.reg_name(register)) if register else ""


def plain_mnemonic(instruction: Any) -> str:
    return str(instruction.mnemonic).split()[-1]


def is_string(instruction: Any) -> bool:
    """movs or stos; movsd and movsq have namesakes among the SSE instructions."""
    found = STRING.search(instruction.mnemonic)
    return bool(found) and not any(
        o.type == x.X86_OP_REG and name_of(instruction, o.reg)[1:3] == "mm" for o in instruction.operands
    )


def memory_operand(instruction: Any) -> Any:
    for operand in instruction.operands:
        if operand.type == x.X86_OP_MEM:
            return operand
    return None


def writes_memory(instruction: Any) -> bool:
    """Whether the instruction can write to memory, by mnemonic and operand order; see the module's docstring."""
    mnemonic = plain_mnemonic(instruction)
    if STACK.match(mnemonic) or is_string(instruction):
        return True
    if mnemonic in ("maskmovq", "maskmovdqu", "vmaskmovdqu", "movdir64b", "clzero"):
        return True
    if READS_ONLY.match(mnemonic) and not mnemonic.startswith("cmpxchg"):
        return False
    operands = instruction.operands
    return bool(operands) and operands[0].type == x.X86_OP_MEM


def element_size(mnemonic: str, operand: int) -> int:
    """Bytes of one element of a masked store."""
    for pattern, size in (
        (r"^vmovdq[au](8|16|32|64)$", 0),
        (
            r"^vmov[au]ps|^vmovss|^vcompressps|^vmaskmovps|^vpmaskmovd|^vpcompressd|f32x|i32x|^vscatter.ps|^vpscatter.d",
            4,
        ),
        (
            r"^vmov[au]pd|^vmovsd|^vcompresspd|^vmaskmovpd|^vpmaskmovq|^vpcompressq|f64x|i64x|^vscatter.pd|^vpscatter.q",
            8,
        ),
        (r"^vcvtps2ph|^vmovsh|^vpcompressw", 2),
        (r"^vpcompressb|^v?maskmov(q|dqu)$", 1),
        (r"^vpmov(us|s)?[wdq][bwd]$", -1),
    ):
        found = re.search(pattern, mnemonic)
        if found:
            return int(found[1]) // 8 if size == 0 else SUFFIX[mnemonic[-1]] if size < 0 else size
    raise KeyError(f"{mnemonic}: how wide is an element? Add it to element_size() (operand of {operand} bytes)")


def is_data16(instruction: Any) -> bool:
    """Whether prefix 66 counts: with REX.W it doesn't, which capstone forgets for pop and the x87 state."""
    return instruction.prefix[2] == 0x66 and not instruction.rex & 8


def operand_size(instruction: Any) -> int:
    """Bytes that the memory operand spans, where capstone has another opinion than the manual."""
    mnemonic = plain_mnemonic(instruction)
    if mnemonic == "fnsave":
        return 94 if is_data16(instruction) else 108
    if mnemonic == "fnstenv":
        return 14 if is_data16(instruction) else 28
    if mnemonic == "pop":
        return 2 if is_data16(instruction) else 8
    if mnemonic.startswith("fxsave"):
        return 512
    if mnemonic.startswith("xsave"):
        return 2696
    if mnemonic == "movdir64b":
        return 64
    return int(memory_operand(instruction).size)


def pushed(instruction: Any) -> int:
    mnemonic = plain_mnemonic(instruction)
    if mnemonic in ("pushf", "pushfw"):
        return 2
    if mnemonic == "enter":
        return 8
    return 2 if is_data16(instruction) and not mnemonic.startswith("call") else 8


def vector_number(name: str) -> int:
    return int(re.sub(r"\D", "", name))
