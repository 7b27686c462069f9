"""watch() and unwatch(): what they refuse, what they record, and that nothing is left behind."""

from __future__ import annotations

import ctypes
import gc
import os
import struct
import subprocess
import sys
import textwrap
import threading
import weakref
from decimal import Decimal
from pathlib import Path
from typing import Any

import journals
import pytest
from journals import Opened

from memwatch_core import config
from memwatch_core.adapter import process
from memwatch_core.adapter.watch import unwatch, variable, watch
from memwatch_core.errors import CoreError, SessionError, WatchError
from memwatch_core.journal.session import create_session
from memwatch_core.native import core, proxy
from memwatch_core.records import Layout, Serializer

CENTS = Serializer(
    name="decimal2",
    summary="Decimal with two places, as a 64-bit count of cents",
    accepts=lambda value: isinstance(value, Decimal),
    layout=lambda value, options: Layout("object", 8),
    encode=lambda value, options: struct.pack("<q", int(value * 100)),
    decode=lambda data, options: Decimal(struct.unpack("<q", data)[0]) / 100,
)


class Basket:
    """Something mutable of fixed extent."""

    def __init__(self, apples: int = 0, pears: int = 0) -> None:
        self.apples, self.pears = apples, pears

    def add(self, apples: int) -> int:
        self.apples += apples
        return self.apples

    def __setitem__(self, key: str, count: int) -> None:
        setattr(self, key, count)


BASKET = Serializer(
    name="basket",
    summary="two counts",
    accepts=lambda value: isinstance(value, Basket),
    layout=lambda value, options: Layout("object", 2),
    encode=lambda value, options: bytes([value.apples, value.pears]),
    decode=lambda data, options: Basket(*data),
)


def line() -> int:
    return sys._getframe(1).f_lineno


# ---- what is recorded -----------------------------------------------------------------------------------------------


def test_watch_records_name_serializer_place_and_thread(journal: Opened) -> None:
    total = watch(5); here = line()  # fmt: skip
    contents = journal.read()
    number = variable(total).id
    assert contents.contents[number].ljust(8, b"\0") == (5).to_bytes(8, "little")
    metadata = contents.metadata[number]
    assert metadata["name"] == "total"
    assert metadata["site"] == {
        "file": __file__,
        "line": here,
        "function": "test_watch_records_name_serializer_place_and_thread",
    }
    assert metadata["thread_ident"] == threading.get_ident()
    assert metadata["thread"] == "MainThread"
    told = variable(total)
    assert (told.name, told.serializer, told.size, told.depth) == ("total", metadata["serializer"], 8, None)
    assert told.flags == ("track_threads",)
    assert told.watched_at is not None
    assert told.watched_at.line == here


def test_names_that_utf8_cannot_hold_are_recorded_readably(journal: Opened) -> None:
    names: dict[str, Any] = {"watch": watch}
    exec(compile("x = watch(1, name='n\\udcff')\nx += 1", "caf\udce9.py", "exec"), names)
    (store,) = journal.stores(names["x"])
    metadata = journal.read().metadata[variable(names["x"]).id]
    assert (store.file, store.line) == ("caf?.py", 2)
    assert (metadata["name"], metadata["site"]["file"]) == ("n?", "caf?.py")


def test_names_are_inferred_from_the_assignment(journal: Opened) -> None:
    class Holder:
        attribute: int

    holder, table = Holder(), {}
    local = watch(1)
    holder.attribute = watch(2)
    table["key"] = watch(3)
    first = second = watch(4)
    if (walrus := watch(5)) is None:
        raise AssertionError
    annotated: int = watch(6)
    named = watch(7, name="given")
    in_list = [watch(8)]
    wrapped = watch(
        9,
        track_threads=False,
    )
    names = [variable(p).name for p in (local, holder.attribute, table["key"], first, walrus, annotated, named)]
    assert names == ["local", "holder.attribute", "table['key']", "first", "walrus", "annotated", "given"]
    assert variable(in_list[0]).name == "value"
    assert variable(wrapped).name == "wrapped"
    assert second is first


def test_depth_limits_what_is_reported(journal: Opened) -> None:
    number = watch(0, mutation_depth=(0, 2))
    content = watch(bytearray(16), mutation_depth=(4, 8))
    memoryview(number).cast("B")[5] = 1
    content[0] = 1
    content[9] = 1
    memoryview(number).cast("B")[1] = 1
    content[4] = 1
    content[7] = 1
    assert number == (1 << 40) + (1 << 8)
    assert len(journal.stores(number)) == 1
    assert [store.offset - 8 for store in journal.stores(content)] == [4, 7]
    assert variable(content).depth == (4, 8)


