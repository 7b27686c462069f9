"""Other names of places, and what isn't followed: what a journal's records come to, with both loops."""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "journal"))

from decoding import decode
from journal_writer import ALIAS, NOT_FOLLOWED, JournalWriter, cell

from memwatch_core.host import decoder as module
from memwatch_core.host import kept
from memwatch_core.host.summary import Summary
from memwatch_core.journal import stores
from memwatch_core.records import Alias, Event, Lost, Record, Unfollowed
from memwatch_core.rendering.text import Lines


@pytest.fixture(autouse=True, params=["C", "Python"])
def _loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "Python":
        monkeypatch.setattr(module, "Stores", stores.PythonStores)


def aliases(records: list[Record]) -> list[tuple[tuple[Alias, ...], bool]]:
    return [(record.aliases, record.aliases_cut) for record in records if isinstance(record, Event)]


def losses(records: list[Record]) -> list[str]:
    return [record.reason for record in records if isinstance(record, Lost)]


def test_an_event_has_the_names_that_were_told_last_before_it(tmp_path: Path) -> None:
    writer = JournalWriter()
    writer.slab(1, "a")
    writer.slab(2, "b")
    writer.slab(3, "a", first=1)
    for ident in (1, 3):
        writer.place(ident, 64, ".x")
    steps: list[Any] = [None, [(2, ".y")], [(2, ".y"), (1, ".z.x")], [], [(9, "")]]
    for names in steps:
        for ident in (1, 3):
            if names is not None:
                writer.alias(ident, 64, names, cut=len(names) == 2)
            writer.change(ident, 64, cell(1), cell(1))
    writer.place(1, 64, ".w")
    writer.change(1, 64, cell(), cell(1))
    records = decode(writer, tmp_path)
    b, z = Alias("b", 2, ".y"), Alias("a", 1, ".z.x")
    each: list[tuple[tuple[Alias, ...], bool]] = [
        ((), False), ((b,), False), ((b, z), True), ((), False), ((Alias("variable 9", 9, ""),), False),
    ]  # fmt: skip
    assert aliases(records) == [step for step in each for _ in range(2)] + [((), False)]
    assert not losses(records)


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"", "cut off"),
        (bytes(7), "cut off"),
        (struct.pack("<II", 64, 0) + struct.pack("<IH", 1, 9) + b"abc", "a name is cut off"),
        (struct.pack("<II", 64, 0) + struct.pack("<IH", 1, 0) * 9, "more than 8 names"),
    ],
)
def test_names_that_make_no_sense_are_a_loss(payload: bytes, said: str, tmp_path: Path) -> None:
    writer = JournalWriter()
    writer.slab(1, "a")
    writer.place(1, 64, ".x")
    writer.blob(ALIAS, 1, payload)
    writer.change(1, 64, cell(), cell(1))
    records = decode(writer, tmp_path)
    assert aliases(records) == [((), False)]
    (loss,) = losses(records)
    assert said in loss


def test_names_of_what_has_no_path_say_nothing(tmp_path: Path) -> None:
    """As behind the beginning of a journal that has given up its oldest part."""
    writer = JournalWriter()
    writer.slab(1, "a")
    writer.alias(1, 64, [(1, ".y")])
    writer.change(1, 64, cell(), cell(1))
    records = decode(writer, tmp_path)
    assert (aliases(records), losses(records)) == ([((), False)], [])


def test_names_for_which_there_is_no_memory_are_said_to_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "KEPT_LIMIT", 3 * 258 + 2 * 1_256 + 100)
    monkeypatch.setattr("memwatch_core.journal.file.JournalFile.occupied", lambda file: 0)
    writer = JournalWriter()
    writer.slab(1, "a")
    for number in range(3):
        writer.place(1, 64 * number, ".x")
    for number in range(3):
        writer.alias(1, 64 * number, [(1, "y" * 2_000)])
        writer.alias(1, 64 * number, [(1, "y" * 1_000)])
        writer.change(1, 64 * number, cell(), cell(1))
    named = (Alias("a", 1, "y" * 1_000),)
    assert aliases(decode(writer, tmp_path)) == [(named, False), (named, False), ((), True)]


def test_what_is_not_followed_is_a_record_a_line_and_a_sum(tmp_path: Path) -> None:
    writer = JournalWriter()
    writer.slab(1, "order")
    writer.slab(2, "config")
    for count in (1, 2, 4, 8, 10):
        writer.not_followed(1, count, 1, "deque", ".queue" if count == 1 else "")
    writer.not_followed(1, 1, 2, "", '.rows[3]["a"]')
    writer.not_followed(1, 2, 2)
    writer.not_followed(2, 1, 1, "tuple", ".pair")
    writer.not_followed(2, 1, 77, "Odd", "")
    writer.blob(NOT_FOLLOWED, 2, b"")
    records = decode(writer, tmp_path)
    found = [record for record in records if isinstance(record, Unfollowed)]
    assert [(each.variable, each.count, each.why, each.type, each.name) for each in found][-5:] == [
        ("order", 1, "max_objects", "", '.rows[3]["a"]'),
        ("order", 2, "max_objects", "", ""),
        ("config", 1, "kind", "tuple", ".pair"),
        ("config", 1, "kind", "Odd", ""),
        ("config", 0, "kind", "", ""),
    ]
    assert [line[14:] for line in Lines().format(found)] == [
        "order.queue is not followed: changes in it aren't told (deque)",
        'order.rows[3]["a"] is not followed: as many objects are as max_objects allows',
        "config.pair is not followed: what a tuple holds isn't",
        "config is not followed: changes in it aren't told (Odd)",
    ]
    summary = Summary()
    summary.write(records)
    assert list(summary.lines()) == [
        "order: 12 objects are not followed: 10 deque, 2 over max_objects",
        "config: 2 objects are not followed: 1 Odd, 1 tuple, 0 of other types",
    ]


def test_summary_says_what_was_written_under_another_name(tmp_path: Path) -> None:
    writer = JournalWriter()
    writer.slab(1, "a")
    writer.slab(2, "b")
    writer.slab(3, "c")
    writer.place(1, 64, ".x")
    writer.alias(1, 64, [(2, ".y"), (2, ".z"), (1, ".w")])
    for _ in range(3):
        writer.change(1, 64, cell(1), cell(1))
    summary = Summary()
    summary.write(decode(writer, tmp_path))
    assert summary.sentence().startswith("3 events on 2 of 3 variables")
    assert list(summary.lines())[-1] == "b: 3 writes to what it shares are told under a"
