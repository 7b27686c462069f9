"""Values of any size are shown by what changed, counted as the program counts, whoever shows them."""

from __future__ import annotations

import json
import re
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import memwatch_serializer_bytes
import memwatch_serializer_struct
import pytest

from memwatch_core import watch
from memwatch_core.cli.filters import Filters
from memwatch_core.records import Event, Lost, Record, Serializer, Watched
from memwatch_core.rendering.jsonlines import encode
from memwatch_core.rendering.text import Lines
from memwatch_plugins.testing.sessions import real_session

SIZES = (100, 4_084, 65_528, 65_535, 65_536, 65_537, 1 << 20)
"""Shown whole and in part, in one record and in several, decoded as a whole and not: both sides of each limit."""
SERIALIZERS: Sequence[Serializer] = (
    *memwatch_serializer_bytes.memwatch_serializers(),
    *memwatch_serializer_struct.memwatch_serializers(),
)


def shown(records: Sequence[Record]) -> list[str]:
    """What the console says of each event: the first three of its words, as it were."""
    lines = list(Lines(max_value=60).format([record for record in records if isinstance(record, Event)]))
    return [line[14:].split("  test_large")[0].split("  /")[0].split("  tests/")[0] for line in lines]


def squeezed(lines: list[str]) -> list[str]:
    return [" ".join(line.split()) for line in lines]


def passing(records: Sequence[Record], text: str) -> list[int]:
    """Numbers of the events that ``memwatch log --variable`` shows."""
    wanted = Filters([text])
    return [record.seq for record in records if isinstance(record, Event) and wanted(record)]


def test_part_that_can_be_none_is_named_as_such(tmp_path: Path) -> None:
    with real_session(tmp_path, serializers=SERIALIZERS) as session:
        grid = watch(bytearray(8), name="grid")
        grid[7] = 1
        records = session.records()
    odd = ("[-1]", "[-8:-1]", "[0:-1]", "[3:3]", "[5:2]", "[+1]", "[", "[7")
    for part in (*odd, "[6]", "[0:7]", "[:4]", "[0:8:2]", "[1, 2]", ".x", "['a']"):
        wanted = Filters([f"grid{part}"])
        assert not [record for record in events_of(records) if wanted(record)]
        (said,) = wanted.failed()
        assert (" is no part: elements and bytes count from 0; write grid[3] or grid[0:16]" in said) == (part in odd), (
            said
        )
        assert said.startswith(f"--variable {f'grid{part}'!r}: ")
    for part in ("[7]", "[0:8]", "[4:]", "[1:8:2]"):
        assert passing(records, f"grid{part}") == [1]


def events_of(records: Sequence[Record]) -> list[Event]:
    assert not [record for record in records if isinstance(record, Lost)]
    return [record for record in records if isinstance(record, Event)]


