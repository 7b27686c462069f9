"""Objects that are watched where they lie: what their journal's cells and paths come to, with both loops."""

from __future__ import annotations

import math
import struct
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "journal"))

from decoding import decode
from journal_writer import CONTENT, CONTEXT, METADATA, OUTCOME, PLACE, JournalWriter, cell

from memwatch_core.host import decoder as module
from memwatch_core.host import kept
from memwatch_core.host.places import UNREADABLE, value
from memwatch_core.host.sieve import Sieve
from memwatch_core.host.summary import Summary
from memwatch_core.journal import stores
from memwatch_core.records import ABSENT, Event, Lost, Notice, Part, Record, Shown, Site, Unwatched, Watched
from memwatch_core.rendering.jsonlines import encode, record_json
from memwatch_core.rendering.text import Lines


@pytest.fixture(autouse=True, params=["C", "Python"])
def _loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "C" and stores.Stores is stores.PythonStores:
        pytest.fail("memwatch_core.journal._reader isn't built: run `python setup.py build_ext --inplace`")
    if request.param == "Python":
        monkeypatch.setattr(module, "Stores", stores.PythonStores)


def events(records: list[Record]) -> list[Event]:
    return [record for record in records if isinstance(record, Event)]


def losses(records: list[Record]) -> list[str]:
    return [record.reason for record in records if isinstance(record, Lost)]


def told(records: list[Record]) -> list[tuple[str, Any, Any, str | None]]:
    """Of each event: name with path, before, after, operation."""
    assert all(event.old is None and event.new is None for event in events(records))
    return [
        (event.variable + event.part.name, event.part.old, event.part.new, event.operation)
        for event in events(records)
        if event.part is not None
    ]


def shown(records: list[Record], **options: Any) -> list[str]:
    """Lines without their time."""
    lines = Lines(**options).format([record for record in records if not isinstance(record, Notice)])
    return [line[14:].rstrip() for line in lines]


LONG = "x" * 48
CELLS: list[tuple[bytes, Any]] = [
    (cell(), ABSENT),
    (b"", ABSENT),
    (bytes(64), ABSENT),
    (cell(None), None),
    (cell(False), False),
    (cell(True), True),
    (cell(5), 5),
    (cell(-(2**63)), -(2**63)),
    (cell(2**63 - 1), 2**63 - 1),
    (cell(1.5), 1.5),
    (cell(-math.inf), -math.inf),
    (cell(""), ""),
    (cell("é\udc80😀"), "é\udc80😀"),
    (cell("x" * 60), "x" * 60),
    (cell(b""), b""),
    (cell(b"\0\xff"), b"\0\xff"),
    (cell(("[1, 2, 3]",)), Shown("[1, 2, 3]")),
    (cell(LONG, cut=(7, 1234)), Shown(f"'{LONG}…' (1,234 characters)")),
    (cell("it's" * 2, cut=(7, 99)), Shown('"it\'sit\'s…" (99 characters)')),
    (cell("é" * 9, cut=(7, 99))[:-1], UNREADABLE),
    (bytes([6, 15, 1, 0]) + bytes(12) + "aé".encode(), Shown("'aé…' (0 characters)")),
    (bytes([6, 14, 1, 0]) + bytes(12) + "aé".encode(), Shown("'a…' (0 characters)")),
    (cell(b"\0" * 48, cut=(7, 5000)), Shown("b'" + "\\x00" * 48 + "…' (5,000 bytes)")),
    (cell(("<orders.Or…",), cut=(7, 0)), Shown("<orders.Or…")),
    (bytes([9, 8, 0, 0, *range(0x10, 0x18)]), Shown("<secret 101112131415>")),
    (bytes([10, 8, 2, 0, *range(0x10, 0x18)]), Shown("<secret 101112131415>")),
    (bytes([9, 2, 0x30, 0x12, 0xAB, 0xCD]), Shown("<secret 123abcd>")),
    # what nobody writes
    (bytes([11, 0, 0, 0]), UNREADABLE),
    (bytes([9, 9, 0, 0]) + bytes(8), UNREADABLE),
    (bytes([255] * 64), UNREADABLE),
    (bytes([4, 0, 0, 0]), UNREADABLE),
    (bytes([4, 7, 0, 0]) + bytes(60), UNREADABLE),
    (bytes([4, 8, 0, 0]) + bytes(7), UNREADABLE),
    (bytes([5, 9, 0, 0]) + bytes(60), UNREADABLE),
    (bytes([4]), UNREADABLE),
    (bytes([6, 61, 0, 0]) + b"x" * 60, UNREADABLE),
    (bytes([7, 255, 0, 0]) + b"x" * 60, UNREADABLE),
    (bytes([6, 1, 0, 0, 255]), UNREADABLE),
    (bytes([8, 2, 0, 0, 0xC3, 0x28]), UNREADABLE),
    (bytes([6, 3, 1, 0]) + bytes(60), UNREADABLE),
    (bytes([6, 13, 1, 0]) + bytes(12) + b"\xff", UNREADABLE),
    (bytes([4, 12, 1, 0]) + bytes(60), UNREADABLE),
    (bytes([1, 9, 255, 255]), None),
    (bytes([4, 8, 0xFE, 0xFF]) + struct.pack("<q", 7), 7),
    (bytes([6, 1, 0, 1, 65]), "A"),
    (bytes([8, 3, 2, 0]) + b"[1]", Shown("[1]")),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(CELLS)))
