"""Plugins that are broken in typical ways, each with the tests of its contract that must fail; run by test_kit.py."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import struct
import threading
from types import SimpleNamespace
from typing import Any, ClassVar

import memwatch_sql_sqlite3
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from memwatch_core.hookspecs import hookimpl
from memwatch_core.records import Event, Extent, Layout, Serializer, Sink, SqlDriver, TypeFormat
from memwatch_plugins.testing import SerializerContract, SinkContract, SqlDriverContract, TypeFormatContract

# ---- sinks -----------------------------------------------------------------------------------------------------------


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid")
    path: str = "out.txt"


class Lines:
    """A sink that is in order: the names of variables, one a line."""

    def __init__(self, settings: Settings) -> None:
        self.file = os.open(settings.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, records: Any) -> None:
        names = [record.variable.encode("utf-8", "replace") for record in records if isinstance(record, Event)]
        self.put(b"".join(name + b"\n" for name in names))

    def put(self, data: bytes) -> None:
        while data:
            data = data[os.write(self.file, data) :]

    def flush(self) -> None: ...

    def close(self) -> None:
        if self.file >= 0:
            os.close(self.file)
            self.file = -1


def plugin_of(sink: type, settings: type[BaseModel] = Settings) -> Any:
    @hookimpl
    def memwatch_sinks() -> Any:
        yield Sink(name="lines", summary="names of variables", open=sink, settings=settings)

    return SimpleNamespace(memwatch_sinks=memwatch_sinks)


class SinkCase(SinkContract):
    fails: ClassVar[tuple[str, ...]] = ()
    name = "lines"
    capabilities = ("events", "files")
    failing = {"path": "/dev/full"}


class TestSinkInOrder(SinkCase):
    plugin = plugin_of(Lines)


class KeepsBack(Lines):
    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.kept = b""

    def put(self, data: bytes) -> None:
        self.kept += data

    def close(self) -> None:
        if self.file >= 0:
            super().put(self.kept)
        super().close()


class TestSinkThatKeepsBack(SinkCase):
    plugin = plugin_of(KeepsBack)
    fails = ("test_flush_keeps_nothing_back", "test_failure_of_its_own_is_raised_and_harms_no_other")


class Picky(Lines):
    def write(self, records: Any) -> None:
        for record in records:
            json.dumps(record.new)
        super().write(records)


class TestSinkThatRaisesOnOddValues(SinkCase):
    plugin = plugin_of(Picky)
    fails = ("test_every_record_is_taken",)


class Public(Lines):
    def __init__(self, settings: Settings) -> None:
        self.file = os.open(settings.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)


class TestSinkWhoseFileIsPublic(SinkCase):
    plugin = plugin_of(Public)
    fails = ("test_files_are_the_users_alone",)


class Backwards(Lines):
    def write(self, records: Any) -> None:
        super().write(list(records)[::-1])


class TestSinkThatLosesTheOrder(SinkCase):
    plugin = plugin_of(Backwards)
    fails = ("test_order_of_events_is_kept",)


class Shortens(Lines):
    def write(self, records: Any) -> None:
        super().write(list(records)[:1000])


class TestSinkThatShortensBatches(SinkCase):
    plugin = plugin_of(Shortens)
    fails = ("test_large_batch_is_written_whole",)


class ClosesOnce(Lines):
    def close(self) -> None:
        os.close(self.file)


class TestSinkThatClosesOnce(SinkCase):
    plugin = plugin_of(ClosesOnce)
    fails = ("test_closing_twice_is_allowed",)


class Swallows(Lines):
    def put(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            super().put(data)


class TestSinkThatSwallowsItsErrors(SinkCase):
    plugin = plugin_of(Swallows)
    fails = ("test_failure_of_its_own_is_raised_and_harms_no_other",)


class OfOneThread(Lines):
    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.thread = threading.get_ident()

    def put(self, data: bytes) -> None:
        if threading.get_ident() != self.thread:
            raise RuntimeError("opened in another thread")
        super().put(data)


class TestSinkOfOneThread(SinkCase):
    plugin = plugin_of(OfOneThread)
    fails = ("test_thread_that_writes_may_be_another_than_opened",)


class Untyped(BaseModel):
    path: Any = "out.txt"


class TestSinkWithUntypedSettings(SinkCase):
    plugin = plugin_of(Lines, Untyped)
    fails = ("test_setting_of_another_type_is_explained",)


class TestSinkWhoseHookIsNoHook(SinkCase):
    plugin = SimpleNamespace()
    fails = ("test_plugin_offers_the_same_each_time",)


# ---- serializers -----------------------------------------------------------------------------------------------------


def takes_no_options(value: Any, options: Any) -> Layout:
    if options:
        raise TypeError(f"point has no option {', '.join(options)}")
    return Layout("object", 8, {"order": "little"})


def encode(value: Any, options: Any) -> bytes:
    if not isinstance(value, complex):
        raise TypeError(f"a complex number is expected, not {type(value).__name__}")
    return b"".join(int(part).to_bytes(4, options["order"], signed=True) for part in (value.real, value.imag))


def decode(data: bytes, options: Any) -> complex:
    return complex(*(int.from_bytes(data[at : at + 4], options["order"], signed=True) for at in (0, 4)))


class SerializerCase(SerializerContract):
    """Complex numbers of whole parts, in 8 bytes."""

    fails: ClassVar[tuple[str, ...]] = ()
    name = "point"
    values = st.builds(complex, st.integers(-1000, 1000), st.integers(-1000, 1000))
    refused = (complex(10**10, 0), complex("nan"))
    foreign = (1, "1")
    changed: ClassVar[dict[str, Any]] = {}

    @property
    def plugin(self) -> Any:
        record = {
            "accepts": lambda value: type(value) is complex,
            "layout": takes_no_options,
            "encode": encode,
            "decode": decode,
        }

        @hookimpl
        def memwatch_serializers() -> Any:
            yield Serializer(name="point", summary="points", **(record | self.changed))

        return SimpleNamespace(memwatch_serializers=memwatch_serializers)


class TestSerializerInOrder(SerializerCase):
    pass


class TestSerializerWhoseDecodeRaises(SerializerCase):
    changed = {"decode": lambda data, options: decode(data, options) if data[3] in (0, 255) else 1 / 0}
    fails = ("test_decode_takes_the_bytes_of_another_program",)


class TestSerializerWhosePartIsElsewhere(SerializerCase):
    changed = {"part": lambda start, stop, options: Extent("[0]", 0, 4, bytes)}
    fails = ("test_part_is_where_the_bytes_are",)


class TestSerializerThatForgets(SerializerCase):
    changed = {"decode": lambda data, options: complex(decode(data, options).real)}
    fails = ("test_value_comes_back_as_it_was", "test_events_show_the_values_that_the_program_had")


class TestSerializerOfAnotherSize(SerializerCase):
    changed = {"encode": lambda value, options: encode(value, options).rstrip(b"\0")}
    fails = ("test_encoded_value_has_the_size_of_its_page",)


class TestSerializerWhoseOptionsAreNoJson(SerializerCase):
    changed = {
        "layout": lambda value, options: Layout("object", 8, takes_no_options(value, options).options | {"s": {1}})
    }
    fails = ("test_options_survive_the_journal",)


class TestSerializerThatRefusesWithAnErrorOfItsOwn(SerializerCase):
    changed = {"encode": lambda value, options: struct.pack("<ii", int(value.real), int(value.imag))}
    fails = ("test_refused_value_is_explained", "test_writing_a_value_of_another_kind_is_explained")


class TestSerializerThatRefusesNothing(SerializerCase):
    changed = {"encode": lambda value, options: encode(complex(0) if abs(value) > 5000 else value, options)}
    fails = ("test_refused_value_is_explained", "test_refused_value_leaves_the_watched_one")


class TestSerializerThatLooksAtTheValueFirst(SerializerCase):
    changed = {"accepts": lambda value: value == value and type(value) is complex}
    fails = ("test_value_of_another_kind_is_left_to_others",)


class TestSerializerThatIgnoresOptions(SerializerCase):
    changed = {"layout": lambda value, options: takes_no_options(value, {})}
    fails = ("test_misspelt_keyword_of_watch_is_refused",)


class TestSerializerWithAFormatOfItsOwn(SerializerCase):
    changed = {"format": "<q"}
    fails = ("test_format_shows_the_values_that_decode_does",)


# ---- formats of types ------------------------------------------------------------------------------------------------


class Money:
    """Remembers how it was written."""

    __slots__ = ("cents", "text")

    def __init__(self, cents: int) -> None:
        self.cents = cents

    def __repr__(self) -> str:
        self.text = f"Money({self.cents})"
        return self.text


class TypeFormatCase(TypeFormatContract):
    fails: ClassVar[tuple[str, ...]] = ()
    name = f"{__name__}.Money"
    values = st.builds(Money, st.integers())
    templates: ClassVar[tuple[str, ...]] = ("Money({cents})",)

    @property
    def plugin(self) -> Any:
        @hookimpl
        def memwatch_serializers() -> Any:
            yield TypeFormat(self.name, self.templates)

        return SimpleNamespace(memwatch_serializers=memwatch_serializers)


class TestTypeFormatInOrder(TypeFormatCase):
    pass


class TestTypeFormatThatTellsWhatIsRemembered(TypeFormatCase):
    templates = ("{text:text}", "Money({cents})")
    fails = ("test_value_is_written_the_same_after_it_was_used",)

    def written(self, value: Any) -> str:
        return f"Money({value.cents})"

    def use(self, value: Any) -> None:
        value.text = f"Money({value.cents}, used)"


class TestTypeFormatOfAnotherPart(TypeFormatCase):
    templates = ("Money({cent})",)
    fails = ("test_value_is_written_as_the_program_would_write_it", "test_event_of_a_watched_object_shows_it")


# ---- SQL drivers -----------------------------------------------------------------------------------------------------

good = memwatch_sql_sqlite3.driver


class Between:
    """A tracer between the good driver and the contract's, which a case distorts."""

    def __init__(self, tracer: Any) -> None:
        self.tracer = tracer

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tracer, name)


