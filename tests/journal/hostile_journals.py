"""Session folders that a stranger made to bring a reader down: small on disk, and each of them asks for much."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

from journal_writer import CONTEXT, METADATA, OUTCOME, SEGMENT, THREAD, TIME, JournalWriter, cell

SOAK = 4 if os.environ.get("MEMWATCH_SOAK") else 1
FAR = 4_102_444_800_000_000_000  # 2100
PART = 15_000


def long_blob(writer: JournalWriter, kind: int, ident: int, payload: bytes, part: int = PART) -> None:
    """A payload of any length, in records that say that more is to come."""
    for start in range(0, len(payload), part):
        more = start + part < len(payload)
        writer.blob(kind, ident, payload[start : start + part], flags=128 if more else 0)


def describe(writer: JournalWriter, ident: int, size: int, **fields: object) -> None:
    writer.variable(ident, size)
    long_blob(writer, METADATA, ident, json.dumps(fields).encode())


def wide_format(folder: Path) -> None:
    """Structs of half a million values, each format its own."""
    writer = JournalWriter()
    for ident in range(1, 9):
        form = "b" * 500_000 + "x" * ident
        names = [f"f{ident}_{i}" for i in range(20_000)]
        describe(writer, 2 * ident, 60_000, name="wide", serializer="struct", options={"format": form})
        describe(writer, 2 * ident + 1, 60_000, name="named", serializer="struct",
                 options={"format": "b" * 20_000, "fields": names})  # fmt: skip
        for count in range(20):
            writer.store(2 * ident, count, b"\0", b"\1")
            writer.store(2 * ident + 1, count, b"\0", b"\1")
    writer.save(folder)


def many_formats(folder: Path) -> None:
    """As many named tuples of as many fields as a writer may make, and a store to each in turn."""
    writer = JournalWriter()
    count = 150 * SOAK
    for ident in range(1, count):
        names = [f"n{ident}_{i}" for i in range(255)]
        describe(writer, ident, 255, name="s", serializer="struct", options={"format": "255B", "fields": names})
        form = f"{'b' * 4095}{ident % 9}x"
        describe(writer, count + ident, 4096, name="t", serializer="struct", options={"format": form})
    for number in range(3):
        for ident in range(1, count):
            writer.store(ident, number, b"\0", b"\1")
    writer.save(folder)


def stores_to_an_array(folder: Path) -> None:
    """Bytes written to an array of 65,536 numbers, one by one."""
    writer = JournalWriter(runtime="node")
    writer.watch(1, bytes(65_536), "array", "typedarray", options={"class": "Int8Array"})
    for at in range(500 * SOAK):
        writer.store(1, at, b"\0", b"\1")
    writer.save(folder)


def stores_to_halves(folder: Path) -> None:
    """The same in four processes, with numbers that are objects each."""
    for pid in range(4):
        writer = JournalWriter(pid=5000 + pid, runtime="node")
        describe(writer, 1, 65_536, name="array", serializer="typedarray", options={"class": "Int16Array"})
        writer.store(1, 0, bytes(4000), b"\xff\x7e" * 2000)
        for at in range(100 * SOAK):
            writer.store(1, 4096 + 2 * at, b"\0\0", struct.pack("<H", 300 + at))
        writer.save(folder)


def stores_to_large_arrays(folder: Path) -> None:
    """Of a gigabyte, says the file: small stores all over them, and sizes that change with each record."""
    for pid, kind in ((5000, "Int8Array"), (5001, "Float64Array"), (5002, "DataView")):
        writer = JournalWriter(pid=pid, runtime="node")
        for ident, size in ((1, 1 << 30), (2, 100 << 20), (3, 1 << 17)):
            describe(writer, ident, size, name=f"array{ident}", serializer="typedarray", options={"class": kind})
            for at in range(2_000 * SOAK):
                writer.store(ident, at * 50_001 % size, b"\0", b"\1")
            writer.store(ident, size - 3_000, bytes(3_000), b"\1" * 3_000)
        for number in range(1_000 * SOAK):
            size = (100 << 20, 70_000, 8)[number % 3]
            writer.metadata(2, name="array2", serializer="typedarray", size=size, options={"class": kind})
            writer.store(2, size - 1, b"\0", b"\1")
        for ident in range(10, 1_000 * SOAK):
            describe(writer, ident, 100 << 20, name="x", serializer="typedarray", options={"class": kind})
            writer.unregistered(ident)
        writer.save(folder)


def stores_to_long_fields(folder: Path) -> None:
    """Stores at the borders of fields of a hundred megabytes, and to each of thousands of fields in turn."""
    writer = JournalWriter()
    size = 100 << 20
    describe(writer, 1, size + 16, name="s", serializer="struct", options={"format": f"<q{size}sq"})
    describe(writer, 2, 32_768, name="t", serializer="struct", options={"format": "<4096q"})
    for number in range(2_000 * SOAK):
        writer.store(1, size + 7, bytes(2), b"\1\2")
        writer.store(1, 7, bytes(2), b"\1\2")
        writer.store(2, number * 8 % 32_768, b"\0", b"\1")
    writer.save(folder)


def large_variables(folder: Path) -> None:
    """64 bytes of a file that say: I am 64 KiB."""
    for pid in range(4):
        writer = JournalWriter(pid=5000 + pid)
        for ident in range(1, 1_500 * SOAK + 1):
            writer.variable(ident, 65_536)
        writer.save(folder)


def large_variables_written(folder: Path) -> None:
    """And each of them is written to, as arrays of numbers."""
    for pid in range(2):
        writer = JournalWriter(pid=5000 + pid, runtime="node")
        for ident in range(1, 1_100 * SOAK + 1):
            writer.variable(ident, 65_536)
            writer.metadata(ident, name=f"v{ident}", serializer="typedarray", options={"class": "Uint16Array"})
            writer.store(ident, 0, b"\0", b"\1")
        writer.save(folder)


def long_names(folder: Path) -> None:
    """Names of a megabyte: of a variable, a thread, a file, a statement."""
    writer = JournalWriter()
    for ident, kind in enumerate(("name", "serializer", "path", "thread"), 1):
        describe(writer, ident, 8, **{"name": f"v{ident}", kind: "n" * 1_000_000})
    describe(writer, 5, 8, name="m" * 65_000)
    long_blob(writer, THREAD, 0, b"t" * 1_000_000)
    for ident, statement in ((1, "s" * 1_000_000), (2, "\x9b" * 40_000)):
        fields = {"id": ident, "driver": "d" * 2_000, "statement": statement, "statement_hash": "h" * 9_000}
        long_blob(writer, CONTEXT, ident, json.dumps(fields).encode())
    long_blob(writer, 8, 1, struct.pack("<IIHH", 1, 0, 65_000, 65_000) + b"f" * 130_000)
    long_blob(writer, 8, 2, struct.pack("<IIHH", 1, 0, 4_000, 4_000) + b"f" * 8_000)
    for number in range(1_000 * SOAK):
        writer.store(number % 5 + 1, 0, b"\0", b"\0", context=number % 3, site=number % 3)
    writer.save(folder)


def parts_of_a_byte(folder: Path) -> None:
    """A payload in a hundred thousand parts that never ends, and many that never end."""
    writer = JournalWriter()
    for _ in range(10_000 * SOAK):
        writer.blob(CONTEXT, 1, b"{" * 40, flags=128)
    for ident in range(3_000):
        writer.blob(METADATA, ident, b"{", flags=128)
    writer.save(folder)


def deep_and_huge(folder: Path) -> None:
    """JSON that nests as deeply as it can, numbers without end, times at the end of time."""
    writer = JournalWriter(started=2**64 - 10)
    depth = 12_000
    for ident, text in enumerate(
        (
            '{"options": {"a": ' + "[" * depth + "]" * depth + "}}",
            '{"options": {"a": ' + '{"a": ' * depth + "1" + "}" * depth + "}}",
            '{"options": {"a": ' + "9" * 60_000 + "}}",
            '{"size": ' + "9" * 60_000 + "}",
            '{"size": 18446744073709551615, "thread_ident": -9223372036854775808}',
            '{"options": {"a": ' + "[" * 500 + "]" * 500 + "}}",
            '{"options": {"a": [' + ",".join(["{}"] * 20_000) + "]}}",
        ),
        1,
    ):
        writer.variable(ident, 2**64 - 1, start=2**64 - 2, time=2**64 - 1)
        writer.clock = TIME
        long_blob(writer, METADATA, ident, text.encode())
        long_blob(writer, CONTEXT, ident, text.encode())
        writer.store(ident, 2**32 - 1, b"\0", b"\1", time=2**64 - 1, context=ident)
        writer.clock = TIME
    for ident in range(100, 300):
        describe(writer, ident, 8, options={"a": [{}] * 15_000})
    writer.closed = 2**64 - 1
    writer.save(folder)


def places(folder: Path) -> None:
    """Of an object as large as a variable can be: each place with a name, and a store to it; names as long as they can
    be, of characters that take most memory; slabs that are later ones of each other."""
    writer = JournalWriter()
    writer.slab(1, "o", pages=1 << 20)
    plain, hard = cell(1), cell(("😀" * 15,))
    for number in range(60_000 * SOAK):
        writer.place(1, 64 * number, f".{number}")
        writer.change(1, 64 * number, cell(), plain)
        writer.change(1, 64 * number, plain, hard)
    for number in range(500 * SOAK):
        writer.place(1, 64 * number, "a" * 4_092 + "😀")
    for number in range(4_000 * SOAK):
        writer.slab(2 + number, "o", first=number % 3 + 1, shown="s" * 2_000)
        writer.place(2 + number, 0, ".a")
        writer.change(2 + number, 64 * (number % 70), cell(), bytes([number % 256, number // 256 % 256]) + bytes(60))
    writer.save(folder)


def names_of_names(folder: Path) -> None:
    """Each place of an object under as many other names as there can be, as long as they can be; the same again and
    again for one place; names of variables that aren't there; reasons why as many things aren't followed."""
    writer = JournalWriter()
    writer.slab(1, "o", pages=1 << 10)
    writer.slab(2, "n" * 1_000)
    for number in range(6_000 * SOAK):
        writer.place(1, 64 * number, f".{number}")
        writer.alias(1, 64 * number, [(2, "😀" * 120 + f".{number}") for _ in range(8)], cut=True)
        writer.change(1, 64 * number, cell(), cell(number))
    for number in range(20_000 * SOAK):
        writer.alias(1, 64, [(number, f".{number}")] * (number % 9))
        writer.change(1, 64, cell(), cell(1))
    for number in range(20_000 * SOAK):
        writer.not_followed(number % 3, 2**64 - 1, number % 256, f"t{number}", f".{number}")
    writer.save(folder)


def savepoints(folder: Path) -> None:
    """One transaction of many statements, and a savepoint's end for each of them."""
    writer = JournalWriter()
    writer.watch(1, bytes(8), "n")
    count = 3_000 * SOAK
    for ident in range(1, count):
        fields = {"id": ident, "driver": "d", "statement": "s", "statement_hash": "", "transaction": 1}
        writer.json(CONTEXT, ident, fields)
        writer.store(1, 0, bytes(8), bytes(8), context=ident)
    for ident in range(1, count):
        writer.json(OUTCOME, 1, {"scope": "savepoint", "since": count - ident % 7, "outcome": "rolled back"})
    writer.save(folder)


