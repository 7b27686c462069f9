"""A session that somebody else made can ask for anything. Whoever reads it comes to an end, without a crash, and with
no more memory than a fixed amount and some times what the session takes on disk."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import hostile_journals
import pytest

HERE = Path(__file__).parent
BASE, TIMES = 400 << 20, 30
READERS = {
    "log": ["-m", "memwatch_core.cli", "log"],
    "json": ["-m", "memwatch_core.cli", "log", "--json"],
    "last": ["-m", "memwatch_core.cli", "log", "--last", "20"],
    "summary": [str(HERE / "summarise.py")],
}
WAYS = {
    "stores_to_an_array": ("log", "last"),
    "large_variables": ("log",),
    "large_variables_written": ("summary",),
    "thousands": ("log", "summary"),
    "sparse": ("log",),
    "places": ("log", "summary"),
    "names_of_names": ("json",),
    "deep_and_huge": ("json",),
    "stores_to_halves": ("log", "json"),
    "parts_of_a_byte": ("log", "json"),
}
"""Of shapes that take longer: how they are read. What make soak reads is larger."""
LONG = {"stores_to_an_array", "large_variables", "large_variables_written", "thousands", "sparse"}
"""Of these, also in make soak."""


def read(how: str, folder: Path, out: Path) -> tuple[int, int, str]:
    """(exit status, peak memory in bytes, standard error) of reading a session; hangs are cut off by their CPU time."""
    peak, errors = out.parent / "peak", out.parent / "err"
    with out.open("wb") as stdout, errors.open("wb") as stderr:
        subprocess.run(
            [sys.executable, str(HERE / "peak.py"), str(peak), sys.executable, *READERS[how], str(folder)],
            stdout=stdout,
            stderr=stderr,
            cwd=out.parent,
            preexec_fn=lambda: (
                resource.setrlimit(resource.RLIMIT_CPU, (300, 300)),
                resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30)),
            ),
            check=True,
        )
    status, memory = map(int, peak.read_text().split())
    return status, memory << 10, errors.read_text()


@pytest.mark.parametrize("shape", hostile_journals.SHAPES)
def test_hostile_session_is_read_to_its_end_in_bounded_memory(shape: str, tmp_path: Path) -> None:
    folder, out = tmp_path / "session", tmp_path / "out"
    size = hostile_journals.make(shape, folder)
    for how in (
        READERS if hostile_journals.SOAK > 1 and shape not in LONG else WAYS.get(shape, ("log", "json", "summary"))
    ):
        status, memory, said = read(how, folder, out)
        assert (status in (0, 1, 2), "Traceback" in said) == (True, False), (how, status, said[-2000:])
        assert memory < BASE + TIMES * size, (how, memory, size)
        if how == "json":
            with out.open("rb") as lines:
                for line in lines:
                    json.loads(line)
