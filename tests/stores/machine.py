"""Runs the harness: batches of cases in, what differed out. The structs mirror harness.c, which asserts their sizes."""

from __future__ import annotations

import ctypes as c
import mmap
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
CORE = HERE.parents[1] / "memwatch_core" / "core"
PAGE = 4096
PLAIN, ADOPTED, ARENA = range(3)
PHASE_NAMES = ("plain", "adopted", "arena")
TRACKERS = ("uffd-sigbus", "readonly", "uffd-queue")
MOST_CRASHES = 40
LOW, HIGH = 0x30000000, 0x3FFF00000000  # where the memory of a batch lies: below 4 GiB, and far above
CODE_DISTANCE = 0x100000
AT_END, NO_ARENA = 1, 2
GPR = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{n}" for n in range(8, 16)))


class _VariableIn(c.LittleEndianStructure):
    _fields_ = (("at", c.c_uint32), ("size", c.c_uint32), ("depth_start", c.c_uint64), ("depth_stop", c.c_uint64))


class _Batch(c.LittleEndianStructure):
    _fields_ = (
        ("magic", c.c_char * 8),
        ("base", c.c_uint64),
        ("cases", c.c_uint32),
        ("phases", c.c_uint32),
        ("variables", c.c_uint32),
        ("hole", c.c_uint32),
        ("variable", _VariableIn * 8),
    )


class Patch(c.LittleEndianStructure):
    _fields_ = (("at", c.c_uint32), ("length", c.c_uint32), ("bytes", c.c_uint8 * 64))


class State(c.LittleEndianStructure):
    """struct case_in: the instruction and everything that it starts from."""

    _fields_ = (
        ("code", c.c_uint8 * 32),
        ("length", c.c_uint32),
        ("flags", c.c_uint32),
        ("gpr", c.c_uint64 * 16),
        ("rflags", c.c_uint64),
        ("gs", c.c_uint64),
        ("pointers", c.c_uint32),
        ("fs_minus", c.c_uint32),
        ("seed", c.c_uint64),
        ("x_init", c.c_uint64),
        ("fcw", c.c_uint16),
        ("fsw", c.c_uint16),
        ("ftw", c.c_uint8),
        ("unused0", c.c_uint8 * 3),
        ("mxcsr", c.c_uint32),
        ("unused1", c.c_uint32),
        ("st", (c.c_uint8 * 16) * 8),
        ("k", c.c_uint64 * 8),
        ("zmm", (c.c_uint8 * 64) * 32),
        ("patch", Patch * 2),
    )


class _Registers(c.LittleEndianStructure):
    _fields_ = (("gpr", c.c_uint64 * 16), ("flags", c.c_uint64), ("gs", c.c_uint64))


class _EventOut(c.LittleEndianStructure):
    _fields_ = (("variable", c.c_uint32), ("offset", c.c_uint32), ("length", c.c_uint32), ("flags", c.c_uint32))


class PhaseOut(c.LittleEndianStructure):
    """struct phase_out: how one run ended and in what it differed from the plain one."""

    _fields_ = (
        ("ran", c.c_uint32),
        ("signo", c.c_int32),
        ("code", c.c_int32),
        ("gpr_bad", c.c_uint32),
        ("rip", c.c_uint64),
        ("address", c.c_uint64),
        ("flags_xor", c.c_uint64),
        ("gs_bad", c.c_uint32),
        ("x_bad", c.c_uint32),
        ("replay_bad", c.c_uint32),
        ("events", c.c_uint32),
        ("mem_bad_first", c.c_int32),
        ("mem_bad_last", c.c_int32),
        ("lost", c.c_uint64),
        ("stores", c.c_uint64),
        ("x_at", c.c_uint32),
        ("unused", c.c_uint32),
        ("want", c.c_uint8 * 16),
        ("got", c.c_uint8 * 16),
        ("out", _Registers),
        ("event", _EventOut * 16),
    )


class CaseOut(c.LittleEndianStructure):
    """struct case_out."""

    _fields_ = (
        ("changed_first", c.c_int32),
        ("changed_last", c.c_int32),
        ("changed", c.c_uint32),
        ("unused", c.c_uint32),
        ("phase", PhaseOut * 3),
    )


class _Results(c.LittleEndianStructure):
    _fields_ = (
        ("current_case", c.c_uint32),
        ("current_phase", c.c_uint32),
        ("done", c.c_uint32),
        ("error", c.c_char * 244),
    )


@dataclass(frozen=True)
class Watched:
    """A variable of a layout: bytes [at, at + size) of the memory."""

    at: int
    size: int
    depth: tuple[int, int] = (0, 2**64 - 1)