def of_another_process(folder: Path) -> None:
    """One that is open, and whose process is one that never ends; one whose clock is a lifetime ahead."""
    writer = JournalWriter(pid=1)
    writer.closed = 0
    writer.watch(1, bytes(8), "open")
    writer.save(folder)
    writer = JournalWriter(pid=5000, started=FAR)
    writer.watch(1, bytes(8), "ahead")
    for number in range(1_500):
        writer.store(1, 0, struct.pack("<q", number), struct.pack("<q", number + 1))
    writer.save(folder)


def sparse(folder: Path) -> None:
    """Eight TiB of nothing."""
    for pid, front in ((5000, 0), (5001, SEGMENT * 1_000_000)):
        writer = JournalWriter(pid=pid)
        writer.watch(1, bytes(8), "n")
        writer.store(1, 0, bytes(8), b"\1" + bytes(7))
        writer.reserved = 2**37
        data = bytearray(writer.bytes())
        data[10:12] = struct.pack("<H", 1)
        data[208:244] = struct.pack("<QQQQI", front, 0, 0, 1 << 22 if front else 0, 2)
        path = folder / f"{pid}-python.mwj"
        path.write_bytes(data)
        os.truncate(path, 8 << 40)


def thousands(folder: Path) -> None:
    """Files that are journals, files that may become some, and what is none."""
    writer = JournalWriter()
    writer.watch(1, bytes(8), "n")
    writer.store(1, 0, bytes(8), b"\1" + bytes(7))
    for pid in range(600 * SOAK):
        (folder / f"{10_000 + pid}-python.mwj").write_bytes(writer.bytes(whole_segments=False))
        (folder / f"{20_000 + pid}-python.mwj").write_bytes(b"" if pid % 2 else b"nonsense" * 1000)
    os.mkfifo(folder / "9-python.mwj")


