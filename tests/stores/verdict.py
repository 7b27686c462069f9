"""Judges what came of a case: the plain run against the disassembler, the watched runs against the plain one."""

from __future__ import annotations

import signal
from collections.abc import Iterable

from .machine import ARENA, GPR, NO_ARENA, PHASE_NAMES, PLAIN, Case, Layout, PhaseOut, Watched

_X = {
    0: "x87",
    1: "sse",
    2: "avx",
    5: "opmask",
    6: "zmm",
    7: "hi16",
    24: "mxcsr",
    29: "x87 FOP",
    30: "x87 FIP",
    31: "x87 FDP",
}
_REPLAY = {
    1: "an event's `before` isn't what was there",
    2: "the events don't add up to the memory",
    4: "an event outside its variable",
    8: "a malformed record",
    16: "more than 16 events",
    32: "origin isn't `store`",
    64: "not this thread's id",
}


def _bits(value: int, names: dict[int, str]) -> str:
    return ", ".join(name for bit, name in names.items() if value >> bit & 1)


def _signal(number: int) -> str:
    return signal.Signals(number).name if number else "none"


def plain_problems(case: Case) -> list[str]:
    """Whether the plain run did what the disassembler said: a case that proves nothing is a problem too."""
    plain = case.result.phase[PLAIN]
    if case.crash:
        return [case.crash]
    if not plain.ran:
        return ["didn't run"]
    if plain.signo:
        return []
    if case.written is not None:
        allowed = [(at, n) for at, n in case.written if n]
    elif case.operand is not None:
        allowed = [case.operand]
    else:
        return []
    first, last = case.result.changed_first, case.result.changed_last
    if first < 0:
        return []
    if not allowed or first < min(at for at, _ in allowed) or last >= max(at + n for at, n in allowed):
        return [f"plain memory changed at {first:#x}..{last:#x}, said to be written: {_ranges(allowed)}"]
    return []


def _ranges(intervals: Iterable[tuple[int, int]]) -> str:
    return ", ".join(f"{at:#x}+{size}" for at, size in intervals) or "nothing"


def _clip(intervals: Iterable[tuple[int, int]], variable: Watched) -> list[tuple[int, int]]:
    out = []
    for at, size in intervals:
        low, high = max(at, variable.at), min(at + size, variable.at + variable.size)
        if low < high:
            out.append((low - variable.at, high - low))
    return out