def test_cell_is_decoded_as_the_page_says_and_what_makes_no_sense_is_no_value(number: int, tmp_path: Path) -> None:
    """Alone, and by the loop, whose fast way is its own."""
    data, expected = CELLS[number]
    assert (type(value(data)), value(data)) == (type(expected), expected)
    writer = JournalWriter()
    writer.slab(1, "order")
    writer.place(1, 64, ".x")
    writer.store(1, 64, bytes(len(data)), data)
    records = decode(writer, tmp_path)
    ((name, old, new, operation),) = told(records)
    assert (name, old, type(new), new) == ("order.x", ABSENT, type(expected), expected)
    flags = data[2] if len(data) >= 4 else 0
    alone = "set" if expected is ABSENT else "add"
    assert operation == ("clear" if flags & 4 else "replace" if flags & 8 else alone)
    assert not losses(records)
    for text in (*shown(records), *shown(records, width=80)):
        assert text.isprintable()
    assert encode(records) == b"".join(record_json(record) + b"\n" for record in records)


@settings(deadline=None)
@given(st.binary(max_size=64))
def test_no_bytes_of_a_cell_are_too_odd(data: bytes) -> None:
    assert isinstance(value(data), bool | int | float | str | bytes | Shown | None)
    assert value(data) is ABSENT or not data or data[0] & 0x3F != 0


def test_places_are_told_by_path_value_and_operation(tmp_path: Path) -> None:
    writer = JournalWriter()
    writer.slab(12, "order", path=None, site={"file": "a.py", "line": 3, "function": "main"})
    writer.site(1, "orders.py", 41, "birthday")
    writer.thread(7, "MainThread")
    writer.place(12, 0, ".customer.age")
    writer.place(12, 64, '["db"]["port"]')
    writer.change(12, 0, cell(), cell(3), site=1)
    writer.change(12, 0, cell(3), cell(4), site=1)
    writer.change(12, 64, cell(), cell("a long text"), site=1)
    writer.change(12, 64, cell("a long text"), cell(5432), site=1)
    writer.change(12, 0, cell(4), cell(4), site=1)
    writer.store(12, 64, cell(5432), bytes(12), site=1)
    writer.change(12, 0, cell(4), cell(("[1, …]",)), origin=5, flags=3)
    writer.unregistered(12)
    records = decode(writer, tmp_path)
    assert told(records) == [
        ("order.customer.age", ABSENT, 3, "add"),
        ("order.customer.age", 3, 4, "set"),
        ('order["db"]["port"]', ABSENT, "a long text", "add"),
        ('order["db"]["port"]', "a long text", 5432, "set"),
        ("order.customer.age", 4, 4, "set"),
        ('order["db"]["port"]', 5432, ABSENT, "delete"),
        ("order.customer.age", 4, Shown("[1, …]"), "set"),
    ]
    assert not losses(records)
    found = events(records)[-1]
    assert (found.origin, found.exact, found.changed, found.site, found.path) == ("found", False, True, None, None)
    assert [(event.variable_id, event.site) for event in events(records)[:2]] == [
        (12, Site("orders.py", 41, "birthday"))
    ] * 2
    assert [line.split("  ")[0] for line in shown(records)][:1] == ["order is watched: Order"]
    squeezed = [" ".join(line.split()) for line in shown(records)]
    assert squeezed == [
        "order is watched: Order a.py:3 main",
        "order.customer.age absent -> 3 orders.py:41 birthday MainThread",
        "order.customer.age 3 -> 4 orders.py:41 birthday MainThread",
        'order["db"]["port"] absent -> \'a long text\' orders.py:41 birthday MainThread',
        'order["db"]["port"] \'a long text\' -> 5432 orders.py:41 birthday MainThread',
        "order.customer.age 4 (unchanged) orders.py:41 birthday MainThread",
        'order["db"]["port"] 5432 -> absent orders.py:41 birthday MainThread',
        "order.customer.age 4 -> [1, …] found: changed unseen -",
        "watch of order ended",
    ]
    assert all(len(line) <= 66 for line in shown(records, width=80))


