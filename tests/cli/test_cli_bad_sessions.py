"""``memwatch blame``, ``history``, ``at`` and ``diff`` of sessions that can't be read, or not as they should: one
sentence that names the file and the cause, or the right answer, never a traceback."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner
from console_script import SCRIPT, environment

sys.path.insert(0, str(Path(__file__).parents[1] / "journal"))
from journal_writer import JournalWriter

from memwatch_core.cli.group import group

NOBODY = 65534
Ask = Callable[..., tuple[int, str, str]]
ASKED = {
    "blame": lambda moment: ["blame", "total", "--at", moment],
    "by": lambda moment: ["blame", "total", "--at", moment, "--by", "site"],
    "history": lambda moment: ["history", "total", "--until", moment],
    "at": lambda moment: ["at", moment, "total"],
    "diff": lambda moment: ["diff", "start", moment, "total"],
}
JOURNAL = "4242-python.mwj"


def written() -> bytes:
    writer = JournalWriter()
    writer.watch(1, bytes(8), "total")
    writer.store(1, 0, bytes(8), struct.pack("<q", 1))
    return writer.bytes()


def changed(at: int, data: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / JOURNAL).write_bytes(written()[:at] + data + written()[at + len(data) :])


def with_file(name: str, text: str, mode: int = 0o600) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        (folder / JOURNAL).write_bytes(written())
        (folder / name).write_text(text)
        (folder / name).chmod(mode)

    return make


def forbidden(folder: Path, *, all_of_it: bool = False) -> None:
    (folder / JOURNAL).write_bytes(written())
    (folder if all_of_it else folder / JOURNAL).chmod(0)


SESSION = {"format": 9, "session": "00" * 16, "started": "2026-11-29T10:00:00Z", "command": ["x"]}
BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "journal of a newer format": (changed(8, struct.pack("<H", 2)), "journal format 2.0, and this MemWatch reads 1.x"),
    "journal that may not be read": (forbidden, f"{JOURNAL}: can't be read (Permission denied)"),
    "folder that may not be read": (
        lambda folder: forbidden(folder, all_of_it=True),
        "can't be read (Permission denied)",
    ),
    "settings that may not be read": (with_file("settings.json", "{}", 0), "settings can't be read: Permission denied"),
    "no journal": (lambda folder: None, "is neither a session in"),
    "journal without a header": (lambda folder: (folder / JOURNAL).write_bytes(b""), "only just created"),
    "journal of zeros": (lambda folder: (folder / JOURNAL).write_bytes(bytes(5000)), "only just created"),
    "link that leads nowhere": (lambda folder: (folder / JOURNAL).symlink_to("nowhere"), f"{JOURNAL}: can't be read"),
    "pipe": (lambda folder: os.mkfifo(folder / JOURNAL), f"{JOURNAL}: not a regular file"),
}
GOOD: dict[str, tuple[Callable[[Path], object], str]] = {
    "journal of a newer minor format": (changed(10, struct.pack("<H", 9)), ""),
    "session of a newer format": (
        with_file("session.json", json.dumps(SESSION)),
        "session.json: a session of format 9",
    ),
    "description that is none": (with_file("session.json", "{"), "session.json: not the description of a session"),
    "journal that has no end yet": (changed(136 - 8, struct.pack("<Q", 1 << 20)), ""),
}


@contextmanager
def unprivileged() -> Iterator[None]:
    """As somebody whom modes are for."""
    if os.geteuid():
        yield
        return
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> None:
    """All that is imported on first use is there, before that isn't allowed."""
    good = tmp_path_factory.mktemp("good")
    (good / JOURNAL).write_bytes(written())
    for arguments in (*(command("end") for command in ASKED.values()), ["blame", "totl"]):
        CliRunner().invoke(group, [*arguments, "--session", str(good)])


@pytest.fixture
def folder(tmp_path: Path, imported: None) -> Iterator[Path]:
    """The session's, which anybody may reach."""
    modes = {each: each.stat().st_mode for each in tmp_path.parents if each.stat().st_uid == os.geteuid()}
    for each, mode in modes.items():
        each.chmod(mode | 0o111)
    tmp_path.chmod(0o755)
    yield tmp_path
    tmp_path.chmod(0o700)
    for each, mode in modes.items():
        each.chmod(mode)


@pytest.mark.parametrize("kind", BAD)
def test_session_that_can_not_be_read_is_told_with_the_cause(folder: Path, ask: Ask, kind: str) -> None:
    make, said = BAD[kind]
    make(folder)
    who = unprivileged() if "may not" in kind else contextmanager(lambda: iter([None]))()
    with who:
        for number, command in enumerate(ASKED.values()):
            arguments = command("end") if (number + len(kind)) % 2 else [*command("1"), "--json"]
            status, out, error = ask(*arguments)
            assert (status, out) == (2, ""), arguments
            assert error.count(said) == 1, (arguments, error)


@pytest.mark.parametrize("kind", GOOD)
def test_session_that_is_odd_is_answered_with_a_remark(folder: Path, ask: Ask, kind: str) -> None:
    make, said = GOOD[kind]
    make(folder)
    for command in ASKED.values():
        status, out, error = ask(*command("end"), "--json")
        assert status == 0, error
        assert json.loads(out.splitlines()[-1])["variable"] == "total"
        assert error.count(said or "memwatch:") == bool(said)


@pytest.mark.parametrize("arguments", [["at", "end"], ["history", "v*", "--json"]])
def test_reader_that_closes_the_pipe_is_no_fault(tmp_path: Path, arguments: list[str]) -> None:
    writer = JournalWriter()
    for number in range(1, 1500):
        writer.watch(number, bytes(8), f"v{number}")
        writer.store(number, 0, bytes(8), struct.pack("<q", 1))
    writer.save(tmp_path)
    with subprocess.Popen(
        [SCRIPT, *arguments, "--session", str(tmp_path)], env=environment(), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as done:  # fmt: skip
        assert done.stdout is not None
        assert done.stderr is not None
        assert done.stdout.readline()
        done.stdout.close()
        assert done.stderr.read() == b""
        done.wait(60)
