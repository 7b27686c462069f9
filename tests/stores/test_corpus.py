"""Every store that gcc emits for a corpus of C functions: one by one, and the functions as a whole."""

from __future__ import annotations

import random
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

import capstone
import pytest
from capstone import x86_const as x

from . import cases as make_cases
from . import instructions
from .conftest import SOAK, Build, gcc
from .forms import cpu_flags
from .machine import ONE, PAGE, PAIR, PLAIN, Case
from .test_forms import require, run_and_judge


@dataclass(frozen=True)
class Level:
    """What the corpus is compiled for, and how many stores it must add to those of the levels before it."""

    march: str
    needs: frozenset[str]
    """Flags of /proc/cpuinfo."""
    optimisations: tuple[str, ...]
    fewest: int


# Every level is compiled and counted on every machine, so none becomes small unseen; what the CPU can't run isn't run.
# The first two are 1600 at least: that is what any x86-64 of the last ten years shows.
LEVELS = (
    Level("x86-64", frozenset(), ("O0", "O1", "O2", "O3", "Os"), 1000),
    Level(
        "x86-64-v3",
        frozenset({"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"}),
        ("O0", "O1", "O2", "O3", "Os"),
        600,
    ),
    Level("x86-64-v4", frozenset({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}), ("O2", "O3"), 500),
    Level("native", frozenset(), ("O2", "O3"), 0),
)
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Corpus:
    """corpus.c at every level of this CPU, by the name of its table, and the stores of all levels."""

    objects: dict[str, Path]
    stores: dict[str, set[bytes]]
    """By level, each without those of the levels before it."""
    absent: tuple[str, ...]
    """Levels that this CPU can't run."""

    @property
    def runnable(self) -> list[bytes]:
        return sorted({code for march, codes in self.stores.items() if march not in self.absent for code in codes})


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("corpus")
    objects: dict[str, Path] = {}
    stores: dict[str, set[bytes]] = {}
    seen: set[bytes] = set()
    absent = tuple(level.march for level in LEVELS if level.needs - cpu_flags())
    for level in LEVELS:
        codes: set[bytes] = set()
        for optimisation in level.optimisations:
            table = f"corpus_{level.march}_{optimisation}".replace("-", "_")
            built = folder / f"{table}.o"
            # -w: the corpus reads what it likes; the other programs are compiled without
            flags = ("-std=gnu11", "-D_GNU_SOURCE", "-w", f"-{optimisation}", f"-march={level.march}")
            gcc(*flags, f"-DLEVEL={table}", "-c", HERE / "corpus.c", "-o", built)
            codes |= {code for code, writes in instructions_of(built).items() if writes}
            if level.march not in absent:
                objects[table] = built
        stores[level.march] = codes - seen
        seen |= codes
    if absent:
        print("compiled and counted, not run, the CPU lacks them:", ", ".join(absent))
    return Corpus(objects, stores, absent)


def text_section(path: Path) -> list[tuple[int, bytes]]:
    """Address and bytes of each section of code."""
    data = path.read_bytes()
    (offset,) = struct.unpack_from("<Q", data, 0x28)
    size, count, _ = struct.unpack_from("<HHH", data, 0x3A)
    out = []
    for i in range(count):
        kind, flags, _, start, length = struct.unpack_from("<IQQQQ", data, offset + i * size + 4)
        if kind == 1 and flags & 4 and length:
            out.append((0, data[start : start + length]))
    return out


def instructions_of(path: Path) -> dict[bytes, bool]:
    """Every distinct instruction with a memory operand (displacements from RIP blanked), and whether it can write."""
    decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    decoder.detail = True
    decoder.skipdata = True  # the FP16 instructions, which capstone 5.0 doesn't know
    found: dict[bytes, bool] = {}
    for address, code in text_section(path):
        for instruction in decoder.disasm(code, address):
            if not instruction.id or instruction.group(x.X86_GRP_JUMP) or instruction.group(x.X86_GRP_CALL):
                continue
            writes = instructions.writes_memory(instruction)
            if not writes and instructions.memory_operand(instruction) is None:
                continue
            raw = bytearray(instruction.bytes)
            operand = instructions.memory_operand(instruction)
            if operand is not None and operand.mem.base == x.X86_REG_RIP:
                raw[instruction.disp_offset : instruction.disp_offset + 4] = bytes(4)
            found[bytes(raw)] = writes
    return found