def test_what_went_or_came_with_all_others_says_so(tmp_path: Path) -> None:
    """Unless it is as it was: then nothing has happened to it."""
    cleared, replaced = b"\0\0\4\0", bytes([4, 8, 8, 0]) + struct.pack("<q", 5)
    writer = JournalWriter()
    writer.slab(1, "x")
    writer.place(1, 0, "")
    for before, after in (
        (cell(3), cleared), (cleared, cell(5)), (cell(5), cell(6)), (cell(6), replaced), (replaced, replaced),
        (replaced, cell(7)), (cell(7), b"\0\0\x08\0"), (b"\0\0\x08\0", replaced),
    ):  # fmt: skip
        writer.change(1, 0, before, after)
    records = decode(writer, tmp_path)
    assert [(name, operation) for name, _, _, operation in told(records)] == [
        ("x", "clear"), ("x", "add"), ("x", "set"), ("x", "replace"), ("x", "set"), ("x", "set"), ("x", "replace"),
        ("x", "replace"),
    ]  # fmt: skip
    assert not losses(records)
    assert " ".join(shown(records)[1].split()).startswith("x 3 -> absent")


def test_found_values_of_bool_and_int_are_told_apart(tmp_path: Path) -> None:
    writer = JournalWriter()
    writer.slab(1, "x")
    writer.place(1, 0, ".a")
    for before, after in ((..., 1), (1, True), (True, 1.0), (1.0, None), (None, None), (None, ...)):
        writer.change(1, 0, cell(before), cell(after))
    assert [line.split("  ")[1].strip() for line in shown(decode(writer, tmp_path))[1:]] == [
        "absent -> 1", "1 -> True", "True -> 1.0", "1.0 -> None", "None (unchanged)", "None -> absent",
    ]  # fmt: skip


def test_values_that_differ_behind_their_beginnings_are_not_shown_as_the_same(tmp_path: Path) -> None:
    writer = JournalWriter()
    writer.slab(1, "x")
    writer.place(1, 0, ".a")
    writer.change(1, 0, cell(LONG, cut=(1, 999)), cell(LONG, cut=(2, 999)))
    assert "-> (changed further on)" in shown(decode(writer, tmp_path))[-1]


def test_cell_that_is_given_to_another_key_is_told_by_its_new_path(tmp_path: Path) -> None:
    """And what was told before isn't told anew: a loop that remembers paths would."""
    writer = JournalWriter()
    writer.slab(1, "d")
    steps: list[tuple[str, Any, Any]] = [('["a"]', ..., 1), ('["a"]', 1, ...), ('["b"]', ..., 1), ('["b"]', 1, 2)]
    path = ""
    for name, before, after in steps:
        if name != path:
            writer.place(1, 128, name)
        path = name
        writer.change(1, 128, cell(before), cell(after))
    assert [each[0] for each in told(decode(writer, tmp_path))] == ['d["a"]', 'd["a"]', 'd["b"]', 'd["b"]']


