"""``memwatch log`` of objects that are watched where they lie: filters by place, and what a table looks like."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from console_script import log
from hostile_text import HOSTILE, check

sys.path.insert(0, str(Path(__file__).parents[1] / "journal"))
from journal_writer import JournalWriter, cell

from memwatch_core.cli.group import group

STEPS: list[tuple[int, int, object, object]] = [
    (1, 0, ..., 3),
    (1, 64, ..., "Ada"),
    (1, 128, ..., 9.5),
    (3, 0, ..., 5432),
    (3, 64, ..., ("['a', 'b']",)),
    (1, 0, 3, 4),
    (4, 64, ..., None),
    (3, 0, 5432, ...),
    (1, 128, 9.5, ("<decimal.Decimal>",)),
]
"""Of order, of config, and of order's second slab."""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    writer = JournalWriter()
    writer.slab(1, "order", site={"file": f"{os.getcwd()}/orders.py", "line": 9, "function": "main"})
    writer.watch(2, bytes(8), "total")
    writer.slab(3, "config", shown="dict")
    writer.slab(4, "order", first=1)
    writer.site(1, f"{os.getcwd()}/orders.py", 41, "birthday")
    writer.thread(7, "MainThread")
    paths = {(1, 0): ".customer.age", (1, 64): ".customer.name", (1, 128): ".total", (3, 0): '["db"]["port"]',
             (3, 64): '["db"]["hosts"]', (4, 64): ".partner.age"}  # fmt: skip
    for (ident, offset), path in paths.items():
        writer.place(ident, offset, path)
    for ident, offset, before, after in STEPS:
        found = {"origin": 5, "flags": 3} if (ident, offset, before) == (1, 128, 9.5) else {"site": 1}
        writer.change(ident, offset, cell(before), cell(after), **found)
    writer.store(2, 0, bytes(8), b"\1" + bytes(7), site=1)
    return writer.save(tmp_path_factory.mktemp("places"))


@pytest.mark.parametrize("last", [[], ["--last", "99"]], ids=["all", "last"])
@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (["--path", "order.*.age"], [1, 6, 7]),
        (["--path", "order.customer.age"], [1, 6]),
        (["--path", "*.age", "--path", "total"], [1, 6, 7, 10]),
        (["--path", 'config["db"]*'], [4, 5, 8]),
        (["--path", 'config["db"]["port"]'], [4, 8]),
        (["--path", "*"], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        (["--path", "order.customer.ag?"], [1, 6]),
        (["--path", "order"], []),
        (["--path", "order.*", "--variable", "config"], []),
        (["--path", "order.*", "--line", ":41"], [1, 2, 3, 6, 7]),
        (["--variable", "order"], [1, 2, 3, 6, 7, 9]),
        (["--variable", "ord*"], [1, 2, 3, 6, 7, 9]),
        (["--variable", "order.customer.age"], [1, 6]),
        (["--variable", "order.customer"], [1, 2, 6]),
        (["--variable", "order.customer.age.years"], [1, 6]),
        (["--variable", "order.custom"], []),
        (["--variable", "order.*.age"], [1, 6, 7]),
        (["--variable", 'config["db"]'], [4, 5, 8]),
        (["--variable", 'config["db"]["port"]', "--variable", "total"], [4, 8, 10]),
    ],
)
def test_events_of_a_place_are_found_by_path_and_by_variable(
    recorded: Path, filters: list[str], expected: list[int], last: list[str]
) -> None:
    status, out, said = log(recorded, "--json", *filters, *last)
    assert status == (0 if expected else (0, 1)[said.count("\n") > 1]), said
    assert [line["seq"] for line in map(json.loads, out.splitlines()) if "seq" in line] == expected


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (["--variable", 'config["debug"]'], [1, 3]),
        (["--variable", "order.limit"], [2, 4]),
        (["--path", "order.limit"], [2]),
        (["--path", "order.*"], [2, 4]),
        (["--path", 'order.limit["a"]'], [4]),
        (["--path", "config*"], [1, 3]),
        (["--variable", "order.*"], [2, 4]),
    ],
)
def test_places_that_are_watched_alone_are_found_by_their_names(
    tmp_path: Path, filters: list[str], expected: list[int]
) -> None:
    writer = JournalWriter()
    writer.slab(1, 'config["debug"]', shown="False")
    writer.slab(2, "order.limit", shown="absent")
    writer.place(1, 0, "")
    writer.place(2, 0, "")
    writer.place(2, 64, '["a"]')
    writer.change(1, 0, cell(False), cell(True))
    writer.change(2, 0, cell(), cell(("{'a': 1}",)))
    writer.change(1, 0, cell(True), b"\0\0\4\0")
    writer.change(2, 64, cell(1), cell(2))
    path = writer.save(tmp_path)
    _, out, _ = log(path, "--json", *filters)
    assert [line["seq"] for line in map(json.loads, out.splitlines()) if "seq" in line] == expected
    lines = [" ".join(line.split()[1:]) for line in log(path)[1].splitlines() if "mwj" not in line]
    assert [line.removesuffix(" (unknown place) thread 7") for line in lines] == [
        'config["debug"] is watched: False (unknown place)',
        "order.limit is watched: absent (unknown place)",
        'config["debug"] False -> True',
        "order.limit absent -> {'a': 1}",
        'config["debug"] True -> absent',
        'order.limit["a"] 1 -> 2',
    ]


