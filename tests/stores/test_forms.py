"""The executor against the CPU: every store form, everywhere on and across pages, under both trackers."""

from __future__ import annotations

import random
import signal
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from . import cases as make_cases
from .conftest import SOAK
from .forms import Form, addressing, assemble, cpu_flags, hand_written
from .machine import (
    ADOPTED,
    ARENA,
    HOLE_AFTER,
    HOLE_BEFORE,
    LOW_ONE,
    ONE,
    PAGE,
    PAIR,
    PLAIN,
    SPAN,
    Case,
    Layout,
    run_batch,
)
from .placing import LAYOUTS, place
from .verdict import judge

BATCH = 1000
# fst m64, fstp m32 m64 m80, fist m16 m32, fistp m16 m32 m64, fisttp m32 m64, fbstp: each at [rdi]
X87_STORES = tuple(
    map(bytes.fromhex, ("dd17", "d91f", "dd1f", "db3f", "df17", "db17", "df1f", "db1f", "df3f", "db0f", "dd0f", "df37"))
)
FLTOVF, FLTUND, FLTRES, FLTINV = 4, 5, 6, 7  # si_code of SIGFPE
SHOWN = 12
RERUNS = 3
"""Of state saves that differ: whether a component that holds its initial value is in use is the CPU's to say (Intel
SDM, vol. 1, 13.6), and a thread that is preempted between the two runs may find it otherwise."""


def run_and_judge(
    harness: Path, tracker: str, layout: Layout, cases: Sequence[Case], folder: Path, *, plain_only: bool = False
) -> list[str]:
    """Reports of the cases that failed."""
    reports = []
    for start in range(0, len(cases), BATCH):
        some = cases[start : start + BATCH]
        run_batch(harness, tracker, layout, some, folder, plain_only)
        found = judge(some, layout, tracker, plain_only)
        saves = [case for case in some if case.text.startswith("xsave")]
        for _ in range(RERUNS):
            if not found or not all(report.startswith("xsave") for report in found):
                break
            run_batch(harness, tracker, layout, saves, folder, plain_only)
            found = judge(saves, layout, tracker, plain_only)
        reports += found
    return reports


def require(reports: Sequence[str], total: int) -> None:
    """Fails with the first reports, and a count by mnemonic of all."""
    if reports:
        kinds = Counter(report.split("\n")[0].split("[")[0].split("{")[0].strip() for report in reports)
        most = ", ".join(f"{text} x {n}" for text, n in kinds.most_common(20))
        pytest.fail(
            f"{len(reports)} of {total} cases differ.\n" + "\n".join(reports[:SHOWN]) + f"\nof: {most}", pytrace=False
        )


@pytest.fixture(scope="module")
def written_forms(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Form, bytes]]:
    """The hand-written forms that this CPU can run."""
    flags = cpu_flags()
    forms = hand_written()
    absent = Counter(form.needs for form in forms if form.needs and form.needs not in flags)
    if absent:
        print("left out, the CPU lacks them:", ", ".join(f"{n} forms of {name}" for name, n in absent.items()))
    return assemble([f for f in forms if not f.needs or f.needs in flags], tmp_path_factory.mktemp("forms"))


@pytest.fixture(scope="module")
def address_forms(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Form, bytes]]:
    return assemble(addressing(), tmp_path_factory.mktemp("addresses"))


def test_every_written_form_runs_and_writes_where_capstone_says(
    harness: Path, written_forms: list[tuple[Form, bytes]], workspace: Path
) -> None:
    """Without this the rest proves nothing: each form must run somewhere on plain memory, and change it there."""
    rng = random.Random(11)
    # cmpxchg with the accumulator as its source stores what is there already
    idle = {f.text for f, _ in written_forms if not ("cmpxchg" in f.text and f.text.endswith(("al", "ax")))}
    unplaced = set(idle)
    for _ in range(20):  # `btr` of a bit that is 0, a mask of nothing: some need more than one try
        todo = [(form, code) for form, code in written_forms if form.text in idle]
        for layout in (ONE, LOW_ONE):
            cases, why = place(todo, layout, rng)
            require(run_and_judge(harness, "readonly", layout, cases, workspace, plain_only=True), len(cases))
            idle -= {case.text for case in cases if not case.result.phase[PLAIN].signo and case.result.changed}
            unplaced &= why.keys()
        if not idle:
            break
    assert not unplaced, f"no registers were found for {unplaced}"
    assert not idle, f"never wrote: {sorted(idle)}"


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_written_forms_leave_what_the_cpu_leaves(
    layout: Layout, harness: Path, tracker: str, written_forms: list[tuple[Form, bytes]], workspace: Path
) -> None:
    some = written_forms if SOAK or layout is ONE else written_forms[LAYOUTS.index(layout) % 3 :: 3]
    cases, _ = place(some, layout, random.Random(100))
    require(run_and_judge(harness, tracker, layout, cases, workspace), len(cases))