def test_events_of_a_later_slab_are_told_as_those_of_the_first(tmp_path: Path) -> None:
    writer = JournalWriter()
    writer.slab(3, "order")
    writer.slab(9, "order", pages=2, first=3)
    writer.place(3, 0, ".a")
    writer.place(9, 8128, ".z")
    writer.change(9, 8128, cell(), cell(1))
    writer.change(3, 0, cell(), cell(2))
    writer.metadata(3, name="renamed", cells=64, shown="Order")
    writer.change(9, 8128, cell(1), cell(3))
    writer.change(9, 8128, cell(7), cell(8))
    writer.unregistered(9)
    writer.unregistered(3)
    records = decode(writer, tmp_path)
    assert told(records) == [
        ("order.z", ABSENT, 1, "add"), ("order.a", ABSENT, 2, "add"),
        ("renamed.z", 1, 3, "set"), ("renamed.z", 7, 8, "set"),
    ]  # fmt: skip
    assert {event.variable_id for event in events(records)} == {3}
    assert [record.variable.id for record in records if isinstance(record, Watched)] == [3, 3]
    assert [record.variable_id for record in records if isinstance(record, Unwatched)] == [3]
    assert len(losses(records)) == 1  # 3 was left, 7 was found: what a journal can't explain is told for slabs too


@pytest.mark.parametrize("first", [9, 77, -1, 2**40, 1])
def test_slab_whose_first_one_is_none_is_told_by_itself(first: int, tmp_path: Path) -> None:
    """Itself, nothing, numbers that no variable has, and what is no slab."""
    writer = JournalWriter()
    writer.watch(1, bytes(8), "n")
    writer.slab(9, "order", first=first)
    writer.place(9, 0, ".a")
    writer.change(9, 0, cell(), cell(1))
    writer.unregistered(9)
    records = decode(writer, tmp_path)
    assert told(records) == [("order.a", ABSENT, 1, "add")]
    assert [event.variable_id for event in events(records)] == [9]
    assert [record.variable.id for record in records if isinstance(record, Watched)] == [1, 9]
    assert [record.variable_id for record in records if isinstance(record, Unwatched)] == [9]


def test_slabs_that_are_later_ones_of_each_other_come_to_an_end(tmp_path: Path) -> None:
    writer = JournalWriter()
    for ident in (1, 2, 3):
        writer.slab(ident, "o", first=ident % 3 + 1)
    for ident in (1, 2, 3, 1):
        writer.metadata(ident, name="o", cells=64, first=ident % 3 + 1)
        writer.change(ident, 0, cell(), cell(1))
        writer.change(ident, 0, cell(1), cell())
    records = decode(writer, tmp_path)
    assert len(told(records)) == 8
    assert {event.variable_id for event in events(records)} <= {
        record.variable.id for record in records if isinstance(record, Watched)
    }


def test_later_slab_outlives_the_first(tmp_path: Path) -> None:
    writer = JournalWriter()
    writer.slab(1, "o")
    writer.slab(2, "o", first=1)
    writer.unregistered(1)
    writer.change(2, 0, cell(), cell(1))
    writer.unregistered(2)
    records = decode(writer, tmp_path)
    assert told(records) == [("o.?", ABSENT, 1, "add")]
    assert not losses(records)


@pytest.mark.parametrize("cells", [0, 1, 3, 128, -64, 2**31, 2**63, None])
def test_variable_of_cells_of_another_size_is_its_bytes(cells: int | None, tmp_path: Path) -> None:
    writer = JournalWriter()
    writer.variable(1, 128)
    writer.metadata(1, name="order", cells=cells, shown="Order", first=1)
    writer.place(1, 64, ".x")
    writer.change(1, 64, cell(), cell(5))
    (event,) = events(decode(writer, tmp_path))
    assert event.operation is None
    assert event.part == Part("[64:76]", bytes(12), cell(5))
    assert event.new == bytes(64) + cell(5) + bytes(52)


