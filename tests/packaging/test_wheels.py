"""Risk: what works in the checkout doesn't work installed. All of this runs from wheels, outside of the checkout."""

from __future__ import annotations

import json
import re
import shlex
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from built_wheels import ROOT, Environment, Wheels

PLUGINS = sorted(path.parent.name for path in (ROOT / "plugins").glob("*/pyproject.toml"))
PROGRAM = """\
import sqlite3
from memwatch_core import watch

connection = sqlite3.connect("orders.db")
connection.executescript("CREATE TABLE orders (day TEXT, price INT); INSERT INTO orders VALUES ('2026-11-24', 7)")
total = watch(0)
for (price,) in connection.execute("SELECT price FROM orders WHERE day = '2026-11-24'"):
    total += price
connection.close()
"""
USUAL = {"scalars", "bytes", "struct", "console", "sqlite3"}
STATEMENT = "SELECT price FROM orders WHERE day = ?"


@pytest.fixture(scope="module")
def installed(environment: Callable[..., Environment]) -> Environment:
    made = environment("memwatch-core", "memwatch-serializer-scalars", "memwatch-sql-sqlite3")
    (made.folder / "program.py").write_text(PROGRAM)
    settings = '[plugins]\nserializers = ["scalars"]\nsql = ["sqlite3"]\nsinks = []\n\n[watch]\ntrack_sql = true\n'
    (made.folder / "memwatch.toml").write_text(settings)
    return made


def plugins(environment: Environment) -> dict[str, dict[str, Any]]:
    done = environment("memwatch", "plugins", "--json")
    assert (done.returncode, done.stderr) == (0, ""), done
    return {plugin["name"]: plugin for plugin in map(json.loads, done.stdout.splitlines())}


def test_distribution_has_no_wheel(wheels: Wheels) -> None:
    built = {path.name.split("-")[0]: path.name for path in wheels.ours.glob("*.whl")}
    assert sorted(built) == sorted(name.replace("-", "_") for name in ["memwatch", "memwatch-core", *PLUGINS])
    tag = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    core = built.pop("memwatch_core")
    assert f"-{tag}-{tag}-manylinux" in core, "the core is bound to the Python that it was built with, and says so"
    assert all(name.endswith("-py3-none-any.whl") for name in built.values())


def test_installed_core_is_that_of_the_checkout(installed: Environment) -> None:
    done = installed("python", "-c", "import memwatch_core.native.core, memwatch_plugins as p; print(p.__file__)")
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(installed.prefix)


def test_plugin_from_a_wheel_is_not_loaded(installed: Environment) -> None:
    listed = plugins(installed)
    for name, distribution in (("sqlite3", "memwatch-sql-sqlite3"), ("scalars", "memwatch-serializer-scalars")):
        found = listed[name]
        assert (found["state"], found["distribution"], found["version"]) == ("loaded", distribution, "0.1.0"), found
    assert set(listed) == {"sqlite3", "scalars"}, "nothing of the checkout's is found"


def test_event_lacks_its_statement_when_installed(installed: Environment) -> None:
    done = installed("memwatch", "run", "--quiet", "program.py")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    lines = map(json.loads, installed("memwatch", "log", "--json").stdout.splitlines())
    (event,) = [line for line in lines if "seq" in line]
    assert (event["variable"], event["old"], event["new"]) == ("total", 0, 7)
    assert event["site"]["line"] == 8
    assert (event["context"]["driver"], event["context"]["statement"]) == ("sqlite3", STATEMENT)


