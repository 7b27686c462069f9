"""``memwatch run`` of programs that nobody edits: ``--watch``, ``--track-all-vars``, ``--track-locals``."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from console_script import SCRIPT, environment

from memwatch_core import config
from memwatch_core.errors import ConfigError

Run = Any
ORDERS = """\
import shelf
config = {"debug": False}
class Order:
    total = 0
def add(n):
    fee = n + 1
    return fee
config["debug"] = True
shelf.STATE = add(1)
"""


def test_what_a_command_begins_without_is_said(memwatch: Run, tmp_path: Path) -> None:
    """A command after ``--`` joins with its first watch()."""
    (tmp_path / "late.py").write_text("STATE = 1\nfrom memwatch_core import watch\nwatch({}, name='d')\nSTATE = 2\n")
    options = ["--watch", "late:STATE", "--track-locals"]
    done = memwatch("run", "-q", *options, "--", sys.executable, "late.py")
    assert done.returncode == 0
    said = " ".join(done.stderr.split())
    assert "memwatch: --watch, --track-locals: a command after -- is watched from its first watch() on" in said
    assert "a command after --" not in memwatch("run", "-q", *options, "late.py").stderr
    assert "a command after --" not in memwatch("run", "-q", "--", sys.executable, "late.py").stderr


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    (tmp_path / "orders.py").write_text(ORDERS)
    (tmp_path / "shelf.py").write_text("STATE = 0\n")
    return tmp_path


def events(text: str) -> list[str]:
    found = (re.sub(r" {2,}", "  ", line[14:]) for line in text.splitlines() if not line.startswith("memwatch: "))
    return [" ".join(line.split("  ")[:2]) for line in found if " -> " in line]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--watch", 'orders:config["debug"]'], ['["debug"] absent -> False', '["debug"] False -> True']),
        (["--watch", "__main__:Order.total"], ["__main__:Order.total absent -> 0"]),
        (["--watch", "shelf:STATE", "--watch", "she*:STAT?"], ["absent -> 0", "0 -> 2"]),
        (["--watch", "orders:add():fee"], ["orders:add()#1.fee absent -> 2"]),
        (["--track-all-vars"], ["orders.config absent -> {'debug': False}", "shelf.STATE absent -> 0",
                                'orders.config["debug"] False -> True', "shelf.STATE 0 -> 2"]),
        (["--track-locals"], ["orders:add()#1.n absent -> 1", "orders:add()#1.fee absent -> 2"]),
    ],
)  # fmt: skip
def test_a_program_is_watched_without_editing_it(
    memwatch: Run, orders: Path, options: list[str], told: list[str]
) -> None:
    done = memwatch("run", "-q", *options, "orders.py")
    assert done.returncode == 0, done.stderr
    found = events(done.stderr)
    for each in told:
        assert any(each in line for line in found), (each, done.stderr)


def test_modules_of_others_are_not_tracked(memwatch: Run, orders: Path) -> None:
    done = memwatch("run", "--track-all-vars", "orders.py")
    watched = {line[14:].split(" is watched")[0] for line in done.stderr.splitlines() if " is watched" in line}
    assert watched == {"orders", "shelf"}


def test_modules_are_chosen_by_their_names(memwatch: Run, orders: Path) -> None:
    (orders / "memwatch.toml").write_text('[watch]\ntrack_all_vars = true\nmodules = ["shelf"]\n')
    done = memwatch("run", "orders.py")
    watched = {line[14:].split(" is watched")[0] for line in done.stderr.splitlines() if " is watched" in line}
    assert watched == {"shelf"}


def test_a_target_that_was_never_met_is_said_at_the_end(memwatch: Run, orders: Path) -> None:
    done = memwatch("run", "--watch", "orders:confg", "orders.py")
    assert "orders:confg: never met" in done.stderr
    assert "did you mean orders:config?" in done.stderr


@pytest.mark.parametrize("where", ["option", "file"])
def test_a_wrong_target_is_shown_before_anything_runs(memwatch: Run, orders: Path, where: str) -> None:
    options = []
    if where == "option":
        options = ["--watch", "orders:config[debug]"]
    else:
        (orders / "memwatch.toml").write_text('[watch]\ntargets = ["orders:config[debug]"]\n')
    done = memwatch("run", *options, "orders.py")
    assert done.returncode == 2
    assert "the key in brackets is no literal" in done.stderr
    assert '["debug"]' in done.stderr


SEEN = """\
import importlib, importlib.util, inspect, json, sys, traceback, warnings
def report():
    import depth, lazy_one
    seen = {
        "meta_path": [repr(type(each)) + getattr(each, "__name__", "") for each in sys.meta_path],
        "path_hooks": [str(each)[:30] for each in sys.path_hooks],
        "depth": depth.DEPTH, "frames": depth.FRAMES, "spec": type(depth.__spec__).__name__,
        "loader": type(depth.__loader__).__name__, "same": depth.__spec__.loader is depth.__loader__,
        "code": depth.f.__code__.co_filename == depth.__file__, "cached": depth.__cached__ == depth.__spec__.cached,
        "names": sorted(vars(depth)), "builtins": len(dir(__builtins__)),
    }
    for name in ("fails", "is_wrong", "nowhere", "needs_another"):
        try:
            importlib.import_module(name)
        except BaseException as error:
            text = "".join(traceback.format_exception(error))
            seen[name] = [line.strip() for line in text.splitlines()]
            seen[name + " left"] = name in sys.modules
    importlib.reload(depth)
    seen["reloaded"] = depth.DEPTH
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        import warns
    seen["warned"] = [(each.filename[-9:], each.lineno) for each in found]
    return seen