@pytest.mark.parametrize("cells", ["64", [64], 6.5, True])
def test_metadata_of_nonsense_is_told_and_the_store_is_too(cells: object, tmp_path: Path) -> None:
    writer = JournalWriter()
    writer.variable(1, 128)
    writer.metadata(1, name="order", cells=cells)
    writer.change(1, 64, cell(), cell(5))
    records = decode(writer, tmp_path)
    assert len(losses(records)) == 1
    assert "METADATA record 1 can't be read" in losses(records)[0]
    assert [event.after for event in events(records)] == [cell(5)]


@pytest.mark.parametrize(
    ("offset", "before", "after"),
    [(1, cell(), cell(5)), (32, cell(), cell(5)), (0, bytes(65), bytes(65)), (4096, cell(), cell(5)),
     (4095, cell(), cell(5)), (2**32 - 64, cell(), cell(5)), (64, bytes(4096), b"\4" * 4096)],
)  # fmt: skip
def test_store_to_no_cell_is_told_by_its_bytes(offset: int, before: bytes, after: bytes, tmp_path: Path) -> None:
    writer = JournalWriter()
    writer.slab(1, "order")
    writer.change(1, offset, before, after)
    records = decode(writer, tmp_path)
    (event,) = events(records)
    assert (event.part, event.operation, event.old, event.new, event.offset) == (None, None, None, None, offset)
    length = max(len(before), len(after))
    assert f"order[{offset}:{offset + length}]" in shown(records)[-1]


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"", "cut off"),
        (b"\0\0\0", "cut off"),
        (struct.pack("<I", 4096) + b".x", "byte 4096 isn't the beginning of a cell"),
        (struct.pack("<I", 2**32 - 64) + b".x", "isn't the beginning of a cell"),
        (struct.pack("<I", 65) + b".x", "byte 65 isn't"),
        (struct.pack("<I", 0) + b"." * 4097, "longer than 4,100 bytes"),
    ],
)
def test_place_that_is_none_is_told_and_no_other_gets_its_path(payload: bytes, said: str, tmp_path: Path) -> None:
    writer = JournalWriter()
    writer.slab(1, "order")
    writer.blob(PLACE, 1, payload)
    for offset in (0, 64):
        writer.change(1, offset, cell(), cell(1))
    records = decode(writer, tmp_path)
    assert [said in reason for reason in losses(records)] == [True]
    assert [each[0] for each in told(records)] == ["order.?"] * 2


@pytest.mark.parametrize(
    ("path", "said"),
    [(b"", "order"), (b"\xff\xc3", "order\ufffd\ufffd"), (b"." + b"x" * 4095, "order." + "x" * 4095),
     ('["\x1b[31m\n\u202e"]'.encode(), 'order["\x1b[31m\n\u202e"]')],
)  # fmt: skip
def test_path_of_any_bytes_is_shown_and_steers_no_terminal(path: bytes, said: str, tmp_path: Path) -> None:
    writer = JournalWriter()
    writer.slab(1, "order")
    writer.blob(PLACE, 1, struct.pack("<I", 0) + path)
    writer.change(1, 0, cell(), cell("\x9b1m\n"))
    records = decode(writer, tmp_path)
    assert [each[0] for each in told(records)] == [said]
    summary = Summary()
    summary.write(records)
    for line in (*shown(records), *shown(records, width=80), *summary.lines()):
        assert line.replace("\t", " ").isprintable()
    assert all(len(line) <= 66 for line in shown(records, width=80))
    assert encode(records) == b"".join(record_json(record) + b"\n" for record in records)


def test_places_of_a_variable_that_ended_are_not_those_of_the_next_with_its_id(tmp_path: Path) -> None:
    writer = JournalWriter()
    for path in (".a", None, ".b"):
        writer.slab(1, "o")
        if path is not None:
            writer.place(1, 0, path)
        writer.change(1, 0, cell(), cell(1))
        writer.unregistered(1)
    writer.place(1, 0, ".c")
    writer.place(5, 0, ".c")
    records = decode(writer, tmp_path)
    assert [each[0] for each in told(records)] == ["o.a", "o.?", "o.b"]
    assert [f"PLACE record {ident} can't be read: no such variable" for ident in (1, 5)] == losses(records)


