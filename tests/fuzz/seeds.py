"""Writes those inputs of the corpus that are hostile sessions (tests/journal/hostile_journals.py) of a few slots each:
python tests/fuzz/seeds.py."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "journal")]

from hostile_journals import describe, long_blob  # noqa: E402
from journal_target import AT_BORDER, HEAD, RAW  # noqa: E402
from journal_writer import (  # noqa: E402
    ALIAS,
    CONTEXT,
    METADATA,
    NOT_FOLLOWED,
    OUTCOME,
    PLACE,
    REQUEST,
    SEGMENT,
    STACK,
    THREAD,
    JournalWriter,
    cell,
)


def structs(writer: JournalWriter) -> None:
    names = [f"a{i}" for i in range(40)]
    describe(writer, 1, 40, name="named", serializer="struct", options={"format": "40b", "fields": names})
    describe(writer, 2, 64, name="wide", serializer="struct", options={"format": "999999999999b"})
    describe(writer, 3, 64, name="none", serializer="struct", options={"format": 7, "fields": 5, "type": []})
    for ident in (1, 2, 3):
        writer.store(ident, 3, b"\0", b"\1")


def arrays(writer: JournalWriter) -> None:
    for ident, kind in enumerate(("Int8Array", "Int16Array", "Float64Array", "Float16Array"), 1):
        describe(writer, ident, 65_536, name=kind, serializer="typedarray", options={"class": kind})
        writer.store(ident, 65_528, bytes(8), b"\1" * 8)
        writer.store(ident, 65_535, b"\1", b"\2")


def variables(writer: JournalWriter) -> None:
    for ident in range(1, 40):
        writer.variable(ident, (65_536, 65_537, 2**64 - 1)[ident % 3])


def names(writer: JournalWriter) -> None:
    describe(writer, 1, 8, name="n" * 1_100, thread="t" * 1_100)
    long_blob(writer, THREAD, 0, b"t" * 1_100, part=500)
    for _ in range(12):
        writer.blob(METADATA, 1, b"{" * 100, flags=128)
    writer.store(1, 0, b"\0", b"\1")


def numbers(writer: JournalWriter) -> None:
    texts = ('{"size": 1e400}', '{"size": ' + "9" * 400 + "}", '{"options": ' + "[" * 300, "[" * 900)
    for ident, text in enumerate(texts, 1):
        writer.variable(ident, 8, start=2**64 - 1, stop=0)
        writer.blob(METADATA, ident, text.encode())
        writer.blob(CONTEXT, ident, text.encode())
        writer.store(ident, 2**32 - 1, b"\0", b"\1", time=2**64 - 1, context=ident)
        writer.clock = 0


def savepoints(writer: JournalWriter) -> None:
    writer.watch(1, bytes(8), "n")
    for ident in (3, 1, 2, 2, 5):
        fields = {"id": ident, "driver": "d", "statement": "s", "statement_hash": "", "transaction": 1}
        writer.json(CONTEXT, ident, fields)
        writer.store(1, 0, bytes(8), bytes(8), context=ident)
    for since, scope in ((5, "savepoint"), (2, "savepoint"), (2, "savepoint"), (0, "transaction"), (0, "savepoint")):
        writer.json(OUTCOME, 1, {"scope": scope, "since": since, "outcome": "rolled back"})
        writer.json(OUTCOME, 2, {"outcome": "open"})


def holes(writer: JournalWriter) -> None:
    writer.watch(1, bytes(8), "n")
    writer.store(1, 0, bytes(8), b"\1" + bytes(7))


def places(writer: JournalWriter) -> None:
    writer.slab(1, "o", first=1)
    writer.slab(2, "o", first=1)
    writer.slab(3, "o", cells=3, first=9)
    for ident in (1, 2, 3, 4):
        writer.place(ident, 64, ".a" * ident)
        writer.blob(PLACE, ident, b"\0\1")
        for value in (5, 1.5, "text", b"\0", ("[1]",), None, ...):
            writer.change(ident, 64, cell(), cell(value), origin=5)
        writer.change(ident, 64, cell(), cell("x" * 40, cut=(9, 99)))
        writer.store(ident, 0, bytes(64), bytes([9, 255]) * 32)
    writer.unregistered(1)
    writer.change(2, 4032, cell(), cell(True))


def names_of_names(writer: JournalWriter) -> None:
    writer.slab(1, "o")
    writer.slab(2, "p", first=1)
    writer.place(1, 64, ".a")
    some = [[], [(1, ".b")], [(2, ".c"), (9, "")], [(1, "d" * 30)] * 9]
    for names in some:
        for ident, offset in ((1, 64), (1, 128), (2, 64), (7, 65)):
            writer.alias(ident, offset, names, cut=len(names) % 2 > 0)
            writer.change(1, 64, cell(), cell(5))
    for payload in (
        b"",
        bytes(7),
        bytes(9),
        bytes(8) + b"\1\0\0\0\xff\xff",
        struct.pack("<IIIH", 64, 2, 1, 3) + b"abc",
    ):
        writer.blob(ALIAS, 1, payload)
        writer.blob(NOT_FOLLOWED, 1, payload)
    for why in (0, 1, 6, 7, 255):
        writer.not_followed(1, 2**why % 2**64, why, "deque", ".q")
    writer.not_followed(7, 1, 1)
    writer.blob(NOT_FOLLOWED, 1, struct.pack("<QBBH", 1, 1, 255, 9) + b"ab")


def stacks(writer: JournalWriter) -> None:
    writer.watch(1, bytes(8), "n")
    for site in (1, 2):
        writer.site(site, f"/srv/{site}.py", site, "f")
    for ident, sites in ((1, [1, 2]), (2, []), (3, [9, 2**32 - 1]), (1, [2] * 30), (0, [1]), (2**32 - 1, [1])):
        writer.stack(ident, sites, flags=ident)
        for stack in (ident, 7, 2**32 - 1):
            writer.store(1, 0, bytes(8), bytes(8), site=ident % 4, stack=stack)
            writer.store(1, 0, bytes(8), bytes(8), stack=stack, origin=3)
    for payload in (b"", bytes(3), bytes(5), b"\xff" * 100, bytes(4 + 4 * 256)):
        writer.blob(STACK, 5, payload)
    writer.store(1, 0, bytes(8), bytes(8), flags=4)
    writer.store(1, 0, bytes(8), bytes(8), stack=5, flags=128)


def requests(writer: JournalWriter) -> None:
    writer.watch(1, bytes(8), "n")
    fields: list[dict[str, object]] = [{"label": "x", "outer": ["y"] * 9}, {"task": 5}, {"trace_id": "\x1b[31m"}, {}]
    for ident, each in zip((1, 2, 0, 2**32 - 1), fields, strict=True):
        writer.request(ident, **each)
        for request in (ident, 7):
            writer.store(1, 0, bytes(8), bytes(8), request=request)
            writer.store(1, 0, bytes(8), bytes(8), request=request, stack=3, origin=3)
    for payload in (b"", b"{", b"[" * 3000, b'{"outer":[{"a":1}]}', b"\xff" * 100, b"1" * 5000):
        writer.blob(REQUEST, 1, payload)
    writer.store(1, 0, bytes(8), bytes(8), flags=16)
    writer.store(1, 0, bytes(8), bytes(8), request=5, flags=128)


def main() -> None:
    for make in (
        structs,
        arrays,
        variables,
        names,
        numbers,
        savepoints,
        places,
        stacks,
        names_of_names,
        requests,
        holes,
    ):
        writer = JournalWriter()
        make(writer)
        data = bytearray(writer.header()[:HEAD] + writer.slots)
        data[:8] = bytes(8)
        if make is holes:  # far behind, with a front that is further still
            data[AT_BORDER] = 1
            data[128:136] = struct.pack("<Q", 2**40)
            data[208:244] = struct.pack("<QQQQI", SEGMENT * 1_000_000, 9, 9, 1 << 22, 2)
        assert not data[RAW]
        (HERE / "corpus" / f"hostile-{make.__name__}").write_bytes(data)


if __name__ == "__main__":
    main()