class SqlCase(SqlDriverContract):
    fails: ClassVar[tuple[str, ...]] = ()
    name, dialect = "sqlite3", "sqlite"
    capabilities = ("connection_context", "iterators")
    between: ClassVar[type] = Between

    def install(self, tracer: Any) -> None:
        good.install(self.between(tracer))

    def uninstall(self) -> None:
        good.uninstall()

    def troubles(self) -> int:
        return good.troubles

    @property
    def plugin(self) -> Any:
        @hookimpl
        def memwatch_sql() -> Any:
            yield SqlDriver("sqlite3", "SQLite", "sqlite3", self.install, self.uninstall)

        return SimpleNamespace(memwatch_sql=memwatch_sql)

    def connect(self) -> Any:
        return sqlite3.connect(self.folder / "kit.db")


class TestSqlDriverInOrder(SqlCase):
    pass


class TestSqlDriverThatLeaksAPatch(SqlCase):
    def install(self, tracer: Any) -> None:
        super().install(tracer)
        sqlite3.enable_callback_tracebacks = lambda *args: None  # type: ignore[assignment]

    fails = ("test_uninstall_leaves_nothing_patched",)


class TestSqlDriverThatGoesOnAfterUninstall(SqlCase):
    def uninstall(self) -> None:
        pass

    fails = ("test_connection_goes_on_when_tracing_ends",)