def test_slab_without_its_metadata_is_its_bytes_until_it_comes(tmp_path: Path) -> None:
    writer = JournalWriter()
    writer.variable(1, 4096)
    writer.place(1, 0, ".x")
    writer.change(1, 0, cell(), cell(1))
    writer.metadata(1, name="order", cells=64, shown="Order")
    writer.change(1, 0, cell(1), cell(2))
    first, second = events(decode(writer, tmp_path))
    assert (first.variable, first.operation) == ("variable 1", None)
    assert (second.variable, second.part, second.operation) == ("order", Part(".x", 1, 2), "set")


def test_cells_that_were_full_when_the_watch_began_are_known(tmp_path: Path) -> None:
    writer = JournalWriter()
    writer.variable(1, 4096)
    writer.blob(CONTENT, 1, struct.pack("<Q", 64) + cell("abc"))
    writer.metadata(1, name="o", cells=64)
    writer.place(1, 64, ".x")
    writer.change(1, 64, cell("abc"), cell(1))
    records = decode(writer, tmp_path)
    assert told(records) == [("o.x", "abc", 1, "set")]
    assert not losses(records)


@pytest.mark.parametrize("only", [False, True], ids=["all", "few are wanted"])
def test_what_a_cell_holds_is_known_from_the_first_store_behind_its_place_on(tmp_path: Path, only: bool) -> None:
    """Cells are filled without an event when something comes to be watched, and emptied when it no longer is."""
    writer = JournalWriter()
    writer.slab(1, "o")
    writer.place(1, 0, ".a")
    writer.change(1, 0, cell("as it was"), cell(1))
    writer.change(1, 0, cell(1), cell("long text"))
    writer.change(1, 0, cell("long text"), cell(2))
    writer.place(1, 0, ".a")
    writer.change(1, 0, cell(7), cell(8))
    writer.change(1, 0, cell(8), cell(9))
    writer.change(1, 0, cell(10), cell(11))
    writer.change(1, 0, cell(11), cell(12))
    writer.change(1, 0, cell("another text"), cell(13))
    writer.change(1, 64, cell(1), cell(2))
    writer.change(1, 64, cell(7), cell(8))
    writer.place(1, 128, ".child")  # which is watched as well
    writer.change(1, 128, cell(), cell(("{'a': 1}",)))
    writer.change(1, 128, cell(("{'a': 1, 'b': 2}",)), cell(5))
    writer.change(1, 128, cell(("{}",)), cell())
    path = writer.save(tmp_path)
    said = "a change without an event: bytes {} to {} are not what the last event left"
    journal = module.JournalDecoder(path, {})
    if only:
        journal.sieve(Sieve(lambda event: False, 0, sys.maxsize, {}, lambda record: True, all=True))
    records: list[Record] = []
    while not journal.ended:
        records += journal.poll()
    assert losses(records) == [said.format(0, 11), said.format(0, 15), said.format(128, 133)]
    assert len(told(records)) == (0 if only else 13)


def test_places_for_which_there_is_no_memory_have_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "KEPT_LIMIT", 10 * 1000)
    monkeypatch.setattr("memwatch_core.journal.file.JournalFile.occupied", lambda file: 0)
    writer = JournalWriter()
    writer.slab(1, "o")
    for number in range(64):
        for _ in range(3):  # to say it again takes nothing
            writer.place(1, 64 * number, f".{number:02}" + "x" * 741)
        writer.change(1, 64 * number, cell(), cell(1))
    writer.unregistered(1)
    writer.slab(2, "o")
    writer.place(2, 0, ".last")
    writer.change(2, 0, cell(), cell(1))
    records = decode(writer, tmp_path)
    names = [each[0][1:4] for each in told(records)]
    assert names == [f".{number:02}" for number in range(10)] + [".?"] * 54 + [".la"]
    assert len(losses(records)) == 54 * 3
    assert "PLACE record 1 can't be read: the places of this session take too much memory" in losses(records)