def test_tracking_options_reach_the_core(journal: Opened) -> None:
    quiet = watch(0, track_threads=False, track_sql=True)
    quiet += 1
    (store,) = journal.stores(quiet)
    assert store.tid == 0
    assert variable(quiet).flags == ("track_sql",)
    loud = watch(0)
    loud += 1
    assert journal.stores(loud)[0].tid == threading.get_native_id()


def test_shared_page_keeps_variables_apart(journal: Opened) -> None:
    before = core.stats().pages
    shared = [watch(i, share_page=True) for i in range(100)]
    assert core.stats().pages - before <= 1
    for i, p in enumerate(shared):
        memoryview(p).cast("B").cast("q")[0] = 1000 + i
        p += 1
    for i, p in enumerate(shared):
        afters = [int.from_bytes(store.after, "little") for store in journal.stores(p)]
        assert afters == [1000 + i, 1001 + i]
    del shared, p
    assert core.stats().pages == before


# ---- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [object(), "text", None, frozenset({1}), range(3), 1j, print])
def test_value_without_serializer_is_refused_with_what_to_do(journal: Opened, value: object) -> None:
    with pytest.raises(WatchError, match=r"'thing' can't be watched: no serializer takes a .*\[plugins\] serializers"):
        watch(value, name="thing")
    assert not journal.read().variables


def test_watching_twice_is_refused(journal: Opened) -> None:
    x = watch(1)
    with pytest.raises(WatchError, match="watched already"):
        watch(x)
    assert len(journal.read().variables) == 1


def test_int_that_does_not_fit_is_refused(journal: Opened) -> None:
    with pytest.raises(OverflowError):
        watch(2**63)
    assert not journal.read().variables


@pytest.mark.parametrize("depth", [(3, 3), (5, 2), (-1, 2), (1,), "half", (0, 1.5)])
def test_bad_depth_is_refused(journal: Opened, depth: Any) -> None:
    with pytest.raises(ValueError, match="mutation_depth"):
        watch(1, mutation_depth=depth)


def test_refused_writes_leave_value_and_journal_alone(journal: Opened) -> None:
    number, real, raw, text = watch(7), watch(1.5), watch(bytearray(b"abc"), capacity=4), watch(b"abc", capacity=4)
    record = watch((1, 2.0, b"ab"), format="<bd2s", fields=["small", "real", "tag"])

    def refused(exception: type[Exception], function: Any, *args: Any) -> None:
        with pytest.raises(exception):
            function(*args)

    refused(OverflowError, setattr, number, "value", 2**63)
    refused(OverflowError, number.__imul__, 2**62)
    refused(TypeError, setattr, number, "value", "7")
    refused(TypeError, number.__iadd__, "7")
    refused(ZeroDivisionError, number.__ifloordiv__, 0)
    refused(AttributeError, delattr, number, "value")
    refused(AttributeError, setattr, number, "other", 1)
    refused(AttributeError, setattr, number, "real", 1)
    refused(TypeError, setattr, real, "value", "1.5")
    refused(OverflowError, setattr, real, "value", 10**400)
    refused(ValueError, setattr, raw, "value", b"12345")
    refused(ValueError, raw.extend, b"12")
    refused(ValueError, raw.__setitem__, 0, 256)
    refused(IndexError, raw.__setitem__, 3, 1)
    refused(TypeError, raw.__setitem__, 0, "a")
    refused(TypeError, setattr, raw, "value", 5)
    refused(ValueError, setattr, text, "value", b"12345")
    refused(ValueError, text.__iadd__, b"12")
    refused(TypeError, setattr, text, "value", "abc")
    refused(OverflowError, setattr, record, "small", 128)
    refused(ValueError, setattr, record, "tag", b"abc")
    refused(TypeError, setattr, record, "real", "x")
    refused(ValueError, setattr, record, "value", (1, 2.0))
    refused(TypeError, setattr, record, "value", 5)
    refused(OverflowError, record.__setitem__, slice(0, 2), (500, 1.0))
    refused(IndexError, record.__setitem__, 3, 1)
    refused(TypeError, record.__delitem__, 0)
    assert (number, real, raw, text) == (7, 1.5, b"abc", b"abc")
    assert tuple(record) == (1, 2.0, b"ab")
    assert not journal.read().stores