@dataclass(frozen=True)
class Layout:
    """What of the memory is watched, and in which phases that can be had."""

    name: str
    variables: tuple[Watched, ...]
    phases: tuple[int, ...] = (ADOPTED, ARENA)
    hole: int | None = None
    base: int = HIGH


PAGE1 = Watched(PAGE, PAGE)
PAGE2 = Watched(2 * PAGE, PAGE)
ONE = Layout("one page", (PAGE1,))
LOW_ONE = Layout("one page below 4 GiB", (PAGE1,), base=LOW)
PAIR = Layout("two pages, a variable each", (PAGE1, PAGE2))
SPAN = Layout("one variable of two pages", (Watched(PAGE, 2 * PAGE),))
PACKED = Layout(
    "many variables on one page",
    (
        Watched(PAGE, 8),
        Watched(PAGE + 8, 24),
        Watched(PAGE + 40, 3),
        Watched(PAGE + 43, 1),
        Watched(PAGE + 64, 64),
        Watched(PAGE + 200, 1000),
        Watched(2 * PAGE - 16, 16),
        Watched(2 * PAGE, PAGE),
    ),
    phases=(ARENA,),
)
DEPTH = Layout("a mutation depth", (Watched(PAGE, PAGE, (100, 200)), Watched(2 * PAGE, PAGE, (0, 0x800))))
HOLE_AFTER = Layout("unmapped memory behind", (PAGE1,), phases=(ADOPTED,), hole=2)
HOLE_BEFORE = Layout("unmapped memory before", (PAGE1,), phases=(ADOPTED,), hole=0)


@dataclass
class Case:
    """One instruction with its state, and what must come of it."""

    text: str
    state: State
    written: tuple[tuple[int, int], ...] | None = None
    """What the disassembler says is written: (first byte, length) in the memory; None: not known beforehand."""
    operand: tuple[int, int] | None = None
    """All that the operand spans, if a mask may leave a part of it alone."""
    wide: bool = False
    """xsave and its kind: leaves holes in what it spans."""
    pieces: bool = False
    """Writes piece by piece, an event each: string instructions, saves longer than 64 bytes, scatters."""
    refused: bool = False
    """The core says aloud that it doesn't run this one."""
    result: CaseOut = field(default_factory=CaseOut)
    crash: str = ""

    @property
    def code(self) -> bytes:
        return bytes(self.state.code[: self.state.length])


class BuildError(Exception):
    """gcc refused; the message is its own."""


def run_batch(
    harness: Path, tracker: str, layout: Layout, cases: Sequence[Case], folder: Path, plain_only: bool = False
) -> None:
    """Runs the cases and leaves each one's result in it. One that kills the process is noted, the others go on."""
    todo = list(cases)
    crashes = 0
    while todo:
        for path in folder.iterdir():
            path.unlink()
        phases = 1 | (0 if plain_only else sum(1 << phase for phase in layout.phases))
        head = _Batch(
            b"MWCASES1",
            layout.base,
            len(todo),
            phases,
            len(layout.variables),
            0 if layout.hole is None else layout.hole + 1,
        )
        for i, v in enumerate(layout.variables):
            head.variable[i] = _VariableIn(v.at, v.size, *v.depth)
        (folder / "cases").write_bytes(bytes(head) + b"".join(bytes(case.state) for case in todo))
        results = folder / "results"
        with results.open("wb") as file:
            file.truncate(c.sizeof(_Results) + len(todo) * c.sizeof(CaseOut))
        done = subprocess.run(
            [harness, tracker, folder / "cases", results, folder / "journal"],
            capture_output=True,
            text=True,
            check=False,
        )
        with results.open("r+b") as made, mmap.mmap(made.fileno(), 0, access=mmap.ACCESS_READ) as view:
            outcome = _Results.from_buffer_copy(view)
            if done.returncode == 2:
                raise AssertionError(f"harness, {layout.name}, {tracker}: {outcome.error.decode()}{done.stderr}")
            if outcome.done:
                for i, case in enumerate(todo):
                    at = c.sizeof(_Results) + i * c.sizeof(CaseOut)
                    case.result = CaseOut.from_buffer_copy(view, at)
                return
        crashes += 1
        broken = todo.pop(outcome.current_case)
        broken.crash = (
            f"the process ended with {done.returncode} in the {PHASE_NAMES[outcome.current_phase]} phase {done.stderr}"
        )
        if crashes >= MOST_CRASHES:
            for case in todo:
                case.crash = f"not run: {MOST_CRASHES} cases of its batch crashed already"
            return
