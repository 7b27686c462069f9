"""Contents of a large variable are in the journal page by page, each before its first store: replayed, they are the
value."""

from __future__ import annotations

import os
import random
import signal
import struct
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import memwatch_serializer_bytes
import pytest

from memwatch_core import unwatch, watch
from memwatch_core.host.decoder import JournalDecoder
from memwatch_core.journal import layout
from memwatch_core.native import core
from memwatch_core.records import Event, Lost, Record, Serializer, Watched
from memwatch_plugins.testing.sessions import real_session

SERIALIZERS: tuple[Serializer, ...] = tuple(memwatch_serializer_bytes.memwatch_serializers())
PAGE, HEAD = 4096, 8
"""Bytes of a page; of the length before a bytearray's bytes."""
SIZE = 1 << 20


def told(journal: Path) -> tuple[dict[int, bytes], list[tuple[int, int, bytes, bytes]]]:
    """Of the one large variable: the contents by offset, and its stores, (number of contents before it, offset, before,
    after), straight from the bytes."""
    data = journal.read_bytes()
    (slots,) = struct.unpack_from("<Q", data, layout.HEADER_RESERVED)
    contents: dict[int, bytes] = {}
    stores = []
    at, end = 4096, 4096 + 64 * slots
    while at < end:
        kind, count, _, flags = data[at : at + 4]
        if not kind:
            break
        lead = {1: 36, 6: 24}.get(kind, 64)
        payload = data[at + lead : at + 64] + b"".join(
            data[n + 4 : n + 64] for n in range(at + 64, at + 64 * count, 64)
        )
        if kind == 1:
            offset, length = struct.unpack_from("<II", data, at + 20)
            stores.append((len(contents), offset, payload[:length], payload[length : 2 * length]))
        elif kind == 6:
            assert not flags
            (length,) = struct.unpack_from("<I", data, at + 20)
            (offset,) = struct.unpack("<Q", payload[:8])
            assert offset % PAGE == 0
            assert offset not in contents
            contents[offset] = payload[8:length].ljust(PAGE, b"\0")
        at += 64 * count
    return contents, stores


def replayed(journal: Path, first: bytes | None = None) -> tuple[dict[int, bytearray], int]:
    """The pages that were told, as they were left; and how many stores there were."""
    contents, stores = told(journal)
    pages = {at: bytearray(page) for at, page in contents.items()}
    order = list(contents)
    for known, offset, before, after in stores:
        for k in range(len(after)):
            at = (offset + k) // PAGE * PAGE
            assert order.index(at) < known, "the contents come first"
            assert pages[at][offset + k - at] == before[k]
            pages[at][offset + k - at] = after[k]
    if first is not None:
        for at, page in contents.items():
            assert first[at : at + PAGE] == page[: len(first) - at]
    return pages, len(stores)


def whole(value: bytes) -> bytes:
    """As it lies in memory."""
    return struct.pack("<Q", len(value)) + value


def records_of(journal: Path) -> Iterator[Record]:
    decoder = JournalDecoder(journal, {each.name: each for each in SERIALIZERS})
    while not decoder.ended:
        yield from decoder.poll()


