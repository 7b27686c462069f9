"""A copy of a session without values says of arrays which elements were written, and nothing of what they are."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from memwatch_core.journal.stripped_numbers import numbers_of

PROGRAM = """
import numpy as np
from memwatch_core import watch
a = watch(np.ones((3, 4)))
orders = watch(np.zeros(5, np.dtype([("qty", "i4"), ("price", "f8")])))
a[1, 2] = 1234567.5
a[1, 2] = 1234567.75
orders[3]["price"] = 1234567.5
"""


def memwatch(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "memwatch_core.cli", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_copy_without_values_names_elements_and_hides_numbers_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "prog.py").write_text(PROGRAM)
    memwatch(tmp_path, "run", "-q", "prog.py")
    (session,) = (tmp_path / ".memwatch").iterdir()
    memwatch(tmp_path, "strip", session.name, "-o", "copy")
    lines = memwatch(tmp_path, "log", "copy", "--json").splitlines()
    events = [json.loads(line) for line in lines if line.startswith('{"seq"')]
    assert [event["variable"] + event["part"]["name"] for event in events] == ["a[1, 2]", "a[1, 2]", "orders[3].price"]
    assert all(event["part"]["new"]["shown"].startswith("<secret ") for event in events)
    first, second = (bytes.fromhex(event["after"]) for event in events[:2])
    assert sum(x == y for x, y in zip(first, second, strict=True)) <= 2  # the numbers differ in one byte
    assert not [path for path in (tmp_path / "copy").iterdir() if b"1234567" in path.read_bytes()]


RECORD = {"fields": [["q", "<i4", 0], ["p", "<f8", 8], ["pos", ["<f4", [2]], 16], ["t", "|S3", 24]], "size": 28}


@pytest.mark.parametrize(
    ("dtype", "size", "wanted"),
    [
        ("<f8", 32, [(0, 32, 8)]), (">c16", 32, [(0, 32, 8)]), ("<c8", 16, [(0, 16, 4)]), ("|S5", 10, []),
        ("|u1", 10, []), ("<M8[ns]", 16, [(0, 16, 8)]),
        (RECORD, 56, [(0, 4, 4), (8, 16, 8), (16, 24, 4), (28, 32, 4), (36, 44, 8), (44, 52, 4)]),
        ({"fields": [["i", "<i4", 0], ["f", "<f4", 0]], "size": 4}, 4, [(0, 4, 4)]),
        (None, 16, []), (5, 16, []), ({"fields": 5, "size": 4}, 16, []), ({"fields": [["a"]], "size": 4}, 16, []),
        ({"fields": [["a", "<f8", "x"]], "size": 8}, 16, []), ([["<f8"]], 16, []), ({"fields": [], "size": 0}, 16, []),
    ],
    ids=str,
)  # fmt: skip
def test_numbers_of_arrays_are_known(dtype: Any, size: int, wanted: list[tuple[int, int, int]]) -> None:
    assert numbers_of({"serializer": "numpy", "options": {"dtype": dtype}, "size": size}) == wanted