def test_length_stays_while_a_buffer_is_out(journal: Opened) -> None:
    p = watch(bytearray(b"abcd"), capacity=8)
    with memoryview(p) as view:
        for change in (lambda: p.append(1), p.pop, lambda: p.__delitem__(0), lambda: setattr(p, "value", b"x")):
            with pytest.raises(BufferError):
                change()
        p[0] = 66
        view[1] = 67
        p.value = b"WXYZ"
        assert bytes(view) == b"WXYZ"
    p.append(1)
    assert p == b"WXYZ\1"


def test_proxy_types_cannot_be_made_or_subclassed() -> None:
    for kind in (proxy.Proxy, proxy.Int, proxy.Struct):
        with pytest.raises(TypeError):
            kind()
        with pytest.raises(TypeError):
            type("Mine", (kind,), {})
        with pytest.raises(TypeError):
            object.__new__(kind)


# ---- the end of a watch ---------------------------------------------------------------------------------------------


def test_unwatch_gives_the_plain_value_and_ends_the_events(journal: Opened) -> None:
    x = watch(5)
    x += 1
    number = variable(x).id
    plain = unwatch(x)
    assert type(plain) is int
    assert plain == 6
    assert journal.read().ended == [number]
    with pytest.raises(SessionError, match="no longer watched"):
        x += 1
    with pytest.raises(SessionError):
        unwatch(x)
    assert x == 6
    assert variable(x).id == 0
    with pytest.raises(TypeError):
        unwatch(plain)
    with pytest.raises(TypeError):
        variable(plain)


def test_collected_proxy_ends_its_watch_with_a_record(journal: Opened) -> None:
    x = watch(5)
    number, gone = variable(x).id, weakref.ref(x)
    x = None  # type: ignore[assignment]
    assert gone() is None
    assert journal.read().ended == [number]


def test_page_outlives_every_view(journal: Opened) -> None:
    gc.collect()
    x = watch(bytearray(b"abcdefgh"))
    number, pages = variable(x).id, core.stats().pages
    view = memoryview(memoryview(x)[2:6]).cast("H")
    items = (ctypes.c_char * 8).from_buffer(x)
    del x
    gc.collect()
    assert journal.read().ended == []
    view[0] = 0x4141
    items[7] = b"Z"
    assert [store.after for store in journal.read().of(number)] == [b"AA", b"Z"]
    del view
    assert core.stats().pages == pages
    del items
    gc.collect()
    assert core.stats().pages == pages - 1
    assert journal.read().ended == [number]


def test_a_hundred_thousand_watches_leave_nothing_behind(journal: Opened) -> None:
    rounds = 1_000_000 if os.environ.get("MEMWATCH_SOAK") else 80_000

    def round_of(n: int) -> None:
        for i in range(n // 4):
            unwatch(watch(i))
            watch(i, share_page=True)
            unwatch(watch(bytearray(9)))
            watch(1.5)

    def memory() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    round_of(20_000)
    gc.collect()
    objects, resident, stats = len(gc.get_objects()), memory(), core.stats()
    round_of(rounds)
    gc.collect()
    now = core.stats()
    assert (now.pages, now.variables) == (stats.pages, stats.variables)
    assert len(gc.get_objects()) - objects < 100
    # of the journal, which is mapped, the last segments are resident
    assert memory() - resident < 4_500_000
    assert len(journal.read().ended) == rounds + 20_000


# ---- sessions -------------------------------------------------------------------------------------------------------


def test_closed_session_refuses_writes_and_keeps_values(tmp_path: Path) -> None:
    opened = process.open_journal(create_session(tmp_path, []), config.load())
    x, b = watch(5), watch(bytearray(b"abc"))
    process.close_journal()
    size = opened.path.stat().st_size
    for change in (
        lambda: x.__iadd__(1),
        lambda: setattr(x, "value", 9),
        lambda: b.append(1),
        lambda: b.__setitem__(0, 1),
    ):
        with pytest.raises(SessionError, match="session"):
            change()
    with pytest.raises(SessionError, match="closed session"):
        watch(1)
    assert (x, b) == (5, b"abc")
    assert not journals.read(opened.path).stores
    assert journals.read(opened.path).closed
    assert opened.path.stat().st_size == size
    assert type(x.value) is int


def test_second_journal_is_refused_and_a_later_one_works(tmp_path: Path, journal: Opened) -> None:
    folder = create_session(tmp_path / "second", [])
    with pytest.raises(SessionError, match="one session at a time"):
        process.open_journal(folder, config.load())
    process.close_journal()
    again = process.open_journal(folder, config.load())
    x = watch(1)
    x += 1; here = line()  # fmt: skip
    (store,) = journals.read(again.path).of(variable(x).id)
    assert (store.file, store.line) == (__file__, here), "a site of the journal before was taken for one of this"


def test_folder_that_is_no_session_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SessionError, match=str(tmp_path)):
        process.open_journal(tmp_path, config.load())
    assert not process.is_open()


