"""Machine states to start from: every register something else."""

from __future__ import annotations

import ctypes as c
import random
from typing import Any

from .forms import cpu_flags
from .machine import PAGE, Layout, State

MASK64 = 2**64 - 1
MXCSR_MISALIGNED = 0x20000 if "misalignsse" in cpu_flags() else 0  # AMD's: reserved elsewhere


def _x87_stack(rng: random.Random) -> Any:
    stack = ((c.c_uint8 * 16) * 8)()
    for register in stack:
        exponent = rng.choice((0x3FFF + rng.randrange(-40, 70), 0x3FFF, 0, 0x7FFF, rng.getrandbits(15)))
        mantissa = rng.getrandbits(63) | (1 << 63 if exponent else 0)
        register[:10] = list((mantissa | exponent << 64 | rng.getrandbits(1) << 79).to_bytes(10, "little"))
    return stack


def _float_vector(rng: random.Random) -> Any:
    """Floats that convert to something."""
    vector = (c.c_uint8 * 64)(*rng.randbytes(64))
    for j in range(0, 64, 4):
        vector[j + 3] = rng.choice((0x3F, 0xBF, 0x40, 0x38, 0x33))
    return vector


_pool = random.Random(41)  # drawn once: it is what takes the time
_X87 = [_x87_stack(_pool) for _ in range(200)]
_FLOATS = [_float_vector(_pool) for _ in range(200)]


def random_state(rng: random.Random, seed: int, layout: Layout) -> State:
    """Every register something else; a quarter of the values at an edge. RSP in the stack, RSI at the source."""
    state = State()
    for i in range(16):
        kind = rng.random()
        state.gpr[i] = (
            rng.getrandbits(64)
            if kind < 0.75
            else rng.choice((0, 1, MASK64, 1 << 63, (1 << 63) - 1, 0x80000000, 0xFF, 0x7F))
        )
    state.gpr[4] = layout.base + 7 * PAGE + 0x800
    state.gpr[6] = layout.base + 4 * PAGE + rng.randrange(64, 1024)
    state.rflags = 0x202 | (rng.getrandbits(12) & 0x8D5)
    state.gs = rng.choice((0, 0, 0x7000_1230, layout.base - 0x40_0000))
    state.seed = seed
    state.fcw = 0x7F | rng.choice((0, 0x200, 0x300)) | rng.choice((0, 0x400, 0x800, 0xC00))
    state.fsw = rng.randrange(8) << 11 | rng.choice((0, 0x4500, 0x3F))
    state.ftw = rng.choice((0xFF, 0xFF, 0xFF, rng.getrandbits(8)))
    state.mxcsr = 0x1F80 | rng.choice((0, 0x6000, 0x2000, 0x8040, 0x3F | MXCSR_MISALIGNED))
    state.st[:] = rng.choice(_X87)
    for i in range(8):
        kind = rng.randrange(6)
        state.k[i] = rng.getrandbits(64) if kind < 3 else (MASK64, 0xAAAAAAAAAAAAAAAA, 1 << rng.randrange(64))[kind - 3]
    c.memmove(state.zmm, rng.randbytes(2048), 2048)
    for i in rng.sample(range(32), 10):
        state.zmm[i] = rng.choice(_FLOATS)
    state.x_init = rng.choice((0, 0, 0, 0, 1 << rng.choice((0, 1, 2, 5, 6, 7))))
    return state