@pytest.mark.parametrize("wrong", ["", " ", ".age", "[0]", "]", "order.", "order["])
def test_pattern_that_can_be_no_path_is_an_error_with_the_format(recorded: Path, wrong: str) -> None:
    status, out, said = log(recorded, "--path", wrong)
    assert (status, out) == (2, "")
    assert f"--path: {wrong!r}: write a variable's name and a path" in said


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        (["--path", "order.customer.agee"], "nothing was written to such a place; did you mean 'order.customer.age'?"),
        (
            ["--path", "zzz*"],
            "nothing was written to such a place; there are order, total, config, order.customer.age, ",
        ),
        (["--variable", "order.zzz"], "nothing was written to this part of order"),
    ],
)
def test_place_that_is_not_there_is_named_with_those_that_are(recorded: Path, filters: list[str], said: str) -> None:
    status, out, text = log(recorded, *filters)
    assert (status, out) == (1, "")
    assert f"memwatch: {filters[0]} {filters[1]!r}: {said}" in text


def test_table_reads_as_one_would_write_it(recorded: Path) -> None:
    status, out, said = log(recorded)
    assert (status, said) == (0, "")
    lines = [" ".join(line.split()[1:]) for line in out.splitlines() if "mwj" not in line]
    assert lines == [
        "order is watched: Order orders.py:9 main",
        "total is watched: 0 (int64) (unknown place)",
        "config is watched: dict (unknown place)",
        "order.customer.age absent -> 3 orders.py:41 birthday MainThread",
        "order.customer.name absent -> 'Ada' orders.py:41 birthday MainThread",
        "order.total absent -> 9.5 orders.py:41 birthday MainThread",
        'config["db"]["port"] absent -> 5432 orders.py:41 birthday MainThread',
        "config[\"db\"][\"hosts\"] absent -> ['a', 'b'] orders.py:41 birthday MainThread",
        "order.customer.age 3 -> 4 orders.py:41 birthday MainThread",
        "order.partner.age absent -> None orders.py:41 birthday MainThread",
        'config["db"]["port"] 5432 -> absent orders.py:41 birthday MainThread',
        "order.total 9.5 -> <decimal.Decimal> found: changed unseen -",
        "total 0 -> 1 orders.py:41 birthday MainThread",
    ]


def test_path_is_in_the_help_and_completed(recorded: Path) -> None:
    assert "--path PATTERN" in log(recorded, "--help")[1]
    done = CliRunner().invoke(
        group, [], prog_name="memwatch",
        env={"_MEMWATCH_COMPLETE": "bash_complete", "COMP_WORDS": "memwatch log --pa", "COMP_CWORD": "2"},
    )  # fmt: skip
    assert "plain,--path" in done.stdout


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_no_path_value_or_kind_of_an_object_steers_a_terminal(tmp_path: Path, text: str) -> None:
    short = text.encode("utf-8", "surrogatepass")[:40].decode("utf-8", "ignore")
    writer = JournalWriter()
    writer.slab(1, f"o{text}", shown=text)
    writer.place(1, 0, f'["{text}"]')
    for value in (short, (short,), short.encode()):
        writer.change(1, 0, cell(), cell(value))
        writer.store(1, 0, cell(value), bytes(len(cell(value))), origin=5, flags=3)
    path = writer.save(tmp_path)
    for arguments in ([], ["--json"], ["--path", "*"], ["--path", f"x{text}"]):
        _, out, said = log(path, *arguments)
        check((out + said).encode())