def test_first_screen_of_the_readme_works_from_a_bare_install(environment: Callable[..., Environment]) -> None:
    text = (ROOT / "README.md").read_text()
    programs = dict(re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```", text, re.M | re.S))
    (wanted,) = re.findall(r"^pip install (\w+)$", text, re.M)
    commands = re.findall(r"^(memwatch \w+ .*?) +#", text, re.M)[:2]
    event = r"order\.qty  +1 -> 6  +prog\.py:7\b"
    made = environment(wanted)
    for name in ("prog.py", "total.py"):
        (made.folder / name).write_text(f"# {name}\n{programs[name]}")
    for command in commands:
        done = made(*shlex.split(command))
        assert done.returncode == 0, done
        assert re.search(event, done.stdout + done.stderr), done
    assert {name for name, plugin in plugins(made).items() if plugin["state"] == "loaded"} == USUAL


@pytest.fixture(scope="module")
def core_alone(environment: Callable[..., Environment]) -> Environment:
    made = environment("memwatch-core")
    for name in ("program.py", "app.js"):
        (made.folder / name).write_text("print('it ran')\n")
    return made


@pytest.mark.parametrize(
    ("command", "remedy"),
    [
        ("program.py", "pip install memwatch "),
        ("-m program", "pip install memwatch "),
        ("-- python3 program.py", "pip install memwatch "),
        ("app.js", 'pip install "memwatch[node]"'),
        ("-- node app.js", 'pip install "memwatch[node]"'),
        ("-- /usr/bin/nodejs app.js", 'pip install "memwatch[node]"'),
    ],
)
def test_core_alone_says_at_the_start_what_to_install(core_alone: Environment, command: str, remedy: str) -> None:
    done = core_alone("memwatch", "run", *command.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("memwatch: ")
    assert done.stderr.count("\n") == 1
    assert remedy in done.stderr


def test_other_commands_say_what_the_core_alone_lacks(core_alone: Environment) -> None:
    assert "pip install memwatch brings" in core_alone("memwatch", "plugins").stdout
    done = core_alone("memwatch", "doctor")
    assert done.returncode == 1
    assert "-> pip install memwatch" in done.stdout
    done = core_alone("python", "-c", "from memwatch_core import watch; x = watch(0)")
    assert done.stderr.splitlines()[-1].endswith("None is loaded: pip install memwatch, and see [plugins] serializers")


def test_missing_sink_is_said_and_the_program_goes_on(installed: Environment) -> None:
    (installed.folder / "defaults.toml").write_text("")
    (installed.folder / "other.py").write_text("print('it ran')\n")
    done = installed("memwatch", "run", "--quiet", "--config", "defaults.toml", "--folder", "elsewhere", "other.py")
    assert (done.returncode, done.stdout) == (0, "it ran\n")
    assert done.stderr.count("\n") == 1
    assert "pip install memwatch-sink-console" in done.stderr


def test_kit_wants_what_its_extra_brings(installed: Environment, wheels: Wheels) -> None:
    extra = re.compile("(hypothesis|pytest)>=[0-9.]+ *; extra == .testing.")
    assert len([line for line in wheels.metadata("memwatch-core")["Requires-Dist"] if extra.fullmatch(line)]) == 2
    done = installed("python", "-c", "import memwatch_plugins.testing")
    assert "No module named 'pytest'" in done.stderr


def test_license_and_types_are_left_out(installed: Environment) -> None:
    (site,) = (installed.prefix / "lib").glob("python3*/site-packages")
    for name in ("memwatch_core", "memwatch_plugins", "memwatch_serializer_scalars", "memwatch_sql_sqlite3"):
        assert (site / name / "py.typed").is_file(), f"{name} has no py.typed"
    assert list(site.glob("memwatch_core-0*.dist-info/licenses/LICENSE"))


def test_decoder_comes_without_its_license(installed: Environment) -> None:
    (site,) = (installed.prefix / "lib").glob("python3*/site-packages")
    carried = {path.name.split("-")[0] for path in site.glob("memwatch_core.libs/*.so*")}
    assert "libZydis" in carried
    assert carried <= {"libZydis", "libZycore"}, "each needs a license here"
    (licenses,) = site.glob("memwatch_core-0*.dist-info/licenses/licenses")
    for name in ("Zydis", "Zycore"):  # of the second, at least what its headers have inline
        text = (licenses / f"{name}.txt").read_text()
        assert "Permission is hereby granted, free of charge" in text
        assert "Florian Bernd" in text


def test_absent_library_is_more_than_a_line(environment: Callable[..., Environment]) -> None:
    optional = {
        path.parent.name: extras
        for path in (ROOT / "plugins").glob("memwatch-sql-*/pyproject.toml")
        if (extras := tomllib.loads(path.read_text())["project"].get("optional-dependencies"))
    }
    made = environment("memwatch-core", "memwatch-serializer-scalars", *optional)
    names = [distribution.removeprefix("memwatch-sql-") for distribution in optional]
    (made.folder / "program.py").write_text("from memwatch_core import watch\ntotal = watch(0)\ntotal += 1\n")
    (made.folder / "memwatch.toml").write_text(f"[plugins]\nsql = {names}\nsinks = []\n")
    listed = plugins(made)
    for distribution, name in zip(optional, names, strict=True):
        assert listed[name]["state"] == "target absent", listed[name]
        assert listed[name]["reason"].endswith(f" isn't installed: pip install {distribution}[{name}]"), listed[name]
    done = made("memwatch", "run", "--quiet", "program.py")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
