"""On a terminal no line is wider than it, nothing is broken within a word, and who did it stands there whole."""

from __future__ import annotations

import os
import pty
import struct
import subprocess
import sys
from collections import namedtuple
from fcntl import ioctl
from itertools import product
from pathlib import Path
from termios import TIOCSWINSZ
from typing import Any

import msgspec
import pytest
from rich.cells import cell_len

from memwatch_core.printed import width
from memwatch_core.records import (
    Call,
    Context,
    Event,
    Lost,
    Merged,
    Notice,
    Outcome,
    Part,
    Range,
    Record,
    Site,
    Span,
    Variable,
    Watched,
)
from memwatch_plugins.layout import both_ends, last_part, shorten, wrap
from memwatch_plugins.text import Lines

WIDTHS = (40, 60, 79, 80, 81, 120, 200)
NOW = 1_764_000_000_123_456_789
Order = namedtuple("Order", "qty price customer delivery_address")
NAMES = ("n", "stockroom_inventory_total", "the_longest_name_" * 8, "größe_数量_总计")
CHANGES: tuple[tuple[Any, Any, Part | None], ...] = (
    (1, 2, None),
    (2**62, -(2**62), None),
    (Order(1, 2.5, "Ann", "x"), Order(2, 3.5, "Bob", "y"), None),
    (None, None, Part("[1048575]", 0.125, 1e300)),
    (None, None, Part("[65536:65552]", bytes(16), b"0123456789abcdef")),
    (b"a" * 500 + b"x" * 500, b"a" * 500 + b"y" * 500, None),
    ("数" * 100, "量" * 100, None),
)
SITES = (
    None,
    Site("/srv/app.py", 3, "main"),
    Site("/srv/company/services/ordering/backend/app/domain/orders/pricing_engine.py", 12_345, "apply_discounts"),
    Site("/srv/node_modules/@company/ordering/dist/index.js", 1, "Object.<anonymous>"),
    Site("/srv/x.js", 999, "async OrderRepository.findAllOrdersOfCustomerWithTheirPositions"),
    Site("/srv/x.py", 7, "f" * 90),
)
THREADS = ("MainThread", "ThreadPoolExecutor-12_31")
CONTEXTS = (
    None,
    Context(1, "sqlite3", "SELECT qty FROM orders", "ab"),
    Context(2, "psycopg", "SELECT o.id, o.customer, sum(p.price * p.qty) FROM orders o JOIN positions p ON "
            "p.order_id = o.id WHERE o.day BETWEEN ? AND ? GROUP BY o.id, o.customer ORDER BY o.id", "cd",
            outcome="rolled back"),
)  # fmt: skip


def event(name: str, change: tuple[Any, Any, Part | None], site: Site | None, **more: Any) -> Event:
    values: dict[str, Any] = {
        "seq": 1, "time_ns": NOW, "pid": 7, "runtime": "python", "tid": 8, "thread": "MainThread", "variable": name,
        "variable_id": 3, "path": None, "origin": "announced", "offset": 0, "before": bytes(8), "after": b"\1" * 8,
        "old": change[0], "new": change[1], "changed": True, "exact": True, "site": site, "context": None,
        "part": change[2],
    }  # fmt: skip
    return Event(**(values | more))


