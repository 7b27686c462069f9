"""``memwatch log`` finds what was written by another name, and shows it under the one that was asked for."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from console_script import log

sys.path.insert(0, str(Path(__file__).parents[1] / "journal"))
from journal_writer import JournalWriter, cell

PORT, HOST = 0, 64


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Events 1 and 4 of a place that a, b and c have; 2 of one that a alone has; 3 of one of c with a name more than
    recorded; 5 of the first one, which b doesn't have any more."""
    writer = JournalWriter()
    writer.slab(1, "a")
    writer.slab(2, "b")
    writer.slab(3, "c")
    writer.slab(4, "b")
    writer.site(1, "/srv/app.py", 41, "tune")
    writer.place(1, PORT, '.config["port"]')
    writer.alias(1, PORT, [(2, '.config["port"]'), (3, '.a.config["port"]')])
    writer.place(1, HOST, ".host")
    writer.place(3, PORT, ".n")
    writer.alias(3, PORT, [(3, ".self.n")], cut=True)
    writer.change(1, PORT, cell(1), cell(2), site=1)
    writer.change(1, HOST, cell("x"), cell("y"), site=1)
    writer.change(3, PORT, cell(1), cell(2), site=1)
    writer.change(1, PORT, cell(2), cell(3), site=1)
    writer.alias(1, PORT, [(3, '.a.config["port"]')])
    writer.change(1, PORT, cell(3), cell(4), site=1)
    return writer.save(tmp_path_factory.mktemp("aliases"))


@pytest.mark.parametrize("last", [[], ["--last", "99"]], ids=["all", "last"])
@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (["--variable", "a"], {1: "a", 2: "a", 4: "a", 5: "a"}),
        (["--variable", "b"], {1: "b", 4: "b"}),
        (["--variable", "b#2"], {1: "b", 4: "b"}),
        (["--variable", "b#4"], {}),
        (["--variable", 'b.config["port"]'], {1: "b", 4: "b"}),
        (["--variable", "b.config"], {1: "b", 4: "b"}),
        (["--variable", "c"], {1: "c", 3: "c", 4: "c", 5: "c"}),
        (["--variable", "b", "--variable", "c"], {1: "b", 3: "c", 4: "b", 5: "c"}),
        (["--path", "b.config*"], {1: "b", 4: "b"}),
        (["--path", "b.*"], {1: "b", 4: "b"}),
        (["--path", 'c.*["port"]'], {1: "c", 4: "c", 5: "c"}),
        (["--path", "*.config*"], {1: "a", 4: "a", 5: "a"}),
        (["--path", "b.*", "--variable", "a"], {1: "a", 4: "a"}),
        (["--path", "b.*", "--variable", "b"], {1: "b", 4: "b"}),
        (["--path", "b.*", "--line", ":41"], {1: "b", 4: "b"}),
        (["--path", "b.*", "--line", ":42"], {}),
        (["--path", "c.self.*"], {3: "c"}),
        ([], {1: "a", 2: "a", 3: "c", 4: "a", 5: "a"}),
    ],
)
def test_filter_finds_what_was_written_by_another_name(
    recorded: Path, filters: list[str], expected: dict[int, str], last: list[str]
) -> None:
    """A table shows the name that was asked for, JSON the event as it is."""
    _, out, _ = log(recorded, "--json", *filters, *last)
    lines = [line for line in map(json.loads, out.splitlines()) if "seq" in line]
    assert {line["seq"]: line["variable"] for line in lines} == {seq: "c" if seq == 3 else "a" for seq in expected}
    _, out, _ = log(recorded, *filters, *last)
    shown = [line.split()[1] for line in out.splitlines() if "app.py:41" in line]
    assert [name.split("#")[0].partition(".")[0] for name in shown] == list(expected.values())


def test_table_shows_the_path_that_was_asked_for(recorded: Path) -> None:
    _, out, _ = log(recorded, "--path", "c.a.*")
    assert [line.split()[1] for line in out.splitlines()] == ['c.a.config["port"]'] * 3


@pytest.mark.parametrize(
    ("filters", "unsure"),
    [
        (["--variable", "a"], True),
        (["--path", "b.*"], True),
        (["--variable", "c"], False),
        (["--line", ":41"], False),
        (["--path", "*"], False),
    ],
)
def test_filter_that_may_have_missed_events_says_so(recorded: Path, filters: list[str], unsure: bool) -> None:
    _, _, said = log(recorded, *filters)
    assert ("more names lead to them than are recorded" in said) == unsure


def test_filter_without_a_match_suggests_other_names_too(recorded: Path) -> None:
    status, _, said = log(recorded, "--path", "c.a.port*")
    assert status == 1
    assert "c.a.config" in said


def test_program_is_told_what_it_shares_and_what_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        textwrap.dedent("""
            from collections import deque
            from memwatch_core import watch

            class Service:
                def __init__(self, config):
                    self.config = config
                    self.queue = deque()

            defaults = {"port": 1}
            a, b = Service(defaults), Service(defaults)
            watch(a, name="a")
            watch(b, name="b")
            for port in range(3):
                a.config["port"] = port
        """)
    )

    def memwatch(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "memwatch_core.cli", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    run = memwatch("run", "app.py")
    assert run.returncode == 0, run.stderr
    said = [" ".join(line.split()) for line in (run.stdout + run.stderr).splitlines()]
    for line in (
        "a.queue is not followed: changes in it aren't told (deque)",
        "a: 1 object is not followed: 1 deque",
        "b: 1 object is not followed: 1 deque",
        "b: 3 writes to what it shares are told under a",
    ):
        assert any(line in each for each in said), (line, said)
    assert any("3 events on 2 variables" in each for each in said), said
    for filters in (["--variable", "b"], ["--path", "b.config*"]):
        out = memwatch("log", *filters).stdout
        assert out.count('b.config["port"]') == 3, out
        assert 'a.config["port"]' not in out
    lines = [json.loads(line) for line in memwatch("log", "--json").stdout.splitlines()]
    assert [line["aliases"] for line in lines if "seq" in line] == [
        [{"variable": "b", "variable_id": 2, "name": '.config["port"]'}]
    ] * 3