@pytest.mark.parametrize("layout", [ONE, LOW_ONE, SPAN], ids=lambda layout: layout.name)
def test_every_way_to_address_memory(
    layout: Layout, harness: Path, tracker: str, address_forms: list[tuple[Form, bytes]], workspace: Path
) -> None:
    cases, _ = place(address_forms, layout, random.Random(200), few=not SOAK)
    require(run_and_judge(harness, tracker, layout, cases, workspace), len(cases))


def _string_cases(rng: random.Random, layout: Layout, n: int) -> list[Case]:
    """movs and stos of all sizes, both directions, overlapping in every way, starting before and ending behind."""
    cases = []
    for _ in range(n):
        size = rng.randrange(4)
        code = bytes((0xA4 if rng.random() < 0.7 else 0xAA) + (1 if size else 0) for _ in (0,))
        code = (b"\x66" if size == 1 else b"\x48" if size == 3 else b"") + code
        repeat = rng.choice((b"\xf3", b"\xf3", b"\xf2", b""))
        code = repeat + code if size != 1 else b"\x66" + repeat + code[1:]
        width = 1 << size
        count = rng.choice((0, 1, 2, 7, 64, 100, 512, 1000, 2000)) // width if repeat else 1
        target = rng.choice((PAGE, 2 * PAGE)) + rng.randrange(-300, PAGE - 8)
        if layout.hole == 2:
            target = min(target, 2 * PAGE - count * width)
        if layout.hole == 0:
            target = max(target, PAGE)
        target = max(0, min(target, 4 * PAGE - count * width))
        distance = rng.choice((0, 1, -1, width, -width, 3, 8, -8, 64, -64, 200, -200, 1500, -1500, 3 * PAGE))
        source: int | None = target + distance
        assert source is not None
        if not 0 <= source <= 4 * PAGE - count * width or (layout.hole is not None):
            source = None
        fixed = {"rcx": count, "rflags": rng.choice((0, 0x400)) | 0x45}
        cases.append(make_cases.make(code, layout, target, rng, fixed=fixed, source=source))
    return cases


@pytest.mark.parametrize("layout", [ONE, PAIR, SPAN, HOLE_AFTER, HOLE_BEFORE], ids=lambda layout: layout.name)
def test_string_instructions_overlapping_and_across_pages(
    layout: Layout, harness: Path, tracker: str, workspace: Path
) -> None:
    cases = _string_cases(random.Random(5), layout, 8000 if SOAK else 1500)
    require(run_and_judge(harness, tracker, layout, cases, workspace), len(cases))


def test_masks_of_every_kind(
    harness: Path, tracker: str, written_forms: list[tuple[Form, bytes]], workspace: Path
) -> None:
    """No element, one, all, alternating, first, last: the event covers what was stored, and nothing was, for none."""
    rng = random.Random(17)
    cases = []
    for form, code in written_forms:
        if "mask" not in form.text and "{k" not in form.text:
            continue
        some = (0, 1, 2, 1 << 15, 1 << 63, 2**64 - 1, 0x5555555555555555, 0xF0F0F0F0F0F0F0F0, rng.getrandbits(64))
        for mask in some:
            places = (PAGE + 0x100, 2 * PAGE - rng.choice((1, 3, 8, 33)), PAGE - rng.choice((1, 4, 16)))
            for target in places if SOAK else rng.sample(places, 1):
                at = target // form.align * form.align
                manual = ("rdi", 0x10, form.manual) if form.manual else None
                case = make_cases.make(
                    code, ONE, at, rng, text=form.text, fixed=form.fixed, mask=mask, manual=manual, in_use=True
                )
                cases.append(case)
    require(run_and_judge(harness, tracker, ONE, cases, workspace), len(cases))


def test_program_gets_its_own_faults(harness: Path, tracker: str, workspace: Path) -> None:
    """An unmasked floating-point exception inside a store is the program's: same signal, same place, nothing stored.

    AMD's CPUs raise it only behind the page fault, Intel's before: the plain run says what must come of it."""
    rng = random.Random(3)
    cases = []
    for code in X87_STORES:
        case = make_cases.make(code, ONE, PAGE + 64, rng)
        case.state.fcw, case.state.fsw, case.state.ftw, case.state.x_init = 0x340, 0, 0, 0  # empty, nothing masked
        case.written = ()  # noted in the status word; the next x87 instruction raises it
        cases.append(case)
        case = make_cases.make(code, ONE, PAGE + 64, rng)
        case.state.fcw, case.state.fsw, case.state.ftw, case.state.x_init = 0x340, 0x8081, 0xFF, 0  # noted: raised now
        case.written = ()
        cases.append(case)
    ph = bytes.fromhex("c4e3791d0f04")  # vcvtps2ph [rdi], xmm1, 4
    for mxcsr in (0, 0x1F00):
        if "f16c" in cpu_flags():
            case = make_cases.make(ph, ONE, PAGE + 64, rng)
            case.state.mxcsr, case.state.x_init = mxcsr, 0
            case.state.zmm[1][:16] = bytes.fromhex("010000ff0100807f0100807f01000001")
            cases.append(case)
    require(run_and_judge(harness, tracker, ONE, cases, workspace), len(cases))
    assert all(case.result.phase[PLAIN].signo == signal.SIGFPE for case in cases if case.code == ph)