EVENTS = [
    event(name, change, site, thread=thread, context=context, changed=changed)
    for name, change, site, thread, context, changed in product(NAMES, CHANGES, SITES, THREADS, CONTEXTS, (True, False))
]
OTHERS: list[Record] = [
    *[
        Merged(NOW, one, 10**6, stores, stores, 8 * stores, name, 0, 8 * stores, spans, elements, old, new)
        for one in EVENTS[:: len(EVENTS) // 20]
        for stores in (2, 10**9)
        for name, spans, elements in (
            ("[0:64]", (Span(0, 64),), stores),
            ("[" + "0:1, " * 40 + "]", (), 5),
            ("[3]", (Span(0, 64),), None),
        )
        for old, new in ((None, None), (Range(0, 0, True), Range(-1e300 / 3, 1e300 / 3, False, True)))
    ],
    Notice(NOW, 7, "8421-python.mwj: python process 8421, tracker uffd-sigbus, and what else there is to say about it"),
    Lost(
        NOW, 7, 1200, "stores that ran and couldn't be recorded: the disk was full, or the program closed the file", "n"
    ),
    *[
        Watched(NOW, Variable(3, name, 7, "python", 8, "int64", {}, watched_at=site), value, part)
        for name, site, (value, _, part) in product(NAMES, SITES, CHANGES)
    ],
]


def test_characters_are_as_wide_as_terminals_show_them() -> None:
    """But for a few that newer versions of Unicode than this Python's have made wide."""
    shown = [character for character in map(chr, range(sys.maxunicode + 1)) if character.isprintable()]
    differ = [hex(ord(character)) for character in shown if width(character) != cell_len(character)]
    assert len(differ) < len(shown) / 400, differ
    assert [width(word) for word in ("นี่คือ", "हिन्दी", "한글", "数", "é", "e\u0301")] == [3, 3, 4, 2, 1, 1]


@pytest.mark.parametrize("columns", WIDTHS)
def test_no_line_is_wider_than_the_terminal_and_who_did_it_stands_in_it_whole(columns: int) -> None:
    for record in EVENTS:
        lines = list(Lines(width=columns).format([record]))
        assert all(width(line) <= columns for line in lines), lines
        shown = "\n".join(lines)
        site = record.site
        if site is None:
            continue
        where = f"{site.file.rpartition('/')[2]}:{site.line}"
        assert width(where) > columns - 15 or where in shown, lines
        assert width(site.function) > columns - 14 or site.function in shown, lines
        assert record.thread in shown


@pytest.mark.parametrize("columns", WIDTHS)
def test_callers_and_the_place_in_a_library_fit_as_well(columns: int) -> None:
    sites = [site for site in SITES if site is not None]
    for record in EVENTS[:: len(EVENTS) // 40]:
        for own in sites:
            called = msgspec.structs.replace(record, own=own, stack=(own, *sites), stack_cut=True)
            lines = list(Lines(width=columns, stacks=True).format([called]))
            assert all(width(line) <= columns for line in lines), lines
            assert sum(line.split()[:1] == ["from"] for line in lines) == len(sites) + 1
            shown = "\n".join(lines)
            for site in (own, *sites):
                where = f"{site.file.rpartition('/')[2]}:{site.line}"
                assert width(where) > columns - 15 or where in shown, lines


@pytest.mark.parametrize("columns", WIDTHS)
def test_lines_that_are_no_events_end_between_words(columns: int) -> None:
    for record in OTHERS:
        lines = list(Lines(width=columns).format([record]))
        assert all(width(line) <= columns for line in lines), lines
        if isinstance(record, Notice | Lost):
            text = record.text if isinstance(record, Notice) else f"LOST 1,200 stores of n: {record.reason}"
            assert " ".join(" ".join(lines).split()[1:]) == text


@pytest.mark.parametrize("columns", WIDTHS)
def test_statement_ends_behind_a_word(columns: int) -> None:
    for record in EVENTS:
        if record.context is None or len(record.context.statement) < 100 or record.variable != "n":
            continue
        text = " ".join(Lines(width=columns).format([record]))
        shown = text[text.index("psycopg:") :].removeprefix("psycopg:").removesuffix("…").lstrip()
        rest = record.context.statement.removeprefix(shown)
        assert record.context.statement.startswith(shown)
        assert not shown or not rest or rest[0] == " " or shown[-1] == ",", (shown, rest)


def test_nothing_is_cut_in_a_pipe_but_values() -> None:
    for record in EVENTS:
        (line,) = Lines().format([record])
        if record.site is not None:
            assert f"{record.site.file}:{record.site.line}  {record.site.function}" in line
        assert record.context is None or line.endswith(record.context.statement)
        assert record.variable in line
        assert record.thread in line


def test_lines_of_one_shape_stand_in_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    shapes = product(("days", "board"), (1, 256, 12_345), ("desk-USD", "main"))
    records = [event(name, (value, value * 3, None), SITES[1], thread=thread) for name, value, thread in shapes]
    lines = list(Lines(width=80).format(records))
    assert len({line.index("srv/app.py") for line in lines}) == 1
    assert len({line.index("main", 40) for line in lines}) == 1


def test_call_and_outcome_lines_are_no_wider() -> None:
    written = [
        event(name, CHANGES[1], SITES[2], variable_id=ident, context=CONTEXTS[2], call=Call("recvfrom", 5, 100))
        for ident, name in enumerate(NAMES)
    ]
    back = Outcome(NOW, 7, "failed: a.very.long.module.name.OfAnExceptionOfTheProgramsOwn", (2,), 2, 4)
    for columns in WIDTHS:
        lines = list(Lines(width=columns).format([*written, back]))
        assert all(width(line) <= columns for line in lines), lines
        assert "recvfrom(5) = 100" in "\n".join(lines)
        assert "4 events" not in lines[-1]


@pytest.mark.parametrize(
    "text", ["Struct(year=2015, low=0.0, high=0.25)", "b'\\x00\\x01\\x02\\x03\\x04\\x05'", "数量" * 20]
)
@pytest.mark.parametrize("limit", [8, 13, 20, 30])
def test_what_is_cut_ends_with_a_word_or_an_escape(text: str, limit: int) -> None:
    short = shorten(text, limit)
    assert width(short) <= limit
    kept = short.removesuffix("…")
    assert text.startswith(kept)
    rest = text.removeprefix(kept)
    if " " in kept[len(kept) // 2 :] or "\\" in text:
        assert not rest or rest[0] in " \\" or kept[-1] in ",;/"


def test_ends_of_paths_and_names_stay() -> None:
    assert last_part("…/ordering/pricing_engine.py:12345", 26) == "…/pricing_engine.py:12345"
    assert last_part("a" * 50, 10) == "…" + "a" * 9
    assert both_ends("abcdefghijklmnop", 9) == "abcd…mnop"
    assert list(wrap("  one two three", 9)) == ["  one two", "three"]
    assert list(wrap("a_word_that_is_wider and", 9)) == ["a_word_that_is_wider", "and"]


def shown_on(columns: int, command: list[str], folder: Path, statuses: tuple[int, ...] = (0, 1)) -> list[str]:
    """What a command shows on a terminal of so many columns."""
    main, other = pty.openpty()
    ioctl(other, TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"} | {"NO_COLOR": "1"}
    child = subprocess.Popen(command, stdout=other, stderr=other, cwd=folder, env=environment)
    os.close(other)
    data = b""
    try:
        while part := os.read(main, 65536):
            data += part
    except OSError:  # nobody has it open any more
        pass
    os.close(main)
    assert child.wait(60) in statuses
    return data.decode().replace("\r", "").splitlines()


PROGRAM = """\
import threading
from memwatch_core import watch

orders_of_the_day = watch((0, 0.0), format="<qd", fields=("quantity", "price"), name="orders_of_the_day")

def recalculate_all_prices_of_the_day():
    orders_of_the_day.quantity = 1_000_000
    orders_of_the_day.price = 1234567.891

worker = threading.Thread(target=recalculate_all_prices_of_the_day, name="recalculation-worker-1")
worker.start()
worker.join()
"""


@pytest.mark.parametrize("columns", [60, 80])
def test_commands_end_their_lines_between_words_on_a_real_terminal(columns: int, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    memwatch = [sys.executable, "-m", "memwatch_core.cli"]
    for arguments in (["run", "program.py"], ["log"], ["log", "--list"], ["config"], ["plugins"], ["doctor"]):
        lines = shown_on(columns, [*memwatch, *arguments], tmp_path)
        wide = [line for line in lines if width(line) > columns]
        words = [word for line in wide for word in line.split() if len(word) > columns - 34]
        assert len(words) >= len(wide), (arguments, wide)  # a path that is wider than a line has no place to end
        if arguments in (["run", "program.py"], ["log"]):
            assert not wide
            assert any("recalculate_all_prices_of_the_day" in line for line in lines)


@pytest.mark.parametrize("columns", [60, 80])
def test_wrong_uses_are_told_in_lines_that_end_between_words(columns: int, tmp_path: Path) -> None:
    for arguments, said in (
        (["log", "--since", "yesterday"], "write how long ago (30s, 5m, 2h, 1d) or a time (2026-11-23T15:04:05)"),
        (["log", "--outcome", "commited"], "or 'failed: ERROR'; did you mean 'committed'?"),
        (["log", "--line", "a.py:1:2"], "write FILE:LINE, FILE:FIRST-LAST, FILE or :LINE"),
        (["rnu", "program.py"], "No such command 'rnu'; did you mean 'run'?"),
        (["program.py", "--its", "arguments"], "To run a program: memwatch run program.py --its arguments"),
    ):
        lines = shown_on(columns, [sys.executable, "-m", "memwatch_core.cli", *arguments], tmp_path, (2,))
        assert not [line for line in lines if width(line) > columns]
        assert said in " ".join(lines)
