"""Pages of ``memwatch blame``, ``history``, ``at`` and ``diff``: on narrow terminals, of long and odd names, of large
parts."""

from __future__ import annotations

import io
import json
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "journal"))
from journal_writer import JournalWriter, cell

from memwatch_core.cli.group import group
from memwatch_core.printed import width

Ask = Callable[..., tuple[int, str, str]]
ASKED = {
    "blame": lambda what, moment: ["blame", what, "--at", moment],
    "by": lambda what, moment: ["blame", what, "--at", moment, "--by", "site"],
    "history": lambda what, moment: ["history", what, "--until", moment],
    "at": lambda what, moment: ["at", moment, what],
    "diff": lambda what, moment: ["diff", "start", moment, what],
}
NAMES = {
    "plain": "total",
    "long": "accounts_receivable_of_the_" + "very_" * 40 + "large_customer",
    "wide": "注文の合計金額" * 12,
    "combining": "e\u0301" * 60,
    "escapes": "a\tb\nc\x1b[31m\u202ed",
    "quotes": 'it\'s "quoted"',
    "pattern": "what? all*",
    "brackets": "grid[3].x{y}",
}


def journal(name: str) -> JournalWriter:
    """Each kind of variable under one name: a number, bytes, a struct with fields, a place."""
    writer = JournalWriter()
    site = {"file": f"/srv/{'deep/' * 20}orders.py", "line": 41, "function": f"add_{name}"}
    writer.site(1, site["file"], 41, site["function"])
    writer.thread(7, f"worker {name}")
    writer.watch(1, struct.pack("<q", 5), f"n{name}", site=site)
    writer.store(1, 0, struct.pack("<q", 5), struct.pack("<q", 6), site=1)
    writer.watch(2, b"x" * 64, f"b{name}", "")
    writer.store(2, 0, b"x" * 8, b"y" * 8, site=1)
    writer.watch(3, bytes(16), f"s{name}", "struct", options={"format": "<qd", "fields": "qty, price"})
    writer.store(3, 0, bytes(8), struct.pack("<q", 1 << 40), site=1)
    writer.slab(4, f"o{name}", site=site)
    writer.place(4, 0, f".customer.{name}")
    writer.change(4, 0, cell("old " * 10), cell("new" * 19), site=1)
    return writer


class Terminal(io.TextIOWrapper):
    """Standard output as if it were a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Lines that a command shows on a terminal of so many columns."""

    def lines(folder: Path, columns: int, *arguments: str) -> list[str]:
        out = io.BytesIO()
        with monkeypatch.context() as patch:
            patch.setenv("COLUMNS", str(columns))
            patch.setenv("NO_COLOR", "1")
            patch.setattr("sys.stdout", terminal := Terminal(out, encoding="utf-8"))
            group.main([*arguments, "--session", str(folder)], standalone_mode=False)
            terminal.flush()
        return out.getvalue().decode().splitlines()

    return lines


@pytest.mark.parametrize("name", NAMES)
def test_name_is_asked_for_as_it_is_shown(tmp_path: Path, ask: Ask, name: str) -> None:
    journal(NAMES[name]).save(tmp_path)
    shown = {row.split(" = ")[0].split("  ")[-1] for row in ask("at", "end")[1].splitlines()[1:]}
    assert len(shown) >= 4, "each of them"
    for number, what in enumerate(sorted(shown)):
        for command in ASKED if name in ("escapes", "pattern") else [[*ASKED][number % len(ASKED)]]:
            status, out, error = ask(*ASKED[command](what, "end"), "--json")
            assert status == 0, (what, command, error)
            ids = {json.loads(line)["variable_id"] for line in out.splitlines()}
            assert len(ids) == 1, (what, command, out)


@pytest.mark.parametrize(("name", "columns"), [*((name, 80) for name in NAMES), ("long", 40), ("wide", 40)])
def test_no_line_is_wider_than_the_terminal_and_shortened_names_can_be_asked_for(
    tmp_path: Path, ask: Ask, shown: Callable[..., list[str]], name: str, columns: int
) -> None:
    journal(NAMES[name]).save(tmp_path)
    pages = [["at", "end"], ["diff", "start", "end"], ["history", "*"], ["blame", "*"], ["blame", "*", "--each"]]
    for arguments in pages + [["blame", "*", "--by", by] for by in ("thread", "stack")]:
        lines = [line for line in shown(tmp_path, columns, *arguments) if columns > 70 or "|" not in line]
        assert [line for line in lines if width(line) > columns] == []  # bytes take 76 columns
    names = {line.strip().split(" =")[0].split("  ")[-1] for line in shown(tmp_path, columns, "at", "end")}
    short = [each for each in names if each[0] in "nbso" and "…" in each and not each.startswith("b'")]
    assert len(short) >= (3 if name in ("long", "wide") else 0), names
    for each in short:
        assert ask("blame", each, "--json")[0] == 0, each


def test_value_outside_of_the_depth_is_remarked_by_at_and_blame(tmp_path: Path, ask: Ask) -> None:
    writer = JournalWriter()
    writer.variable(1, 24, stop=8)
    writer.metadata(1, name="grid", serializer="struct", options={"format": "<3q"})
    writer.store(1, 0, bytes(8), struct.pack("<q", 7))
    writer.save(tmp_path)
    for arguments in (["at", "end"], ["blame", "grid"]):
        told = " ".join(ask(*arguments)[1].split())
        assert "grid[1:3] = [0, 0]?" in told or "grid[1:3] = (0, 0)?" in told, told
        assert "may have changed unseen: it lies outside of the watch's mutation_depth" in told


def test_difference_of_a_large_part_is_where_it_differs_and_how_it_begins(tmp_path: Path, ask: Ask) -> None:
    size, piece = 1 << 18, 4096
    writer = JournalWriter()
    writer.variable(1, size)
    writer.metadata(1, name="big")
    writer.variable(2, size)
    writer.metadata(2, name="floats", serializer="typedarray", options={"class": "Float64Array"})
    for round_ in (1, 2):
        for at in range(0, size, piece):
            same = round_ == 2 and not 8192 <= at < 200_000
            writer.store(1, at, bytes(piece), (b"a" if same or round_ == 1 else b"b") * piece)
            numbers = struct.pack("<512d", *[1.5 if same or round_ == 1 else 2.5] * 512)
            writer.store(2, at, bytes(piece), numbers)
    writer.save(tmp_path)
    _, out, _ = ask("diff", str(2 * size // piece), "end", "--json")
    rows = {row["variable"]: row for row in map(json.loads, out.splitlines())}
    stop = -(-200_000 // piece) * piece
    assert rows["big"]["part"] == f"[8192:{stop}]"
    assert rows["big"]["old"] == {"shown": f"b'{'a' * 16}…' ({stop - 8192:,} bytes)"}
    assert rows["big"]["new"] == {"shown": f"b'{'b' * 16}…' ({stop - 8192:,} bytes)"}
    assert rows["floats"]["part"] == f"[1024:{stop // 8}]"
    assert rows["floats"]["new"] == {"shown": f"[2.5, 2.5…] ({stop - 8192:,} bytes)"}
    assert "None" not in ask("diff", "start", "end")[1]
