"""Programs with modules of their own that are called as what MemWatch needs, or that change where modules come from."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

WAYS = {
    "plain": [sys.executable],
    "run": [str(Path(sys.executable).with_name("memwatch")), "run", "--quiet", "--sink", "jsonl"],
}


def outcome(way: str, folder: Path, source: str) -> subprocess.CompletedProcess[str]:
    (folder / "program.py").write_text(source)
    (folder / "memwatch.toml").write_text('[sinks.jsonl]\npath = "events"\n')
    return subprocess.run(
        [*WAYS[way], "program.py"], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("module", ["opcode", "dis"])
def test_program_may_have_a_module_named_as_one_that_names_are_inferred_with(
    way: str, module: str, tmp_path: Path
) -> None:
    (tmp_path / f"{module}.py").write_text("OWN = 7\n")
    source = f"import {module}\nfrom memwatch_core import watch\nacc = watch(0)\nacc += 1\nprint(acc, {module}.OWN)\n"
    done = outcome(way, tmp_path, source)
    assert (done.stdout, done.returncode) == ("1 7\n", 0), done.stderr


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "change",
    [
        "sys.path.insert(0, __import__('pathlib').Path('lib'))",  # what imports ignore
        "sys.path[:] = []",
        "sys.meta_path[:] = []",
    ],
)
def test_program_may_change_where_modules_come_from(way: str, change: str, tmp_path: Path) -> None:
    if way == "plain" and "[:]" in change:
        pytest.skip("the serializers are plugins: without memwatch run they are imported by the first watch()")
    source = f"import sys\nfrom memwatch_core import watch\n{change}\ntotal = watch(0)\ntotal += 1\nprint(total)\n"
    done = outcome(way, tmp_path, source)
    assert (done.stdout, done.returncode) == ("1\n", 0), done.stderr
    if way == "run":
        lines = map(json.loads, (tmp_path / "events").read_text().splitlines())
        assert [line["variable"] for line in lines if "seq" in line] == ["total"]


REIMPORTED = """
import sys
before = set(sys.modules)
from memwatch_core import watch
x = watch(0, name="x")
x += 1
for name in [name for name in sys.modules if name not in before or name.startswith("memwatch")]:
    del sys.modules[name]
from memwatch_core import unwatch as unwatch_again, watch as watch_again
y = watch_again(5, name="y")
y += 1
x += 1
print(x, y, unwatch_again(x))
"""


@pytest.mark.parametrize("way", WAYS)
def test_modules_that_are_taken_out_and_imported_again_are_the_same(way: str, tmp_path: Path) -> None:
    done = outcome(way, tmp_path, REIMPORTED)
    assert (done.stdout, done.returncode) == ("2 6 2\n", 0), done.stderr


def test_statements_asked_for_too_late_are_one_error_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "fractions.py").write_text("OWN = 7\n")
    source = """
from memwatch_core import MemWatchError, watch
x = watch(0)
try:
    watch(0, track_sql=True)
except MemWatchError as error:
    assert "memwatch run --track-sql" in str(error)
    x += 1
print(x)
"""
    done = outcome("run", tmp_path, source)
    assert (done.stdout, done.returncode) == ("1\n", 0), done.stderr