def _x87_register(rng: random.Random) -> bytes:
    """Ordinary, denormal, infinite, not a number, and too large, too small or not exact for a smaller format."""
    around = rng.choice((0, 0, 15, 31, 63, 127, -126, -149, 1023, -1022, -1074, 0x4000, -0x3FFF))
    exponent = min(max(0x3FFF + around + rng.randrange(-3, 4), 0), 0x7FFF)
    mantissa = 1 << 63 if exponent else 0
    mantissa |= rng.choice((0, 1 << 62, 1 << 40, 1 << 11, 1, rng.getrandbits(63)))
    return (mantissa | exponent << 64 | rng.getrandbits(1) << 79).to_bytes(10, "little") + bytes(6)


def test_x87_store_that_raises_stores_nothing(harness: Path, tracker: str, workspace: Path) -> None:
    """Any value, any exceptions masked: whether it is stored is what the CPU decides on plain memory."""
    rng = random.Random(31)
    cases = []
    for code in X87_STORES:
        for _ in range(1000 if SOAK else 60):
            case = make_cases.make(code, ONE, PAGE + 64, rng)
            case.state.fcw = (
                0x300 | rng.choice((0, 0x400, 0x800, 0xC00)) | rng.choice((0, 0x1F, rng.getrandbits(6))) | 0x40
            )
            case.state.fsw, case.state.ftw, case.state.x_init = 0, rng.choice((0xFF, 0xFF, 0xFF, 0)), 0
            case.state.st[0][:] = list(_x87_register(rng))
            cases.append(case)
    run_batch(harness, tracker, ONE, cases, workspace, plain_only=True)
    for case in cases:
        assert not case.result.phase[PLAIN].signo
        if not case.result.changed:
            case.written = ()
    assert 0.1 * len(cases) < sum(not case.written for case in cases) < 0.9 * len(cases)
    require(run_and_judge(harness, tracker, ONE, cases, workspace), len(cases))


def test_conversion_that_raises_stores_nothing(harness: Path, tracker: str, workspace: Path) -> None:
    """vcvtps2ph with any exceptions masked: SIGFPE with the CPU's own si_code where it raises, else the same flags."""
    if "f16c" not in cpu_flags():
        pytest.skip("the CPU lacks f16c")
    rng = random.Random(37)
    cases = []
    for code in map(bytes.fromhex, ("c4e3791d0f04", "c4e37d1d0f04")):  # vcvtps2ph [rdi], xmm1 or ymm1, 4
        for _ in range(5000 if SOAK else 400):
            case = make_cases.make(code, ONE, PAGE + 64, rng)
            case.state.mxcsr = rng.getrandbits(6) << 7 | rng.choice((0, 0x2000, 0x4000, 0x6000)) | rng.choice((0, 0x40))
            case.state.x_init = 0
            odd = rng.choice((0, 0.1, 0.5))
            values = [_float_bits(rng) if rng.random() < odd else 0x3F800000 for _ in range(8)]
            case.state.zmm[1][:32] = list(b"".join(value.to_bytes(4, "little") for value in values))
            cases.append(case)
    require(run_and_judge(harness, tracker, ONE, cases, workspace), len(cases))
    raised = {case.result.phase[PLAIN].code for case in cases if case.result.phase[PLAIN].signo}
    assert raised == {FLTOVF, FLTUND, FLTRES, FLTINV}
    assert sum(not case.result.phase[PLAIN].signo for case in cases) > 100


def _float_bits(rng: random.Random) -> int:
    """A single-precision number around what a half-precision one can hold."""
    exponent = rng.choice((0, 255, 127, 112, 113, 103, 102, 90, 142, 143, rng.randrange(256)))
    return (
        rng.getrandbits(1) << 31 | exponent << 23 | rng.choice((0, 1, 0x7FFFFF, 0x2000, 0x400000, rng.getrandbits(23)))
    )


def test_refusal_is_loud(harness: Path, tracker: str, tmp_path: Path, workspace: Path) -> None:
    """What the core doesn't run on watched memory is named on stderr, and ends in a signal: never in silence."""
    case = make_cases.make(b"\xc8\x10\x00\x00", ONE, PAGE + 64, random.Random(1))  # enter 16, 0
    run_batch(harness, tracker, ONE, [case], workspace)
    done = subprocess.run(
        [harness, tracker, workspace / "cases", workspace / "results", workspace / "second"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert case.result.phase[ADOPTED].signo in (signal.SIGSEGV, signal.SIGBUS)
    assert case.result.phase[ADOPTED].events == 0
    assert "c8100000" in done.stderr, done.stderr
    if not case.state.flags & 2:
        assert case.result.phase[ARENA].signo