def settings_of_nonsense(folder: Path) -> None:
    """Settings and a description that nest, and a description dated at the end of the calendar."""
    writer = JournalWriter()
    writer.watch(1, bytes(8), "n")
    writer.save(folder)
    (folder / "settings.json").write_text('{"settings": ' + "[" * 400_000)
    text = {"format": 1, "session": "00" * 16, "started": "9999-12-31T23:59:59.999999Z", "command": ["x"] * 100_000}
    (folder / "session.json").write_text(json.dumps(text))


SHAPES: dict[str, Callable[[Path], None]] = {
    shape.__name__: shape
    for shape in (
        wide_format, many_formats, stores_to_an_array, stores_to_halves, stores_to_large_arrays,
        stores_to_long_fields, large_variables, large_variables_written,
        long_names, parts_of_a_byte, deep_and_huge, places, names_of_names, savepoints, of_another_process, sparse,
        thousands, settings_of_nonsense,
    )
}  # fmt: skip


def make(shape: str, folder: Path) -> int:
    """Makes a session's folder; the bytes that its files take on disk."""
    folder.mkdir(parents=True)
    description = {"format": 1, "session": "00" * 16, "started": "2026-11-29T10:00:00Z", "command": ["x"]}
    (folder / "session.json").write_text(json.dumps(description))
    SHAPES[shape](folder)
    return sum(min(path.stat().st_size, path.stat().st_blocks * 512) for path in folder.iterdir())
