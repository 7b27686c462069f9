"""Risk: a conformance kit that lets a broken plugin pass, or fails one that is in order."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import broken_plugins
import pytest

from memwatch_plugins.testing import SinkContract

SOAK = bool(os.environ.get("MEMWATCH_SOAK"))
CASES = [case for name, case in vars(broken_plugins).items() if name.startswith("Test")]


def wanted(case: Any) -> tuple[str, ...]:
    return ("",) if SOAK or not case.fails else case.fails


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """What failed and why: class -> test, without its parameters -> message. Of a broken plugin only what must fail is
    run, but for `make soak`."""
    folder = tmp_path_factory.mktemp("kit")
    report = folder / "report.xml"
    ids = [f"::{case.__name__}{f'::{name}' if name else ''}" for case in CASES for name in wanted(case)]
    tests = [broken_plugins.__file__ + each for each in ids]
    suite = [sys.executable, "-m", "pytest", "-q", *tests, f"--junit-xml={report}"]
    options = [
        "-p",
        "unshrunk",
        "-p",
        "no:cacheprovider",
        f"--basetemp={folder / 'base'}",
        "-W",
        "ignore::ResourceWarning",
    ]
    here = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run([*suite, *options], env=here, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    failed: dict[str, dict[str, str]] = defaultdict(dict)
    for case in ElementTree.parse(report).iter("testcase"):
        for found in (*case.iter("failure"), *case.iter("error")):
            kind, name = case.attrib["classname"].rpartition(".")[2], case.attrib["name"].partition("[")[0]
            failed[kind][name] = f"{found.attrib['message']}\n{found.text}"
    return failed


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_broken_plugin_passes(results: dict[str, dict[str, str]], case: Any) -> None:
    failed = results.get(case.__name__, {})
    if not case.fails:
        assert not failed, f"a plugin that is in order fails: {failed}"
    missing = [name for name in case.fails if name not in failed]
    assert not missing, f"these tests don't see what is broken; failed have {sorted(failed)}"


def test_message_does_not_say_what_to_do(results: dict[str, dict[str, str]]) -> None:
    said = {
        "TestSinkThatKeepsBack": "write everything out in flush()",
        "TestSinkWhoseFileIsPublic": "with mode 0600",
        "TestSerializerWhoseDecodeRaises": "decode must not raise on any 8 bytes",
        "TestSerializerThatRefusesWithAnErrorOfItsOwn": "with a TypeError, ValueError or OverflowError",
        "TestSqlDriverThatLeaksAPatch": "sqlite3.enable_callback_tracebacks is another object",
        "TestSqlDriverThatTellsParameters": "is in a file of the session",
    }
    for case, words in said.items():
        assert any(words in message for message in results[case].values()), (case, words, results[case])


def test_unknown_capability_is_ignored() -> None:
    with pytest.raises(TypeError, match=r"TestMine.capabilities: evnets isn't known; there are events, files"):
        type("TestMine", (SinkContract,), {"capabilities": ("evnets",)})


def test_third_partys_test_is_long() -> None:
    example = Path(__file__).parents[2] / "examples/memwatch-sink-example/test_memwatch_sink_example.py"
    assert len(example.read_text().splitlines()) <= 10


def test_third_partys_test_fails_in_its_own_folder(tmp_path: Path) -> None:
    example = Path(__file__).parents[2] / "examples/memwatch-sink-example"
    for file in example.glob("*.py"):
        (tmp_path / file.name).write_text(file.read_text())
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "--confcutdir=."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
