"""``memwatch run --break``, ``--when`` and ``--then``: programs that nobody edits stop where they are told to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

MEMWATCH = str(Path(sys.executable).with_name("memwatch"))
ORDERS = """\
config = {"debug": False}
total = 0
def add(n):
    global total
    total += n
    done = 1
    return done
"""
MAIN = """\
import orders
orders.add(4)
orders.add(-9)
orders.config["debug"] = True
print("end", orders.total)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "orders.py").write_text(ORDERS)
    (tmp_path / "main.py").write_text(MAIN)
    return tmp_path


def run(folder: Path, *arguments: str, typed: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [MEMWATCH, "run", "-q", *arguments, "main.py"],
        cwd=folder,
        input=typed,
        stdin=subprocess.DEVNULL if typed is None else None,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_break_watches_a_target_and_stops_at_each_change(folder: Path) -> None:
    done = run(folder, "--break", "orders:total", typed="c\np n, done if 'done' in dir() else None\nc\nw\nc\n")
    assert done.returncode == 0, done.stderr
    assert "(4, None)" in done.stdout
    assert "main.py(3)<module>()" in done.stdout
    for change in ("absent → 0", "0 → 4", "4 → -5"):
        assert f"orders:total {change} at orders.py:" in done.stderr
    assert "end -5" in done.stdout


def test_when_makes_a_break_conditional(folder: Path) -> None:
    done = run(folder, "--break", "orders:total", "--when", "new < 0", typed="p n\nc\n")
    assert done.stdout.count("(Pdb)") == 2
    assert "-9" in done.stdout
    assert "end -5" in done.stdout


def test_then_raise_fails_the_program(folder: Path) -> None:
    done = run(folder, "--watch", "orders:total", "--when", "orders:total: new < 0", "--then", "raise")
    assert done.returncode == 1
    assert "MutationError: orders:total 4 → -5 at orders.py:5 add" in done.stderr
    assert "end" not in done.stdout


def test_then_dump_goes_on(folder: Path) -> None:
    done = run(folder, "--watch", "orders:config", "--when", 'path like "*debug*" and new', "--then", "dump")
    assert (done.returncode, done.stdout) == (0, "end -5\n")
    assert "Current thread MainThread" in done.stderr
    assert '  File "' in done.stderr


def test_the_configuration_says_the_same(folder: Path) -> None:
    (folder / "memwatch.toml").write_text(
        '[watch]\ntargets = ["orders:total"]\nwhen = ["other: old == 3", "orders:total: new < 0"]\nthen = "raise"\n'
    )
    done = run(folder)
    assert done.returncode == 1
    assert "MutationError" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--when", "nwe < 0"), "there is no name 'nwe'; did you mean new?"),
        (("--when", "total:new < 0"), "a blank behind its colon"),
        (("--then", "stop"), "'stop' is not one of"),
        (("--break", "orders:total["), "orders:total["),
    ],
)
def test_what_is_wrong_is_said_before_the_program_starts(folder: Path, arguments: tuple[str, ...], why: str) -> None:
    done = run(folder, *arguments)
    assert done.returncode == 2
    assert why in done.stderr
    assert "end" not in done.stdout


def test_a_condition_that_doesnt_fit_is_said_and_the_program_runs(folder: Path) -> None:
    (folder / "main.py").write_text("from memwatch_core import watch\nx = watch(1)\nx.value = 2\nprint('end')\n")
    done = run(folder, "--when", "new.price < 0")
    assert done.stdout == "end\n"
    assert "isn't judged of x: the value of 'x' has no parts" in done.stderr


def test_a_condition_for_all_takes_those_of_one_name(folder: Path) -> None:
    (folder / "main.py").write_text(
        "from memwatch_core import watch\nx = watch(1)\ny = watch(1)\n"
        "x.value = -1\nprint('x')\ny.value = -1\nprint('end')\n"
    )
    done = run(folder, "--when", "y*: new < 0", "--then", "raise")
    assert done.stdout == "x\n"
    assert "MutationError: y 1 → -1" in done.stderr
