"""Stores that nobody thought of: encodings put together at random, and kept where capstone calls them a store."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from . import cases as make_cases
from . import instructions
from .conftest import SOAK
from .forms import cpu_flags
from .machine import DEPTH, ONE, PACKED, PAGE, SPAN, Case, Layout
from .test_forms import require, run_and_judge

# What chance may come up with, and this test leaves alone.
NOT_HERE = re.compile(
    r"^(enter|push|call|xsave|xrstor|fxsave|sgdt|sidt|sldt|str|smsw|ins|clzero|enqcmd|wrss|wruss|aes.*kl|invept|vmptr|vmread|"
    r"vmclear|senduipi|tile|sttile|vzero|arpl|lwp|llwp|slwp|ptwrite|vgather|vpgather|.*prefetch|movdir|bnd|in$|out|les|lds|"
    r"hlt|iret|sys|int|ud|v4f|vp4d|xstore|xcrypt|monitor|mwait|cl|rstor|save|setssb|inc?ssp|wbinvd|rep.*(lods|scas|cmps))"
)


def random_encoding(rng: random.Random) -> bytes:
    """Prefixes, an opcode out of the integer, SSE or x87 maps, a memory ModRM, SIB, displacement, immediate."""
    legacy = b"".join(
        rng.choice((b"\x66", b"\xf2", b"\xf3", b"\xf0", b"\x3e", b"\x2e", b"\x64", b"\x65"))
        for _ in range(rng.choice((0, 0, 0, 1, 1, 2)))
    )
    rex = bytes((rng.randrange(0x40, 0x50),)) if rng.random() < 0.6 else b""
    kind = rng.random()
    if kind < 0.4:
        opcode = bytes(
            (
                rng.choice(
                    (
                        0x00,
                        0x01,
                        0x08,
                        0x09,
                        0x10,
                        0x11,
                        0x18,
                        0x19,
                        0x20,
                        0x21,
                        0x28,
                        0x29,
                        0x30,
                        0x31,
                        0x80,
                        0x81,
                        0x83,
                        0x86,
                        0x87,
                        0x88,
                        0x89,
                        0xC0,
                        0xC1,
                        0xC6,
                        0xC7,
                        0xD0,
                        0xD1,
                        0xD2,
                        0xD3,
                        0xF6,
                        0xF7,
                        0xFE,
                        0xFF,
                        0x8F,
                        0x8C,
                    )
                ),
            )
        )
    elif kind < 0.7:
        opcode = b"\x0f" + bytes(
            (
                rng.choice(
                    (
                        0x11,
                        0x13,
                        0x17,
                        0x29,
                        0x2B,
                        0x7E,
                        0x7F,
                        0xA4,
                        0xA5,
                        0xAB,
                        0xAC,
                        0xAD,
                        0xAE,
                        0xB0,
                        0xB1,
                        0xB3,
                        0xBA,
                        0xBB,
                        0xC0,
                        0xC1,
                        0xC3,
                        0xC7,
                        0xD6,
                        0xE7,
                        *range(0x90, 0xA0),
                    )
                ),
            )
        )
    elif kind < 0.8:
        opcode = bytes((rng.randrange(0xD8, 0xE0),))
    elif kind < 0.9:
        rex = b""
        legacy = b"".join(bytes((p,)) for p in legacy if p in b"\x3e\x2e\x64\x65")
        opcode = bytes(
            (
                0xC4,
                rng.getrandbits(8) & 0xE0 | rng.choice((1, 2, 3)),
                rng.getrandbits(8),
                rng.choice(
                    (
                        0x11,
                        0x13,
                        0x17,
                        0x29,
                        0x2B,
                        0x2E,
                        0x2F,
                        0x7E,
                        0x7F,
                        0x8E,
                        0xD6,
                        0xE7,
                        0x14,
                        0x15,
                        0x16,
                        0x19,
                        0x1D,
                        0x39,
                        0xAE,
                    )
                ),
            )
        )
    else:
        rex = b""
        legacy = b"".join(bytes((p,)) for p in legacy if p in b"\x3e\x2e\x64\x65")
        opcode = bytes(
            (
                0x62,
                rng.getrandbits(8) & 0xF0 | rng.choice((1, 2, 3)),
                rng.getrandbits(8) | 4,
                rng.getrandbits(8) & 0x7F,
                rng.choice(
                    (
                        0x11,
                        0x13,
                        0x17,
                        0x29,
                        0x2B,
                        0x7F,
                        0x7E,
                        0xD6,
                        0xE7,
                        0x63,
                        0x8A,
                        0x8B,
                        *range(0x10, 0x16),
                        *range(0x20, 0x26),
                        *range(0x30, 0x36),
                        0x19,
                        0x1B,
                        0x1D,
                        0x39,
                        0x3B,
                    )
                ),
            )
        )
    modrm = rng.getrandbits(8) % 0xC0
    tail = rng.randbytes(9)
    return legacy + rex + opcode + bytes((modrm,)) + tail


def is_usable(instruction: object, code: bytes) -> bool:
    text = instructions.text_of(instruction)
    mnemonic = instructions.plain_mnemonic(instruction)
    if 0x66 in (found := instructions.prefixes(code)) and found & {0xF2, 0xF3}:
        return False  # capstone takes the operand size from the wrong one of the two
    if found & {0x64, 0x65} and found & {0x2E, 0x3E, 0x26, 0x36}:
        return False  # capstone goes by the last one; the CPU ignores the latter in 64-bit mode, wherever they stand
    return instructions.writes_memory(instruction) and not NOT_HERE.match(mnemonic) and not NOT_HERE.match(text)


def random_stores(rng: random.Random, layout: Layout, wanted: int) -> list[Case]:
    """Cases of distinct random stores."""
    seen: set[bytes] = set()
    cases: list[Case] = []
    while len(cases) < wanted:
        code = random_encoding(rng)
        instruction = next(instructions.DECODER.disasm(code, 0x1000, 1), None)
        if instruction is None or not is_usable(instruction, code):
            continue
        code = bytes(instruction.bytes)
        if code in seen:
            continue
        seen.add(code)
        fixed = {"rcx": rng.randrange(60)} if instruction.prefix[0] and code[-1] in b"\xa4\xa5\xaa\xab" else {}
        target = rng.choice((PAGE, 2 * PAGE)) + rng.choice(
            (-rng.randrange(0, 40), rng.randrange(0, PAGE - 64), 64 * rng.randrange(0, 60))
        )
        try:
            cases.append(make_cases.make(code, layout, target, rng, fixed=fixed))
        except (make_cases.Unplaceable, KeyError):
            continue
    return cases


@pytest.mark.parametrize("layout", [ONE, SPAN, PACKED, DEPTH], ids=lambda layout: layout.name)
def test_random_stores_are_run_as_the_cpu_runs_them(
    layout: Layout, harness: Path, tracker: str, workspace: Path
) -> None:
    """Seeds are fixed in `make test` and drawn anew in `make soak`; a failure names its bytes."""
    rng = random.Random(None if SOAK else 31)
    cases = random_stores(rng, layout, 8_000 if SOAK else 2500)
    if "avx512f" not in cpu_flags():
        cases = [case for case in cases if case.code[0] != 0x62]
    reports = run_and_judge(harness, tracker, layout, cases, workspace)
    require(reports, len(cases))