def _joined(intervals: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Events of one instruction that writes piece by piece; they may not overlap nor leave gaps."""
    out: list[tuple[int, int]] = []
    for at, size in sorted(intervals):
        if out and out[-1][0] + out[-1][1] == at:
            out[-1] = (out[-1][0], out[-1][1] + size)
        else:
            out.append((at, size))
    return out


def _event_problems(case: Case, layout: Layout, out: PhaseOut) -> list[str]:
    problems = []
    for number, variable in enumerate(layout.variables):
        got = [(e.offset, e.length) for e in out.event[: min(out.events, 16)] if e.variable == number]
        operand = _clip([case.operand], variable) if case.operand and case.operand[1] else None
        if case.written is None:
            if any(at < o[0] or at + n > o[0] + o[1] for at, n in got for o in operand or [(0, 0)]):
                problems.append(f"event {_ranges(got)} outside the operand {_ranges(operand or [])}")
            continue
        want = _clip(case.written, variable)
        if want and not any(at < variable.depth[1] and at + n > variable.depth[0] for at, n in want):
            want = []
        if not want:
            if got:
                problems.append(f"variable {number} wasn't written, but has an event of {_ranges(got)}")
        elif operand is None and case.operand is None:
            if case.pieces:
                got = _joined(got)
            if case.pieces and out.events > 16:
                continue  # overlapping movs, chunk by chunk: the replay has checked each
            if got != want:
                problems.append(f"variable {number}: event of {_ranges(got)}, the disassembler says {_ranges(want)}")
        elif not got:
            problems.append(f"variable {number}: no event, written were {_ranges(want)}")
        elif case.operand and case.operand[1]:
            if len(got) != 1:
                problems.append(f"variable {number}: {len(got)} events of one store")
            low, high = want[0][0], want[-1][0] + want[-1][1]
            if got[0][0] > low or got[0][0] + got[0][1] < high:
                problems.append(f"variable {number}: event of {_ranges(got)} leaves out a part of {_ranges(want)}")
            if operand and (got[0][0] < operand[0][0] or got[0][0] + got[0][1] > operand[0][0] + operand[0][1]):
                problems.append(f"variable {number}: event of {_ranges(got)} outside the operand {_ranges(operand)}")
        else:  # a scatter: element by element
            covered = {b for at, n in got for b in range(at, at + n)}
            wanted = {b for at, n in want for b in range(at, at + n)}
            due = {b for b in wanted if variable.depth[0] <= b < variable.depth[1]}
            if (covered - wanted or due - covered) and out.events <= 16:
                problems.append(f"variable {number}: events of {_ranges(got)}, written were {_ranges(want)}")
    if any(e.flags for e in out.event[: min(out.events, 16)]):
        problems.append("an event is marked inexact")
    return problems


def watched_problems(case: Case, layout: Layout, phase: int) -> list[str]:
    """What differs between the plain run and a watched one; nothing if all is as it must be."""
    if case.crash:
        return [case.crash]
    plain, out = case.result.phase[PLAIN], case.result.phase[phase]
    if phase == ARENA and case.state.flags & NO_ARENA:
        return []
    if not out.ran:
        return ["didn't run"]
    problems = []
    if out.signo != plain.signo:
        problems.append(
            f"signal {_signal(out.signo)} (code {out.code}, address {out.address:#x}, RIP {out.rip:+#x}), "
            f"plain: {_signal(plain.signo)}"
        )
    elif plain.signo:
        if out.code != plain.code and phase != ARENA:
            problems.append(f"si_code {out.code}, plain: {plain.code}")
        if out.rip != plain.rip:
            problems.append(f"{_signal(plain.signo)} at RIP {out.rip:+#x} of the code, plain: {plain.rip:+#x}")
        if out.address // 4096 != plain.address // 4096 and phase != ARENA:  # where in the page differs between forms
            problems.append(f"si_addr {out.address:#x}, plain: {plain.address:#x}")
    for i, name in enumerate(GPR):
        if out.gpr_bad >> i & 1:
            problems.append(f"{name} = {out.out.gpr[i]:#x}, plain: {plain.out.gpr[i]:#x}")
    if out.flags_xor:
        problems.append(f"flags = {out.out.flags:#x}, plain: {plain.out.flags:#x}")
    if out.gs_bad:
        problems.append(f"GS base = {out.out.gs:#x}, plain: {plain.out.gs:#x}")
    if out.x_bad:
        problems.append(
            f"vector state ({_bits(out.x_bad, _X)}): xsave area at {out.x_at}: {bytes(out.got).hex()}, "
            f"plain: {bytes(out.want).hex()}"
        )
    # fbstp writes its first 8 bytes before it finds that the last 2 can't be: a quirk that isn't copied
    if out.mem_bad_first >= 0 and not (plain.signo and "fbstp" in case.text):
        problems.append(
            f"memory {out.mem_bad_first:#x}..{out.mem_bad_last:#x}: {bytes(out.got).hex()}, "
            f"plain: {bytes(out.want).hex()}"
        )
    bad = out.replay_bad & ~16 if case.pieces else out.replay_bad
    if bad:
        problems.append(", ".join(text for bit, text in _REPLAY.items() if bad & bit))
    if out.lost:
        problems.append(f"{out.lost} events lost")
    if plain.signo:
        if out.events and not (case.wide or case.pieces):
            problems.append(f"{out.events} events of an instruction that faulted")
    else:
        problems += _event_problems(case, layout, out)
    return problems


def refusal_problems(case: Case, layout: Layout, phase: int) -> list[str]:
    """A form that the core refuses: a fatal signal, nothing written, nothing reported as written."""
    out = case.result.phase[phase]
    if phase == ARENA and case.state.flags & NO_ARENA:
        return []
    problems = [case.crash] if case.crash else []
    if out.signo not in (signal.SIGSEGV, signal.SIGBUS):
        problems.append(f"refused with {_signal(out.signo)}: neither SIGSEGV nor SIGBUS")
    if out.events:
        problems.append(f"refused, but there are {out.events} events")
    if out.replay_bad:
        problems.append("refused, but memory changed")
    return problems


def report(case: Case, layout: Layout, where: str, problems: list[str]) -> str:
    """One paragraph on a failing case."""
    return f"{case.text}  [{case.code.hex(' ')}]  {where}, {layout.name}\n    " + "\n    ".join(problems)


def judge(cases: Iterable[Case], layout: Layout, tracker: str, plain_only: bool = False) -> list[str]:
    """Reports of all failing cases of a batch."""
    reports = []
    for case in cases:
        problems = plain_problems(case)
        if problems:
            reports.append(report(case, layout, "plain", problems))
            continue
        if plain_only:
            continue
        for phase in layout.phases:
            problems = (refusal_problems if case.refused else watched_problems)(case, layout, phase)
            if problems:
                reports.append(report(case, layout, f"{tracker}, {PHASE_NAMES[phase]}", problems))
    return reports