if __name__ == "__main__":
    print(json.dumps(report()))
"""


@pytest.mark.parametrize("options", [["--watch", "zzz:x"], ["--track-all-vars"], ["--track-locals"]], ids=str)
def test_the_import_system_is_what_it_is_without_us(orders: Path, options: list[str]) -> None:
    files = {
        "seen.py": SEEN,
        "depth.py": "import inspect\nFRAMES = [one.function for one in inspect.stack(0)]\nDEPTH = len(FRAMES)\n"
        "def f(): pass\n",
        "lazy_one.py": "",
        "fails.py": "def g():\n    raise KeyError(5)\ng()\n",
        "is_wrong.py": "def (:\n",
        "needs_another.py": "import nowhere_at_all\n",
        "warns.py": "import warnings\nwarnings.warn('w', stacklevel=2)\n",
    }
    for name, text in files.items():
        (orders / name).write_text(text)
    plain = subprocess.run([sys.executable, "seen.py"], cwd=orders, capture_output=True, text=True, check=True)
    command = [str(SCRIPT), "run", "-q", *options, "seen.py"]
    ours = subprocess.run(command, cwd=orders, capture_output=True, text=True, check=True, env=environment())
    expected, found = json.loads(plain.stdout), json.loads(ours.stdout)
    more = len(found["frames"]) - len(expected["frames"])
    assert found["frames"][: len(expected["frames"])] == expected["frames"], "frames above a module's body"
    for name in ("depth", "reloaded"):
        found[name] -= more  # those that run the program are below it
    del expected["frames"], found["frames"]
    assert {name: each for name, each in found.items() if each != expected[name]} == {}


def test_a_pattern_for_modules_means_no_module_of_ours_and_nothing_else_that_is_imported(
    memwatch: Run, tmp_path: Path
) -> None:
    (tmp_path / "program.py").write_text(
        "import sys, typing\nsys.modules['odd'] = object()\nimport odd, late\nDEBUG = 1\n"
    )
    (tmp_path / "late.py").write_text("DEBUG = 2\n")
    done = memwatch("run", "-q", "--watch", "*:DEBUG", "program.py")
    assert (done.returncode, "is not watched" in done.stderr) == (0, False), done.stderr
    assert {"__main__:DEBUG", "late:DEBUG"} <= {line.partition(" ")[0] for line in events(done.stderr)}
    assert not re.search(r"\bmemwatch_core[.:]", done.stderr)


WRONG = [
    ("--watch", "p:config[", 8, "watch.targets: not a target: the bracket isn't closed"),
    ("--watch", "p:x.", 4, "watch.targets: not a target: a name is expected"),
    ("--break", "p:a b", 3, "watch.breaks: not a target: ' ' can't stand here"),
    ("--break", "p:a ", 3, "watch.breaks: not a target: it begins or ends with a blank"),
    ("--when", "new <", 5, "watch.when: not a condition; docs/breaks.md has the language"),
    ("--when", "old ? 1", 4, "watch.when: not a condition; docs/breaks.md has the language"),
]
RIGHT = {"--watch": ["p:a", "p:b"], "--break": ["p:a", "p:b"], "--when": ["new < 0", "p.*: old > 7"]}


@pytest.mark.parametrize("among", [0, 1, 2])
@pytest.mark.parametrize("way", ["caller", "file", "environment"])
@pytest.mark.parametrize(("option", "text", "column", "said"), WRONG)
def test_a_wrong_one_among_several_is_shown_with_the_place_of_its_mistake(
    tmp_path: Path, option: str, text: str, column: int, said: str, way: str, among: int
) -> None:
    texts = [*RIGHT[option][:among], text, *RIGHT[option][among:]]
    name = said.partition(":")[0].removeprefix("watch.")
    if way == "environment" and text != text.rstrip():
        return  # of blanks around, nothing is left there
    if way == "file":
        (tmp_path / "memwatch.toml").write_text(f"[watch]\n{name} = {json.dumps(texts)}\n")
    variables = {f"MEMWATCH_WATCH_{name.upper()}": "\n".join(texts)} if way == "environment" else {}
    given = {"watch": {name: texts}} if way == "caller" else {}
    with pytest.raises(ConfigError) as raised:
        config.load(directory=tmp_path, environment=variables, overrides=given)
    head, shown, caret, *_ = raised.value.lines
    assert said in head
    assert shown.strip() == text.strip()
    assert caret.index("^") - (len(shown) - len(shown.lstrip())) == column


@pytest.mark.parametrize(("option", "text", "column", "said"), WRONG)
def test_a_wrong_option_is_shown_with_the_place_of_its_mistake(
    memwatch: Run, option: str, text: str, column: int, said: str
) -> None:
    done = memwatch("run", *(word for each in (*RIGHT[option], text) for word in (option, each)), "p.py")
    assert done.returncode == 2
    head, shown, caret, *_ = [line.removeprefix("memwatch: ") for line in done.stderr.splitlines()]
    assert head.startswith(f"{option}: {said}")
    assert caret.index("^") - (len(shown) - len(shown.lstrip())) == column


def test_each_wrong_setting_of_a_file_is_shown_with_its_own_mark(memwatch: Run, tmp_path: Path) -> None:
    (tmp_path / "memwatch.toml").write_text('[watch]\ntargets = ["p:a["]\nbreaks = ["p:b["]\n')
    done = memwatch("config", "--check", "memwatch.toml")
    assert done.returncode == 2
    lines = [line.removeprefix("memwatch: ") for line in done.stderr.splitlines()]
    remedy = "write ] behind the key; quote the target in a shell"
    assert [line for line in lines if "not a target" not in line] == [
        *("  p:a[", "     ^", remedy),
        *("  p:b[", "     ^", remedy),
    ]


def test_of_a_long_target_the_part_with_the_mistake_is_shown(memwatch: Run) -> None:
    text = "p:" + ".".join(f"name{n}" for n in range(40)) + ".x y"
    done = memwatch("run", "--watch", text, "p.py")
    _, shown, caret, _ = [line.removeprefix("memwatch: ") for line in done.stderr.splitlines()]
    assert len(shown) < 80
    assert shown[caret.index("^") :] == " y"
