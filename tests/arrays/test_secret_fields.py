"""A secret that is a field of a record is nowhere in the journal, whatever kind of array the record stands in."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """\
import ctypes
import numpy as np
from memwatch_core import watch

class Card(ctypes.Structure):
    _fields_ = [("x", ctypes.c_int), ("number", ctypes.c_double)]

class Customer(ctypes.Structure):
    _fields_ = [("card", Card)]

card = [("x", "i4"), ("number", "f8")]
a = watch(np.zeros(3, card))
b = watch(np.zeros((2, 2), [("card", card, (2,)), ("pin", "i4")]))
c = watch(Card())
d = watch((Customer * 3)())
a["number"][1] = 31337.25
b["card"]["number"][1, 1] = 31337.25
c.number = 31337.25
d[2].card.number = 31337.25
plain = watch(np.zeros(3, [("x", "i4"), ("numbers", "f8")]))
plain["numbers"] = 1.5
"""


@pytest.mark.parametrize("patterns", [["*.number"], ["?.number", "?[*].number", "*.card.number"], ["*NUMBER"]])
def test_a_field_of_a_secrets_name_hides_the_array(patterns: list[str], tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    secret = [word for pattern in patterns for word in ("--secret", pattern)]
    done = subprocess.run(
        [sys.executable, "-m", "memwatch_core.cli", "run", *secret, "program.py"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    (journal,) = (tmp_path / ".memwatch").glob("*/*.mwj")
    assert struct.pack("<d", 31337.25) not in journal.read_bytes()
    assert struct.pack("<d", 1.5) in journal.read_bytes()
    assert "31337" not in done.stdout + done.stderr
    for place in ("a[1].number", "b[1, 1].card", "c.number", "d[2].card.number"):
        assert re.search(rf"{re.escape(place)}\S* +<secret ", done.stderr), done.stderr