@pytest.mark.parametrize("size", SIZES)
def test_stores_to_a_bytearray_are_counted_as_its_bytes(size: int, tmp_path: Path) -> None:
    with real_session(tmp_path, serializers=SERIALIZERS) as session:
        x = watch(bytearray(size), name="x", capacity=size + 8)
        x[0] = 1
        x[size - 1] = 2
        x[size // 2 : size // 2 + 4] = b"abcd"
        memoryview(x)[size // 3] = 3
        middle, third = size // 2, size // 3
        records = session.records()
    events = events_of(records)
    assert squeezed(shown(records)) == [
        r"x[0:1] b'\x00' -> b'\x01'",
        rf"x[{size - 1}:{size}] b'\x00' -> b'\x02'",
        rf"x[{middle}:{middle + 4}] b'\x00\x00\x00\x00' -> b'abcd'",
        rf"x[{third}:{third + 1}] b'\x00' -> b'\x03'",
    ]
    lines = [json.loads(line) for line in encode(events).splitlines()]
    assert [line["part"] for line in lines] == [
        {"name": "[0:1]", "old": "00", "new": "01", "activation": None},
        {"name": f"[{size - 1}:{size}]", "old": "00", "new": "02", "activation": None},
        {"name": f"[{middle}:{middle + 4}]", "old": "00000000", "new": "61626364", "activation": None},
        {"name": f"[{third}:{third + 1}]", "old": "00", "new": "03", "activation": None},
    ]
    for text, found in (
        ("x", [1, 2, 3, 4]),
        ("x[0]", [1]),
        (f"x[{size - 1}:{size}]", [2]),
        (f"x[{middle + 3}]", [3]),
        (f"x[{middle + 4}]", []),
        (f"x[{third}:{middle + 1}]", [3, 4]),
        ("y[0]", []),
    ):
        assert passing(records, text) == found, text
    (watched,) = (record for record in records if isinstance(record, Watched))
    line = squeezed(list(Lines().format([watched])))[0]
    if size + 16 <= 1 << 16:
        assert watched.part is None
        assert "x is watched: bytearray(b'" in line
    else:
        assert (watched.value, watched.part and watched.part.new) == (None, bytes(1016))
        assert r"x[0:1016] is watched: b'\x00\x00" in line
        assert f"(bytearray, {size + 16:,} bytes)" in line


@pytest.mark.parametrize("size", SIZES)
def test_a_bytearray_that_grows_and_shrinks_makes_as_many_events_at_any_size(size: int, tmp_path: Path) -> None:
    """One write where a record holds all that moves, and otherwise the bytes and the length."""
    with real_session(tmp_path, serializers=SERIALIZERS) as session:
        x = watch(bytearray(size), name="x", capacity=size + 16)
        x[size - 1] = 1
        x.append(7)
        x += b"zz"
        x.pop()
        x.insert(size, 5)
        del x[size:]
        assert x == bytes(size - 1) + b"\1"
        records = session.records()
    events = events_of(records)[1:]
    if size + 11 <= 4096:
        assert [event.part and event.part.name for event in events] == [
            f"[0:{size + 1}]", f"[0:{size + 3}]", "len()", f"[0:{size + 3}]", "len()",
        ]  # fmt: skip
        assert len(events[-1].old) == size + 3
        return
    assert squeezed(shown(events)) == [
        rf"x[{size}:{size + 1}] b'' -> b'\x07'",
        f"len(x) {size} -> {size + 1}",
        rf"x[{size + 1}:{size + 3}] b'' -> b'zz'",
        f"len(x) {size + 1} -> {size + 3}",
        f"len(x) {size + 3} -> {size + 2}",
        rf"x[{size}:{size + 3}] b'\x07z' -> b'\x05\x07z'",
        f"len(x) {size + 2} -> {size + 3}",
        f"len(x) {size + 3} -> {size}",
    ]
    assert passing(records, "len(x)") == [3, 5, 6, 8, 9]


def test_a_short_value_in_a_large_room_is_shown_as_far_as_it_goes(tmp_path: Path) -> None:
    with real_session(tmp_path, serializers=SERIALIZERS) as session:
        x = watch(b"ab", name="x", capacity=1 << 20)
        x += b"c"
        x.value = b""
        records = session.records()
    assert squeezed(shown(records)) == ["x[0:3] b'ab' -> b'abc'", "len(x) 3 -> 0"]


@pytest.mark.parametrize("size", [100, 65_528, 65_537])
@pytest.mark.parametrize("kind", ["bytearray", "bytes", "struct"])
def test_a_secret_of_any_size_is_said_to_be_one(kind: str, size: int, tmp_path: Path) -> None:
    with real_session(tmp_path, serializers=SERIALIZERS) as session:
        if kind == "struct":
            kept = watch((1, b"sekret"), name="x", format=f"<q{size}s", secret=True)
        else:
            content = b"sekret".ljust(size, b"t")
            kept = watch(bytearray(content) if kind == "bytearray" else content, name="x", secret=True)
        records = session.records()
    del kept
    (line,) = Lines(max_value=60).format([each for each in records if isinstance(each, Watched)])
    assert re.search(r"x(\[0:\d+\])? is watched: (<secret [0-9a-f]{12}>|a secret)  ", line)
    assert "sekret" not in line


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("size", SIZES)
def test_stores_to_a_struct_are_shown_by_its_fields(size: int, named: bool, tmp_path: Path) -> None:
    fields: dict[str, Any] = {"fields": ("qty", "tag", "price")} if named else {}
    with real_session(tmp_path, serializers=SERIALIZERS) as session:
        s = watch((0, bytes(size), 1.5), name="s", format=f"<q{size}sd", **fields)
        s[0] = 4
        s[2] = 2.5
        view = memoryview(s).cast("B")
        view[8] = 65
        view[8 + size - 1] = 66
        view[8 + size + 7] = 0
        view[6:10] = b"\1\0BC"
        records = session.records()
    qty, tag, price = ("s.qty", "s.tag", "s.price") if named else ("s[0]", "s[1]", "s[2]")
    smaller = struct.unpack("<d", struct.pack("<d", 2.5)[:7] + b"\0")[0]
    lines = squeezed(shown(records))
    several = list(range(6, len(lines) + 1))  # libc may store four bytes twice; they touch two fields
    last = size - 1
    if size > 256:
        assert lines[2:4] == [
            rf"{tag}[0:1] b'\x00' -> b'A'",
            rf"{tag}[{last}:{last + 1}] b'\x00' -> b'B'",
        ]
        assert passing(records, f"{tag}[{last}]") == [4] if named else [4, *several]
    assert [lines[0], lines[1], lines[4]] == [
        f"{qty} 0 -> 4",
        f"{price} 1.5 -> 2.5",
        f"{price} 2.5 -> {smaller}",
    ]
    assert passing(records, price) == [2, 5]
    assert passing(records, qty) == [1, *several]
    both = events_of(records)[5].part
    assert both is not None
    assert both.name == "[0:2]"
    of_qty, of_tag = ("qty", "tag" if size <= 256 else "tag[0:2]") if named else (0, 1)
    assert (both.old[of_qty], both.new[of_qty]) == (4, 4 + (1 << 48))
    assert both.new[of_tag][:2] == b"BC"


def test_numbers_have_no_parts(tmp_path: Path) -> None:
    with real_session(tmp_path) as session:
        total = watch(0, name="total")
        total += 5
        records = session.records()
    assert [event.part for event in events_of(records)] == [None]
    assert passing(records, "total[0]") == []


PROGRAM = """\
from memwatch_core import watch
x = watch(bytearray(65536), capacity=70000)
x[0] = 1
x[65535] = 2
x.append(3)
"""


def test_console_log_and_json_of_a_real_run_count_the_same(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "memwatch_core.cli", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
        return done.stdout + done.stderr

    wanted = [
        r"x[0:1] b'\x00' -> b'\x01' program.py:3",
        r"x[65535:65536] b'\x00' -> b'\x02' program.py:4",
        r"x[65536:65537] b'' -> b'\x03' program.py:5",
        "len(x) 65536 -> 65537 program.py:5",
    ]
    for said in (run("run", "program.py"), run("log"), run("log", "--variable", "x")):
        lines = [" ".join(line.split()) for line in said.splitlines()]
        assert [line[13 : line.index(" <module>")] for line in lines if " -> " in line and line[:1].isdigit()] == wanted
    found = [json.loads(line) for line in run("log", "--json", "--variable", "x[65535:65537]").splitlines()]
    assert [line["part"]["name"] for line in found] == ["[65535:65536]", "[65536:65537]"]
    assert [line["site"]["line"] for line in found] == [4, 5]
    assert "nothing was written to this part of x" in subprocess.run(
        [sys.executable, "-m", "memwatch_core.cli", "log", "--variable", "x[7]"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60,
    ).stderr  # fmt: skip