def run_program(program: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    script = folder / "program.py"
    script.write_text(textwrap.dedent(program))
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MEMWATCH_")}
    return subprocess.run(
        [sys.executable, str(script)],
        env={**inherited, "MEMWATCH_JOURNAL_FOLDER": str(folder / "sessions"), **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_first_watch_opens_a_session_and_the_end_of_the_process_closes_it(tmp_path: Path) -> None:
    done = run_program(
        """
        import atexit
        from memwatch_core import watch

        x = watch(0)

        class Late:
            def __del__(self, x=x):
                x.value = 3

        x += 1
        late = Late()
        atexit.register(lambda: setattr(x, "value", 2))
        """,
        tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")
    (path,) = (tmp_path / "sessions").glob("*/*-python.mwj")
    contents = journals.read(path)
    assert contents.closed
    written = [(int.from_bytes(store.after, "little"), store.line) for store in contents.stores]
    assert written == [(1, 11), (2, 13), (3, 9)], "a write after the last line of the program is missing or misplaced"


def test_session_of_the_environment_is_joined(tmp_path: Path) -> None:
    folder = create_session(tmp_path / "given", [])
    config.save(config.load(), folder)
    done = run_program(
        "from memwatch_core import watch\nx = watch(0)\nx += 1\n", tmp_path, MEMWATCH_SESSION=str(folder)
    )
    assert (done.returncode, done.stderr) == (0, "")
    (path,) = folder.glob("*-python.mwj")
    assert len(journals.read(path).stores) == 1
    assert not (tmp_path / "sessions").exists()


def test_forked_child_writes_a_journal_of_its_own(tmp_path: Path) -> None:
    done = run_program(
        """
        import os, sys, threading, warnings
        from memwatch_core import watch
        warnings.simplefilter("ignore")  # 3.14 takes a renamed thread for a second one when it forks
        x = watch(1)
        x += 1
        threading.current_thread().name = "the one thread"
        child = os.fork()
        if not child:
            x += 10
            memoryview(x).cast("B").cast("q")[0] = 7
            sys.exit(0)
        assert os.waitpid(child, 0)[1] == 0
        x += 100
        assert x == 102
        """,
        tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = [journals.read(path) for path in (tmp_path / "sessions").glob("*/*-python.mwj")]
    values = {tuple(int.from_bytes(store.after, "little") for store in contents.stores): contents for contents in found}
    assert set(values) == {(2, 102), (12, 7)}
    assert [store.line for store in values[12, 7].stores] == [10, 11]
    assert all(contents.closed for contents in found)
    assert "the one thread" in {name for _, name in values[12, 7].threads}


# ---- objects --------------------------------------------------------------------------------------------------------


def test_object_is_written_as_a_whole_and_through_its_parts(tmp_path: Path) -> None:
    opened = process.open_journal(create_session(tmp_path, []), config.load(), [CENTS, BASKET])
    try:
        price = watch(Decimal("1.50"))
        price += Decimal("0.25")
        assert price == Decimal("1.75")
        assert isinstance(price, Decimal)
        assert round(price, 1) == Decimal("1.8")
        assert int(price) == 1
        assert price.is_finite()
        basket = watch(Basket(1, 2))
        basket.apples = 7
        basket["pears"] = 9
        assert basket.add(3) == 10
        assert (basket.apples, basket.pears) == (10, 9)
        with pytest.raises(ValueError, match="bytes must be"):
            basket.add(300)
        assert basket.apples == 10
        contents = journals.read(opened.path)
        assert [store.after for store in contents.of(variable(basket).id)] == [b"\7\2", b"\7\t", b"\n\t"]
        assert {store.function for store in contents.stores} == {sys._getframe().f_code.co_name}
    finally:
        process.close_journal()


def test_core_errors_say_what_to_do() -> None:
    with pytest.raises(CoreError) as caught:
        core.close_journal()
    assert caught.value.code == core.lib.MW_ERR_NO_JOURNAL
    assert len(str(caught.value)) > 20
    with pytest.raises(ValueError, match="uffd-sigbus"):
        core.start("nonsense")  # type: ignore[arg-type]