def test_what_was_written_under_a_statement_is_told_by_place(tmp_path: Path) -> None:
    writer = JournalWriter()
    writer.slab(1, "order")
    writer.place(1, 0, ".a")
    writer.place(1, 64, ".b")
    writer.json(
        CONTEXT, 1, {"id": 1, "driver": "sqlite3", "statement": "UPDATE", "statement_hash": "", "transaction": 1}
    )
    writer.change(1, 0, cell(1), cell("two"), context=1)
    writer.change(1, 0, cell("two"), cell(), context=1)
    writer.change(1, 64, cell(True), cell("a longer one"), context=1)
    writer.change(1, 64, cell("a longer one"), cell(True), context=1)
    writer.json(OUTCOME, 1, {"outcome": "rolled back", "scope": "transaction"})
    said = shown(decode(writer, tmp_path))[-1]
    assert "under which were written: order.a 1 -> absent (2 writes), order.b True (2 writes)" in said


def test_summary_names_the_places_that_changed_most_and_what_went_unseen(tmp_path: Path) -> None:
    writer = JournalWriter()
    writer.slab(1, "order")
    writer.site(1, "orders.py", 41, "f")
    for number, path in enumerate((".total", '["k"]', ".a.b", ".rare", ".never")):
        writer.place(1, 64 * number, path)
    for number, count in enumerate((5, 9, 7, 1)):
        for turn in range(count):
            writer.change(1, 64 * number, cell(turn) if turn else cell(), cell(turn + 1), site=1, tid=0)
    summary = Summary()
    summary.write(decode(writer, tmp_path))
    assert summary.sentence() == "22 events on 1 variable; nothing lost"
    assert list(summary.lines()) == [
        "order  22 writes, last rare absent -> 1 at orders.py:41\tf",
        '  most often ["k"] (9), a.b (7), total (5) and 1 more place',
    ]
    writer.change(1, 0, cell(5), cell(6), origin=5, flags=3, tid=0)
    summary = Summary()
    summary.write(decode(writer, tmp_path))
    assert summary.sentence() == "23 events on 1 variable; 1 change unseen when it happened; nothing lost"
    assert next(summary.lines()).endswith("last total 5 -> 6, found: changed unseen")


def test_summary_of_more_places_than_it_counts_names_the_most_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memwatch_core.host.summary.PLACES_COUNTED", 10)
    writer = JournalWriter()
    writer.slab(1, "d", pages=4)
    for number in range(200):
        writer.place(1, 64 * number, f"[{number}]")
        writer.change(1, 64 * number, cell(), cell(1))
        writer.change(1, 0, cell(number) if number > 1 else cell(1), cell(number + 1))
    summary = Summary()
    for record in decode(writer, tmp_path):
        summary.write([record])
    assert len(summary._places) <= 20
    assert next(line for line in summary.lines() if "most often" in line).startswith("  most often [0] (at least 201)")


@pytest.mark.parametrize("kind", [METADATA, PLACE])
def test_copies_of_a_journal_with_a_limit_are_taken_as_they_come(kind: int, tmp_path: Path) -> None:
    """REPEATED: what it held at the beginning isn't there, and each store brings the whole cell."""
    writer = JournalWriter()
    writer.variable(1, 4096)
    writer.slots[-61] |= 64
    writer.blob(METADATA, 1, b'{"name": "o", "cells": 64, "shown": "dict"}', flags=64)
    if kind == PLACE:
        writer.place(1, 0, ".x", flags=64)
    writer.change(1, 0, cell(5), cell("six"))
    writer.change(1, 0, cell("six"), cell(7))
    writer.change(1, 0, cell(7), cell(8))
    records = decode(writer, tmp_path)
    name = "o.x" if kind == PLACE else "o.?"
    assert told(records) == [(name, 5, "six", "set"), (name, "six", 7, "set"), (name, 7, 8, "set")]
    assert not losses(records)
    assert [record.value for record in records if isinstance(record, Watched)] == [Shown("dict")]