@pytest.mark.parametrize("seed", range(6))
def test_contents_and_stores_are_the_value_that_is_left(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    value = rng.randbytes(SIZE) if seed % 2 else bytes(SIZE // 2) + rng.randbytes(SIZE // 2)
    with real_session(tmp_path, serializers=SERIALIZERS) as session:
        x = watch(bytearray(value), name="x")
        view = memoryview(x)
        for _ in range(300):
            at, n = rng.randrange(SIZE - 6000), rng.choice([1, 3, 8, 100, 5000])
            if rng.randrange(2):
                view[at : at + n] = rng.randbytes(n)
            else:
                x[at : at + n] = rng.randbytes(n)
        left = whole(bytes(x))
        view.release()
        session.leave()
    (journal,) = session.folder.glob("*.mwj")
    pages, stores = replayed(journal, whole(value))
    assert stores >= 300
    for at, page in pages.items():
        assert left[at : at + PAGE] == page[: len(left) - at]
    untouched = [at for at in range(0, SIZE, PAGE) if at not in pages]
    assert all(left[at : at + PAGE] == whole(value)[at : at + PAGE] for at in untouched)
    records = list(records_of(journal))
    assert not [record for record in records if isinstance(record, Lost)]
    (watched,) = (record for record in records if isinstance(record, Watched))
    assert watched.part is not None
    assert watched.part.new == value[: len(watched.part.new)]
    held = {event.seq: event for event in records if isinstance(event, Event)}
    assert len(held) == stores
    for event in held.values():
        assert event.part is not None
        assert event.part.old is not None


def test_what_is_never_stored_to_is_not_written(tmp_path: Path) -> None:
    with real_session(tmp_path, serializers=SERIALIZERS) as session:
        first = watch(b"", name="first")  # with it, a journal is told of all sites of the process so far
        before = core.stats().slots
        x = watch(bytearray(os.urandom(8 << 20)), name="x")
        x[5_000_000] = 1
        assert (core.stats().slots - before) * layout.SLOT_SIZE < 100_000
        unwatch(first)
        session.leave()
    (journal,) = session.folder.glob("*.mwj")
    contents, stores = told(journal)
    assert (sorted(contents), len(stores)) == ([0, (5_000_000 + HEAD) // PAGE * PAGE], 1)


def test_a_page_of_zeros_takes_one_slot(tmp_path: Path) -> None:
    with real_session(tmp_path, serializers=SERIALIZERS) as session:
        first = watch(b"", name="first")
        before = core.stats().slots
        x = watch(bytearray(SIZE), name="x")
        for at in range(0, SIZE, PAGE):
            x[at] = 1
        assert core.stats().slots - before < 3 * SIZE // PAGE + 50
        unwatch(first)
        session.leave()


def test_a_forked_child_tells_what_it_was_born_with(tmp_path: Path) -> None:
    value = os.urandom(SIZE)
    with real_session(tmp_path, serializers=SERIALIZERS) as session:
        x = watch(bytearray(value), name="x")
        x[100_000] = 1
        born = whole(bytes(x))
        child = os.fork()
        if not child:
            x[100_001] = 2
            x[200_000:206_000] = bytes(6000)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        x[100_002] = 3
        session.leave()
    of_parent, of_child = sorted(
        session.folder.glob("*.mwj"), key=lambda path: not path.name.startswith(str(os.getpid()))
    )
    assert of_child.name.startswith(str(child))
    replayed(of_parent, whole(value))
    pages, stores = replayed(of_child, born)
    assert stores >= 3
    assert pages[(100_001 + HEAD) // PAGE * PAGE][(100_001 + HEAD) % PAGE] == 2
    assert not [record for record in records_of(of_child) if isinstance(record, Lost)]


KILLED = """
    import os, sys, threading
    from memwatch_core import unwatch, watch
    x = watch(bytearray(bytes(range(256)) * 4096), name="x")
    def store(k):
        view, i = memoryview(x), 0
        while True:
            i += 1
            at = (i * 7919 * (k + 1)) % (len(x) - 8)
            if i % 2:
                view[at] = i & 255
            else:
                x[at : at + 6] = b"%06d" % (i % 1000000)
            if i == 200:
                os.write(1, b".")
    for k in range(3):
        threading.Thread(target=store, args=(k,), daemon=True).start()
    threading.Event().wait()
"""


@pytest.mark.parametrize("tracker", ["uffd-sigbus", "readonly"])
@pytest.mark.parametrize("run", range(4))
def test_killed_in_the_midst_nothing_is_unexplained(run: int, tracker: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(KILLED))
    options = ["--quiet", "--tracker", tracker, "--folder", "sessions"]
    command = [sys.executable, "-m", "memwatch_core.cli", "run", *options, str(program)]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as started:
        assert started.stdout is not None
        seen = b""
        while seen.count(b".") < 3:
            seen += (got := os.read(started.stdout.fileno(), 100))
            assert got
        (journal,) = tmp_path.rglob("*.mwj")
        os.kill(int(journal.name.split("-")[0]), signal.SIGKILL)
        started.wait(60)
    first = whole(bytes(range(256)) * 4096)
    _, stores = replayed(journal, first)
    assert stores >= 600
    changed = [
        record for record in records_of(journal) if isinstance(record, Lost) and "without an event" in record.reason
    ]
    assert not changed
