"""Elements stay elements: stores to arrays of any size, read back by number and value, the rest known or not."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from decoding import decode
from journal_writer import JournalWriter

from memwatch_core.host import kept
from memwatch_core.journal.file import JournalFile
from memwatch_core.records import Event, Lost, Watched
from memwatch_core.rendering.changes import change

CLASSES = {
    "Int8Array": "b", "Uint8Array": "B", "Uint8ClampedArray": "B", "Float16Array": "e", "Int16Array": "h",
    "Uint16Array": "H", "Int32Array": "i", "Uint32Array": "I", "BigInt64Array": "q", "BigUint64Array": "Q",
    "Float32Array": "f", "Float64Array": "d",
}  # fmt: skip
SIZES = (64, 65_528, 65_536, 65_544, 1 << 20)


def events(writer: JournalWriter, folder: Path) -> list[Event]:
    records = decode(writer, folder)
    assert not [record for record in records if isinstance(record, Lost)]
    return [record for record in records if isinstance(record, Event)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", CLASSES)
def test_store_to_an_element_shows_its_number_and_value(kind: str, size: int, tmp_path: Path) -> None:
    form = "<" + CLASSES[kind]
    one, two, none = struct.pack(form, 1), struct.pack(form, 2), struct.pack(form, 0)
    width = len(one)
    last = size // width - 1
    writer = JournalWriter(runtime="node")
    writer.watch(1, bytes(size), "a", "typedarray", options={"class": kind})
    writer.store(1, 0, none, one)
    writer.store(1, last * width, none, two)
    writer.store(1, 2 * width, none * 3, one + two + one)
    writer.store(1, 2 * width, one, one)
    writer.store(1, 0, one[-1:] if width == 1 else one[:1], b"\0")  # the first byte of an element
    first, at_end, several, same, byte = events(writer, tmp_path)
    assert change(first, 40) == ("[0]", repr(struct.unpack(form, none)[0]), repr(struct.unpack(form, one)[0]))
    assert change(at_end, 40) == (f"[{last}]", repr(struct.unpack(form, none)[0]), repr(struct.unpack(form, two)[0]))
    zero, ones, twos = (repr(struct.unpack(form, data)[0]) for data in (none, one, two))
    assert change(several, 60) == (
        "", f"[2]={zero}, [3]={zero}, [4]={zero}", f"[2]={ones}, [3]={twos}, [4]={ones}"
    )  # fmt: skip
    assert several.part is not None
    assert (several.part.name, len(several.part.new)) == ("[2:5]", 3)
    assert change(same, 40) == ("[2]", ones, ones)
    assert byte.part is not None
    assert (byte.part.name, byte.part.new) == ("[0]", struct.unpack(form, b"\0" + one[1:])[0])
    assert (first.new is None) == (size > 65_536)


@pytest.mark.parametrize("kind", ["Buffer", "DataView", "ArrayBuffer", "SharedArrayBuffer"])
@pytest.mark.parametrize("size", SIZES)
def test_what_has_no_elements_is_shown_by_its_bytes(kind: str, size: int, tmp_path: Path) -> None:
    writer = JournalWriter(runtime="node")
    writer.watch(1, bytes(size), "a", "typedarray", options={"class": kind})
    writer.store(1, 8, b"\0", b"\1")
    writer.store(1, size - 1, b"\0", b"\1")
    assert [change(event, 40)[0] for event in events(writer, tmp_path)] == ["[8:9]", f"[{size - 1}:{size}]"]


def test_beginning_of_a_large_array_is_shown_when_it_is_watched(tmp_path: Path) -> None:
    writer = JournalWriter(runtime="node")
    writer.variable(1, 1 << 20)
    writer.content(1, struct.pack("<d", 1.5))
    writer.metadata(1, name="a", serializer="typedarray", options={"class": "Float64Array"})
    (watched,) = (record for record in decode(writer, tmp_path) if isinstance(record, Watched))
    assert watched.part is not None
    assert (watched.value, watched.part.name, watched.part.new) == (None, "[0:128]", [1.5, *[0.0] * 127])


def test_store_that_no_event_explains_is_found_out_in_a_large_value(tmp_path: Path) -> None:
    writer = JournalWriter(runtime="node")
    writer.watch(1, bytes(1 << 20), "a", "typedarray", options={"class": "Int32Array"})
    writer.store(1, 400_000, bytes(4), b"\1\0\0\0")
    writer.store(1, 400_000, b"\2\0\0\0", b"\3\0\0\0")
    records = decode(writer, tmp_path)
    assert [record.variable for record in records if isinstance(record, Lost)] == ["a"]


def test_elements_that_a_store_covers_are_shown_where_there_is_no_room_for_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "KEPT_LIMIT", 100)
    monkeypatch.setattr(JournalFile, "occupied", lambda file: 0)
    writer = JournalWriter(runtime="node")
    writer.watch(1, bytes(1 << 17), "a", "typedarray", options={"class": "Int32Array"})
    writer.store(1, 40, bytes(4), b"\1\0\0\0")
    writer.store(1, 44, b"\0", b"\2")
    whole, byte = events(writer, tmp_path)
    assert change(whole, 40) == ("[10]", "0", "1")
    assert change(byte, 40) == ("[11]", "00", "02"), "the number is known, the value isn't"
