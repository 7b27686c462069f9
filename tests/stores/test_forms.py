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
SHOWN = 12


def run_and_judge(
    harness: Path, tracker: str, layout: Layout, cases: Sequence[Case], folder: Path, *, plain_only: bool = False
) -> list[str]:
    """Reports of the cases that failed."""
    reports = []
    for start in range(0, len(cases), BATCH):
        some = cases[start : start + BATCH]
        run_batch(harness, tracker, layout, some, folder, plain_only)
        reports += judge(some, layout, tracker, plain_only)
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
    for round_ in range(10 if SOAK else 1):
        cases, _ = place(written_forms, layout, random.Random(100 + round_))
        require(run_and_judge(harness, tracker, layout, cases, workspace), len(cases))


@pytest.mark.parametrize("layout", [ONE, LOW_ONE, SPAN], ids=lambda layout: layout.name)
def test_every_way_to_address_memory(
    layout: Layout, harness: Path, tracker: str, address_forms: list[tuple[Form, bytes]], workspace: Path
) -> None:
    for round_ in range(10 if SOAK else 1):
        cases, _ = place(address_forms, layout, random.Random(200 + round_), few=not SOAK)
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
    cases = _string_cases(random.Random(5), layout, 20000 if SOAK else 1500)
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
    """An unmasked floating-point exception inside a store is the program's: same signal, same place, nothing stored."""
    rng = random.Random(3)
    cases = []
    for code in (b"\xdd\x1f", b"\xdb\x1f", b"\xdf\x3f", b"\xd9\x1f", b"\xdd\x17"):  # fstp fistp fistp fstp fst [rdi]
        case = make_cases.make(code, ONE, PAGE + 64, rng)
        case.state.fcw, case.state.fsw, case.state.ftw, case.state.x_init = 0x340, 0, 0, 0  # empty, nothing masked
        case.written = ()  # noted in the status word; the next x87 instruction raises it
        cases.append(case)
    ph = bytes.fromhex("c4e3791d0f04")  # vcvtps2ph [rdi], xmm1, 4
    for mxcsr in (0, 0x1F00):
        if "f16c" in cpu_flags():
            case = make_cases.make(ph, ONE, PAGE + 64, rng)
            case.state.mxcsr, case.state.x_init = mxcsr, 0
            case.state.zmm[1][:16] = bytes.fromhex("010000ff0100807f0100807f01000001")
            cases.append(case)
    require(run_and_judge(harness, tracker, ONE, cases, workspace), len(cases))


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