class Twice(Between):
    def statement_begins(self, *args: Any, **kwargs: Any) -> Any:
        self.tracer.statement_begins(*args, **kwargs)
        return self.tracer.statement_begins(*args, **kwargs)


class TestSqlDriverThatPublishesTwice(SqlCase):
    between = Twice
    fails = ("test_query_is_published_once", "test_threads_are_told_apart")


class Misses(Between):
    def statement_begins(self, *args: Any, **kwargs: Any) -> Any:
        return None if args[6] else self.tracer.statement_begins(*args, **kwargs)


class TestSqlDriverThatMissesExecutemany(SqlCase):
    between = Misses
    fails = ("test_change_is_published_once", "test_failure_is_published_once")


class CountsNothing(Between):
    def rows_fetched(self, token: Any, count: int, *, exhausted: bool = False) -> None: ...


class TestSqlDriverThatCountsNoRows(SqlCase):
    between = CountsNothing
    fails = ("test_fetched_rows_are_counted", "test_rows_are_those_of_their_cursor")


class EndsNothing(Between):
    def transaction_ends(self, connection: Any, outcome: Any) -> None: ...


class TestSqlDriverThatMissesCommit(SqlCase):
    between = EndsNothing
    fails = ("test_end_of_transaction_is_published", "test_with_block_publishes_the_end_of_its_transaction")


class HidesErrors(Between):
    def statement_ends(self, token: Any, rows: Any = None, error: Any = None, *rest: Any, **kwargs: Any) -> None:
        self.tracer.statement_ends(token, rows, None, *rest, **kwargs)


class TestSqlDriverThatHidesErrors(SqlCase):
    between = HidesErrors
    fails = ("test_failure_is_published_once",)


class TellsParameters(Between):
    def statement_begins(self, driver: Any, statement: Any, parameters: Any, connection: Any, *rest: Any) -> Any:
        return self.tracer.statement_begins(f"{driver} {parameters}", statement, None, connection, *rest)


class TestSqlDriverThatTellsParameters(SqlCase):
    between = TellsParameters
    fails = ("test_no_secret_reaches_session_or_log",)


class NaiveCursor(sqlite3.Cursor):
    tracer: ClassVar[Any] = None

    def execute(self, *args: Any) -> Any:
        token = self.tracer and self.tracer.statement_begins("sqlite3", args[0], None, None, None, "sqlite")
        try:
            return super().execute(*args)
        except sqlite3.Error as error:
            raise RuntimeError("the statement failed") from error
        finally:
            if token:
                self.tracer.statement_ends(token)


class NaiveConnection(sqlite3.Connection):
    def cursor(self, factory: Any = NaiveCursor) -> Any:
        return super().cursor(factory)


class TestSqlDriverThatContainsNothing(SqlCase):
    """Written without the base, by somebody in a hurry."""

    real = staticmethod(sqlite3.connect)

    def install(self, tracer: Any) -> None:
        NaiveCursor.tracer = tracer
        sqlite3.connect = lambda *args, **kwargs: self.real(*args, factory=NaiveConnection, **kwargs)

    def uninstall(self) -> None:
        NaiveCursor.tracer = None
        sqlite3.connect = self.real

    fails = (
        "test_error_of_tracing_stays_out_of_the_program",
        "test_error_reaches_the_program_unchanged",
        "test_connections_and_cursors_look_the_same",
        "test_connections_are_told_apart",
        "test_closed_cursor_is_published",
    )
