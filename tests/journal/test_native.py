"""Names of native code, from journals and files that may be anything."""

from __future__ import annotations

import random
import struct
import sys
from pathlib import Path

import pytest
from decoding import decode
from journal_writer import JournalWriter

from memwatch_core.host import native
from memwatch_core.host.elf import Elf, opened, reader_of
from memwatch_core.records import Event, Lost, Notice, Site

NATIVE = 32


def elf_of(data: bytes, folder: Path) -> Elf:
    file = folder / "file"
    file.write_bytes(data)
    return Elf(reader_of(opened(str(file))))


def test_damaged_files_raise_nothing_else(tmp_path: Path) -> None:
    """Whatever is asked of them: a number, a name, or ValueError and its like."""
    import _struct

    rng = random.Random(1)
    source = getattr(_struct, "__file__", None) or sys.executable
    whole = Path(source).read_bytes()[: 1 << 20]
    heads = [*range(64), *range(64, 64 + 56 * 11)]
    found = 0
    for _ in range(120):
        data = bytearray(whole)
        for _ in range(rng.choice((0, 1, 3))):
            data[rng.choice(heads)] = rng.randrange(256)
        for _ in range(rng.choice((0, 5))):
            at = rng.randrange(len(data) - 8)
            data[at : at + 8] = rng.choice((rng.randbytes(8), struct.pack("<q", rng.randrange(-9, 1 << 20))))
        try:
            elf = elf_of(bytes(data[: rng.choice((len(data), len(data), rng.randrange(len(data))))]), tmp_path)
            assert isinstance(elf.build_id(), str)
            for address in rng.sample(range(1 << 17), 3):
                found += elf.function_at(address) is not None
                assert elf.leaves_stack_alone(address) in (True, False)
        except native._WRONG:
            pass
    assert found


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("/nowhere/libfoo.so", "+0x114c build-id=00ff", "+0x114c"),
        ("/nowhere/libfoo.so", "+0x114c return", "+0x114c"),
        ("/nowhere/libfoo.so", "+0x0 caller=0x1 file=1,2,3", "+0x0"),
        ("/dev/zero", "+0xffffffffffffffff file=1,2,3", "+0xffffffffffffffff"),
        ("/proc/self/maps", "+0x1", "+0x1"),
        ("[vdso]", "+0x10 build-id=00", "+0x10"),
        ("a\0b", "+0x10", "+0x10"),
        ("[jit]", "", ""),
        ("/nowhere/libfoo.so", "+0x", None),
        ("/nowhere/libfoo.so", "encode", None),
        ("/nowhere/libfoo.so", "+0x1 build-id=" + "0" * 5000, None),
    ],
)
def test_sites_of_native_code_may_say_anything(tmp_path: Path, file: str, text: str, said: str | None) -> None:
    """What can't be read is said; of a file that isn't there, and of one that is none, no name is told."""
    writer = JournalWriter()
    writer.variable(1, 8)
    writer.metadata(1, name="n", serializer="")
    writer.site(1, file, 0, text, flags=NATIVE)
    writer.store(1, 0, bytes(8), bytes(8), site=1)
    records = decode(writer, tmp_path)
    (event,) = (record for record in records if isinstance(record, Event))
    assert event.site == (None if said is None else Site(file, 0, said))
    assert event.own is None
    assert any(isinstance(record, Lost) for record in records) == (said is None)
    told = [record for record in records if isinstance(record, Notice) and "functions are called" in record.text]
    assert len(told) == (said not in ("", None))


def test_function_is_told_without_the_place_in_it() -> None:
    names = {"encode+0x4c": "encode", "operator+(A)+0x0": "operator+(A)", "+0x114c": "", "f": "f", "a+0xz": "a+0xz"}
    assert {text: native.function_of(Site("/lib/a.so", 0, text)) for text in names} == names
    assert native.function_of(Site("a.py", 3, "x+0x1")) == "x+0x1"