def make_some(
    codes: list[bytes], layout_cases: list[tuple[bytes, int]], rng: random.Random
) -> tuple[list[Case], set[bytes]]:
    """Cases at the given targets; and what no registers were found for."""
    cases = []
    placed = set()
    for code, target in layout_cases:
        fixed = (
            {"rcx": 40, "rflags": 0}
            if {0xF2, 0xF3} & instructions.prefixes(code) and code[-1] in b"\xa4\xa5\xaa\xab"
            else {}
        )
        try:
            cases.append(make_cases.make(code, ONE, target, rng, fixed=fixed))
            placed.add(code)
        except (make_cases.Unplaceable, KeyError):  # KeyError: a masked load, which element_size() has no business with
            continue
    return cases, set(codes) - placed


def aligned(code: bytes, target: int) -> int:
    """Vector moves that insist on alignment get it."""
    instruction = instructions.decode(code)
    strict = ("movaps", "movapd", "movdqa", "movnt", "cmpxchg16b", "xsave", "fxsave")
    return target // 64 * 64 if any(name in instruction.mnemonic for name in strict) else target


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.march)
def test_corpus_is_large_enough_to_mean_anything(level: Level, corpus: Corpus) -> None:
    assert len(corpus.stores[level.march]) >= level.fewest, "the corpus has become too small"


def test_every_store_that_gcc_emits(harness: Path, tracker: str, corpus: Corpus, workspace: Path) -> None:
    rng = random.Random(23)
    codes = corpus.runnable
    targets = []
    for code in codes:
        for _ in range(10 if SOAK else 1):
            targets.append((code, aligned(code, PAGE + rng.randrange(0, PAGE - 64))))
        targets.append((code, aligned(code, rng.choice((PAGE, 2 * PAGE)) - rng.randrange(0, 40))))
    cases, unplaced = make_some(codes, targets, rng)
    assert len(unplaced) < len(codes) / 50, [code.hex(" ") for code in unplaced][:20]
    require(run_and_judge(harness, tracker, ONE, cases, workspace), len(cases))
    pairs = [case for case in cases if case.written and any(at < 2 * PAGE < at + n for at, n in case.written)]
    require(run_and_judge(harness, tracker, PAIR, pairs, workspace), len(pairs))
    ran = {case.code for case in cases if not case.result.phase[PLAIN].signo}
    assert len(ran) > 0.95 * len(codes), "most must run without a fault, or nothing was tested"


def test_what_is_taken_for_a_read_never_writes(harness: Path, corpus: Corpus, workspace: Path) -> None:
    """The other half of the claim `every store`: instructions that are left out of the above leave memory alone."""
    rng = random.Random(29)
    reads: set[bytes] = set()
    for path in corpus.objects.values():
        reads |= {code for code, writes in instructions_of(path).items() if not writes}
    cases, _ = make_some(
        sorted(reads), [(code, aligned(code, PAGE + 64 * rng.randrange(60))) for code in sorted(reads)], rng
    )
    for case in cases:
        case.written = ()
    require(run_and_judge(harness, "readonly", ONE, cases, workspace, plain_only=True), len(cases))
    changed = [case.text for case in cases if case.result.changed]
    assert not changed, changed


def test_functions_do_on_watched_memory_what_they_do_on_plain(
    build: Build, tracker: str, corpus: Corpus, tmp_path: Path
) -> None:
    """Results are the same, and the events, replayed over the bytes before, give the bytes after: no write missed."""
    tables = " ".join(f"X({table})" for table in corpus.objects)
    program = build("corpus_run.c", f"-DLEVEL_LIST={tables}", *corpus.objects.values())
    done = subprocess.run(
        [program, tracker, tmp_path / "journal"], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    summary = done.stdout.strip().splitlines()[-1]
    assert summary.endswith("failures 0"), done.stdout
