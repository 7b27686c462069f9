"""The page, the header file and the reader say the same about every byte of a journal."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import get_args

import pytest

from memwatch_core.happened import End, Given, WhyNot
from memwatch_core.host.variables import Metadata
from memwatch_core.journal import followed, layout, stores
from memwatch_core.rendering import jsonlines

ROOT = Path(__file__).parents[2]
HEADER_FILE = (ROOT / "memwatch_core/core/journal/journal_format.h").read_text()
ABI_FILE = (ROOT / "memwatch_core/core/memwatch.h").read_text()
PAGE = (ROOT / "docs/journal-format.md").read_text()
SIZES = {"char": 1, "uint8_t": 1, "uint16_t": 2, "uint32_t": 4, "int32_t": 4, "uint64_t": 8}


def offsets(name: str) -> tuple[dict[str, int], int]:
    """Offsets of the fields of a C struct and its size, by the rules of the x86-64 ABI, unions laid flat."""
    body = re.search(rf"struct {name} {{(.*?)\n}};", HEADER_FILE, re.DOTALL)
    assert body, name
    found: dict[str, int] = {}
    at, biggest = 0, 1
    text = re.sub(r"/\*.*?\*/", "", body[1], flags=re.DOTALL)
    text = re.sub(r"struct mwj_lost (\w+)\[MWJ_LOSSES\]", rf"uint64_t \1[{2 * layout.LOSSES}]", text)
    text = re.sub(r"struct {([^}]*)} (\w+);", lambda m: re.sub(r"(\w+)(\[\d+\])?([,;])", r"\1\2\3", m[1]), text)
    for line in re.findall(r"(_Alignas\(\d+\) )?(?:_Atomic )?(\w+) ([^;{}]+);", text):
        alignas, kind, names = line
        if kind not in SIZES:
            continue
        size = SIZES[kind]
        aligned = int(alignas[9:-2]) if alignas else size
        biggest = max(biggest, aligned)
        for field in names.split(","):
            found_name, count = re.fullmatch(r"\s*(\w+)(?:\[(\d+)\])?\s*", field).groups()  # type: ignore[union-attr]
            at = -(-at // aligned) * aligned
            found[found_name] = at
            at += size * int(count or 1)
            aligned = size
    return found, -(-at // biggest) * biggest


def table(heading: str) -> list[list[str]]:
    """Rows of the first table behind a heading of the page."""
    part = PAGE.split(f"\n{heading}\n", 1)[1]
    rows = re.search(r"(\n\|.*)+", part)
    assert rows
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[0].strip().splitlines()[2:]]


def test_constants_agree_in_the_header_file_the_page_and_the_reader() -> None:
    defined = dict(re.findall(r"#define MWJ_(\w+) (\d+)u?\n", HEADER_FILE))
    for name, value in defined.items():
        assert getattr(layout, name) == int(value), name
    assert len(defined) >= 6
    assert f'"{layout.MAGIC.decode()}"' in HEADER_FILE
    rows = {row[2]: row for row in table("## File")}
    assert rows["magic"][3] == f"`{layout.MAGIC.decode()}`"
    assert f"major {layout.VERSION_MAJOR}, minor {layout.VERSION_MINOR}" in rows["version"][3]
    for name in ("header_size", "slot_size", "segment_slots"):
        assert int(rows[name][3]) == getattr(layout, name.upper())
    assert f"{layout.SEGMENT_SLOTS:,}" in PAGE
    assert f"({layout.SEGMENT_SIZE >> 20} MiB)" in PAGE
    assert f"1 to {layout.RECORD_SLOTS_MAX}" in PAGE


def test_kinds_flags_and_origins_agree() -> None:
    kinds = {name: int(n) for name, n in re.findall(r"MWJ_(\w+) = (\d+),", HEADER_FILE.split("enum mwj_kind")[1])}
    in_header = {kind.name: int(kind) for kind in layout.Kind}
    assert {name: kinds[name] for name in in_header} == in_header
    rows = table(re.findall(r"\nreader waits there.*", PAGE)[0].strip())
    assert {row[1]: int(row[0]) for row in rows} == {k: v for k, v in in_header.items() if k != "FREE"}
    origins = re.search(r"enum mwj_origin {(.*)}", HEADER_FILE)
    assert origins
    assert sorted(map(int, re.findall(r"= (\d+)", origins[1]))) == sorted(layout.ORIGINS)
    for number, name in layout.ORIGINS.items():
        assert f"{number} {name}" in PAGE
    calls = re.search(r"enum mwj_call_name {(.*?)}", HEADER_FILE, re.DOTALL)
    assert calls
    assert {int(n): name.lower() for name, n in re.findall(r"MWJ_CALL_(\w+) = (\d+)", calls[1])} == layout.CALLS
    for number, name in layout.CALLS.items():
        assert re.search(rf"\b{number}\s+{name}\b", PAGE), name
    flags = re.search(r"enum mwj_flag {(.*?)}", HEADER_FILE, re.DOTALL)
    assert flags
    assert {name: int(n) for name, n in re.findall(r"MWJ_(\w+) = (\d+)", flags[1])} == {
        name: int(flag)
        for name, flag in layout.Flag.__members__.items()  # two kinds of records use one bit
    }
    flags = re.search(r"enum mwj_stack_flag {(.*?)}", HEADER_FILE)
    assert flags
    assert {name: int(n) for name, n in re.findall(r"MWJ_STACK_(\w+) = (\d+)", flags[1])} == {
        flag.name: int(flag) for flag in layout.StackFlag
    }
    payload = PAGE.partition("| STACK |")[2].partition("\n")[0]
    for flag in layout.StackFlag:
        assert f"bit {flag.bit_length() - 1} {flag.name}" in payload
        assert f"#define MW_STACK_{flag.name} {int(flag)}u" in ABI_FILE
    for flag in layout.Flag:
        assert re.search(rf"bit {flag.bit_length() - 1} {flag.name}", PAGE), flag


def test_cells_and_their_places_agree() -> None:
    assert {row[1].partition(":")[0]: int(row[0]) for row in table("### Cells")} == {
        kind.name: int(kind) for kind in layout.CellKind
    }
    assert f"A cell has {layout.CELL_SIZE} bytes: u8 kind, u8 bytes of its payload, u16 flags (" in PAGE
    flags = ", ".join(f"bit {flag.bit_length() - 1} {flag.name}" for flag in layout.CellFlag)
    assert f"u16 flags ({flags})" in PAGE
    assert (layout.CELL.size, layout.CellFlag.CUT) == (4, 1)
    assert "CUT: the payload is u64 hash of the whole, u32 its length" in PAGE
    assert layout.CUT.size == 12
    assert f"readers call `{layout.UNNAMED}`" in PAGE
    place_max = re.search(r"#define MW_PLACE_MAX (\d+)u", (ROOT / "memwatch_core/core/memwatch.h").read_text())
    assert place_max
    assert layout.PAYLOAD_MAX[layout.Kind.PLACE] == layout.PLACE.size + int(place_max[1])
    assert f"at most {place_max[1]} bytes" in PAGE
    keys = re.findall(r"`(\w+)`", " ".join(row[0] for row in table("## METADATA")))
    assert set(keys) == set(Metadata.__struct_fields__)


def test_other_names_and_what_is_not_followed_agree() -> None:
    header = (ROOT / "memwatch_core/core/memwatch.h").read_text()
    python = ROOT / "memwatch_core/python/places"
    assert "u32 offset of a cell in the variable, u32 1 if there are more" in PAGE
    assert layout.ALIAS.size == 8
    assert "u32 variable, u16 length, path" in PAGE
    assert layout.ALIAS_NAME.size == 6
    most = re.search(r"#define MW_ALIASES_MAX (\d+)u", header)
    assert most
    assert layout.PAYLOAD_MAX[layout.Kind.ALIAS] == layout.PLACE.size + int(most[1])
    names = re.search(r"NAMES_MOST = (\d+)", (python / "node_names.c").read_text())
    assert names
    assert int(names[1]) == layout.ALIASES_MOST
    assert f"at most {layout.ALIASES_MOST} names" in PAGE
    assert "u64 count, u8 why, u8 length of the type's name, u16 0" in PAGE
    assert layout.NOT_FOLLOWED.size == 12
    enum = (python / "slab.h").read_text().partition("enum mwpy_why_left {")[2].partition("}")[0]
    numbers = {int(number): name for name, number in re.findall(r"MWPY_LEFT_(\w+) = (\d+),", enum)}
    spelled = {"MOST": "max_objects", "OTHER_WATCH": "other watch"}
    assert {number: spelled.get(name, name.lower()) for number, name in numbers.items()} == layout.NOT_FOLLOWED_WHY
    assert set(layout.NOT_FOLLOWED_WHY.values()) == set(get_args(WhyNot))
    told = (ROOT / "docs/events.md").read_text()
    for number, name in layout.NOT_FOLLOWED_WHY.items():
        assert f"{number} {name}" in PAGE, name
        assert re.search(rf"^\|.*`{name}`.*\|", told, re.MULTILINE), name


def test_ends_of_watches_agree() -> None:
    header = (ROOT / "memwatch_core/core/memwatch.h").read_text()
    enum = header.partition("typedef enum mw_end {")[2].partition("}")[0]
    numbers = {int(number): name.lower() for name, number in re.findall(r"MW_END_(\w+) = (\d+),", enum)}
    assert numbers == {0: "unknown", **layout.ENDS}
    assert {"", *layout.ENDS.values()} == set(get_args(End))
    told = (ROOT / "docs/events.md").read_text()
    for number, name in layout.ENDS.items():
        assert f"{number} {name}" in PAGE, name
        assert re.search(rf"^\|.*`{name}`.*\|", told, re.MULTILINE), name
    assert set(layout.GIVEN.values()) | {""} == set(get_args(Given))
    assert layout.ENDING.size == layout.REGISTERED.size


def test_header_fields_lie_where_page_and_header_file_say() -> None:
    fields, size = offsets("mwj_header")
    by_page = {row[2]: int(row[0]) for row in table("## File")}
    names = ["magic", "version_major", "version_minor", "header_size", "slot_size", "segment_slots", "pid", "started",
             "runtime", "tracker", "session", "page_size", "abi_version"]  # fmt: skip
    raw = bytearray(layout.HEADER.size)
    for number, name in enumerate(names):
        raw[fields[name]] = 255 - number
    unpacked = layout.HEADER.unpack(raw)
    for number, (name, value) in enumerate(zip(names, unpacked, strict=True)):
        assert (value if isinstance(value, int) else value[0]) == 255 - number, name
        assert (
            by_page["version" if name == "version_major" else name] == fields[name] if name != "version_minor" else True
        )
    counters = {
        "reserved": layout.HEADER_RESERVED,
        "lost": layout.HEADER_LOST,
        "closed": layout.HEADER_CLOSED,
        "front": layout.HEADER_FRONT,
        "stores_before": layout.HEADER_STORES_BEFORE,
    }
    others = {"max_bytes": layout.HEADER_MAX_BYTES, "read": layout.HEADER_READ, "losses": layout.HEADER_LOSSES}
    for name, offset in (counters | others).items():
        assert fields[name] == by_page[name] == offset
    assert size == layout.HEADER_SIZE
    assert fields["policy"] - fields["max_bytes"] == 8
    assert fields["read_check"] - fields["read"] == 8
    row, size = offsets("mwj_lost")
    assert (row["variable"], row["count"], size) == (0, 8, layout.LOSS.size)
    raw = bytearray(layout.COUNTERS.size)
    for number, name in enumerate(counters):
        raw[fields[name] - layout.HEADER_RESERVED] = number + 1
    assert layout.COUNTERS.unpack(raw) == (1, 2, 3, 4, 5, 0)


def test_both_loops_have_the_same_limits() -> None:
    native = ROOT / "memwatch_core/journal/native"
    text = "".join(path.read_text() for path in sorted(native.iterdir()))

    def defined(name: str) -> int:
        (value,) = re.findall(rf"#define {name} (.*?)(?: /\*.*)?\n", text)
        first, _, by = value.strip("()").replace("u", "").partition(" << ")
        return int(first) << int(by or 0)

    for name in ("DECODED", "LARGE", "MAPPED", "HEAD"):
        assert defined(name) == getattr(followed, name), name
    assert defined("DEPTH_MAX") == jsonlines._DEPTH_MAX
    for name, value in (("SIZE", layout.CELL_SIZE), ("HEAD", layout.CELL.size), ("CUT", layout.CellFlag.CUT)):
        assert defined(f"CELL_{name}") == value
    assert re.findall(r'#define UNNAMED "(.*?)"', text) == [layout.UNNAMED]
    (cells,) = re.findall(r"enum cell_kind \{(.*?)\};", text, re.DOTALL)
    names = re.findall(r"CELL_(\w+)", cells)
    assert names == [kind.name for kind in layout.CellKind][: len(names)]
    (stops,) = re.findall(r"enum stop \{ (.*?) \};", text)
    assert [name.removeprefix("STOP_") for name in stops.split(", ")] == [stop.name for stop in stores.Stop]


def test_slot_fields_lie_where_the_header_file_says() -> None:
    assert f"offsetof(struct mwj_slot, store.payload) == {layout.STORE_PAYLOAD}" in HEADER_FILE
    assert f"offsetof(struct mwj_slot, blob.payload) == {layout.BLOB_PAYLOAD}" in HEADER_FILE
    slot, _ = offsets("mwj_slot")
    assert (slot["word"], slot["tid"], slot["time"], slot["id"], slot["offset"]) == (0, 4, 8, 16, 20)
    for form in (layout.STORE, layout.BLOB, layout.VARIABLE):
        assert form.size == layout.SLOT_SIZE
    variable, size = offsets("mwj_variable")
    assert list(variable.values()) == [0, 4, 12, 20, 28, 36]
    assert 20 + size == layout.SLOT_SIZE
    raw = bytearray(64)
    for number, name in enumerate(("flags", "size", "depth_start", "depth_stop", "address")):
        raw[20 + variable[name]] = number + 1
    assert layout.VARIABLE.unpack(raw)[4:] == (1, 2, 3, 4, 5)
    call, size = offsets("mwj_call")
    assert size == layout.CALL.size
    raw = bytearray(size)
    for number, name in enumerate(("name", "fd", "bytes")):
        raw[call[name]] = number + 1
    assert layout.CALL.unpack(raw) == (1, 2, 3)
    continuation, _ = offsets("mwj_continuation")
    assert continuation["payload"] == layout.CONTINUATION_PAYLOAD
    assert layout.word(1, 2, 3, 128) == struct.unpack("<I", b"\1\2\3\x80")[0]


@pytest.mark.parametrize("slots", [1, 2, 3, 255])
@pytest.mark.parametrize("first", [layout.STORE_PAYLOAD, layout.BLOB_PAYLOAD])
def test_payload_of_a_record_is_what_its_slots_have_room_for(first: int, slots: int) -> None:
    word = struct.pack("<I", layout.word(layout.Kind.CONTINUATION))
    room = layout.room(layout.SLOT_SIZE - first, slots)
    payload = bytes(number % 251 for number in range(room))
    begin = layout.SLOT_SIZE - first
    step = layout.CONTINUATION_ROOM
    rest = [word + payload[at : at + step] for at in range(begin, room, step)]
    record = memoryview(bytes(first) + payload[:begin] + b"".join(rest))
    assert len(record) == slots * layout.SLOT_SIZE
    for length in {0, 1, begin, begin + 1, room - 1, room}:
        if length <= room:
            assert layout.payload_of(record, first, length) == payload[:length]
    assert layout.is_continued(record, 0, slots)
    if slots > 1:
        broken = bytearray(record)
        broken[-layout.SLOT_SIZE] = layout.Kind.PAD
        assert not layout.is_continued(memoryview(broken), 0, slots)


def test_word_is_taken_apart_as_it_was_put_together() -> None:
    for parts in ((1, 2, 3, 128), (255, 255, 255, 255), (0, 0, 0, 0)):
        assert layout.parts_of(layout.word(*parts)) == parts


def test_head_that_is_cut_short_reads_as_zeros() -> None:
    assert layout.head_of(b"\1\2", layout.CONTENT) == (0x201,)
    assert layout.head_of(b"", layout.LOST) == (0,)
