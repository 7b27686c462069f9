"""What a sink must keep: it takes whatever it is handed, gives it out in order, and keeps nothing back."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from memwatch_core import config as configuration
from memwatch_core import watch
from memwatch_core.errors import ConfigError
from memwatch_core.host.pipeline import Pipeline, check_settings, open_sinks
from memwatch_core.records import ABSENT, Event, Record, RecordSink, Shown

from .plugin import PluginContract, shown
from .samples import RECORDS, event, place
from .sessions import real_session

_OF_OTHER_TYPES: tuple[Any, ...] = ({"no": {"such": "table"}}, [[[]]], "\0no such text", -1)


class SinkContract(PluginContract):
    """A sink's suite: say whether each event can be found in its output.

    .. code-block:: python

        class TestCsv(SinkContract):
            plugin, name = memwatch_sink_csv, "csv"
            capabilities = ("events", "files")
            settings = {"path": "out.csv"}
    """

    kind = "sinks"
    known: ClassVar[dict[str, str]] = {
        "events": "each event is in its output, by its variable's name, in order, and at the latest after flush()",
        "files": "it writes files, below the current folder if its settings say no other",
    }

    settings: ClassVar[Mapping[str, Any]] = {}
    """The table ``[sinks.<name>]`` under which it is tested; relative paths lead into ``self.folder``."""
    failing: ClassVar[Mapping[str, Any] | None] = None
    """A table under which it can be opened and can't write, ``{"path": "/dev/full"}`` for instance; None: no such."""

    def output(self) -> bytes:
        """All that the sink has put out: its standard output and standard error, and the files below ``self.folder``.

        Override it for a sink that puts its records elsewhere.
        """
        printed = self._captured.readouterr()
        self._printed += printed.out + printed.err
        return self._printed + b"".join(path.read_bytes() for path in self._files())

    @pytest.fixture(autouse=True)
    def _captures(self, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
        self._captured, self._printed = capfdbinary, b""

    # ---- what it is handed ------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
    def test_every_record_is_taken(self, record: Record) -> None:
        with self._open() as sink:
            try:
                sink.write([record])
                sink.flush()
                sink.write([record, event(), record])
            except Exception as error:
                text = f"a sink that raises gets nothing more: make it take {shown(record)}. It raised {shown(error)}"
                pytest.fail(text)

    def test_unknown_kind_of_record_is_taken(self) -> None:
        class Later(Event, frozen=True):
            """A record of a later version that is an Event with more."""

            more: int = 0

        record = Later(**{name: getattr(event(), name) for name in event().__struct_fields__})
        with self._open() as sink:
            sink.write([record])

    def test_empty_batch_is_taken(self) -> None:
        with self._open() as sink:
            sink.write([])
            sink.flush()
            sink.write(())

    def test_batch_of_another_sequence_is_taken(self) -> None:
        with self._open() as sink:
            sink.write((event(), event()))

    # ---- what it gives out ------------------------------------------------------------------------------------------

    def test_flush_keeps_nothing_back(self) -> None:
        self.needs("events")
        with self._open() as sink:
            for name in ("first_batch", "second_batch", "third_batch"):
                sink.write([event(variable=name)])
                sink.flush()
                assert name.encode() in self.output(), "write everything out in flush(): users wait for what they see"

    def test_write_after_flush_arrives(self) -> None:
        self.needs("events")
        with self._open() as sink:
            sink.write([event(variable="before_flush")])
            sink.flush()
            sink.flush()
            sink.write([event(variable="after_flush")])
        output = self.output()
        assert b"before_flush" in output, "keep what was written before a flush"
        assert b"after_flush" in output, "go on after flush(): it is called whenever the program pauses"

    def test_order_of_events_is_kept(self) -> None:
        self.needs("events")
        names = [f"variable_{number:05}" for number in range(2000)]
        with self._open() as sink:
            for start in range(0, len(names), 300):
                sink.write([event(variable=name) for name in names[start : start + 300]])
        order = list(dict.fromkeys(self._numbered()))
        missing = sorted(set(names).difference(order))
        assert not missing, f"{len(missing)} of {len(names)} events aren't in the output; the first is {missing[0]}"
        assert order == names, "put events out in the order in which they were written"

    def test_large_batch_is_written_whole(self) -> None:
        self.needs("events")
        names = [f"variable_{number:05}" for number in range(10_000)]
        with self._open() as sink:
            sink.write([event(variable=name) for name in names])
        missing = set(names).difference(self._numbered())
        assert not missing, f"take batches of any size: {len(missing)} of {len(names)} events aren't in the output"

    def test_places_of_an_object_arrive(self) -> None:
        self.needs("events")
        with self._open() as sink:
            sink.write([event(variable="before_places")])
            sink.write([record for name, record in RECORDS.items() if "place" in name])
            sink.write([place(".x", ABSENT, Shown("[1, 2]"), "add", variable="kit_object")])
            sink.flush()
            assert b"kit_object" in self.output(), (
                "take events whose old and new are None: part has the values, which may be memwatch_core.records.Shown"
            )

    def test_thread_that_writes_may_be_another_than_opened(self) -> None:
        errors: list[BaseException] = []

        def write() -> None:
            try:
                sink.write([event(variable="of_another_thread")])
                sink.flush()
            except BaseException as error:
                errors.append(error)

        with self._open() as sink:
            thread = threading.Thread(target=write)
            thread.start()
            thread.join()
        assert not errors, f"records come from another thread than the one that opens and closes: {errors[0]!r}"
        if "events" in self.capabilities:
            assert b"of_another_thread" in self.output(), "take records from another thread than the one that opened"

    def test_events_of_a_real_session_arrive(self) -> None:
        with real_session(self.folder / "sessions") as session:
            kit_total = watch(0, name="kit_total")
            for number in range(3):
                kit_total += number
            records = session.records()
        with self._open() as sink:
            sink.write(records)
        if "events" in self.capabilities:
            assert b"kit_total" in self.output(), "the events of a real session are not in the output"

    # ---- opening and closing ----------------------------------------------------------------------------------------

    def test_closing_twice_is_allowed(self) -> None:
        with self._open() as sink:
            sink.write([event()])
            sink.close()
        with self._open() as sink:
            sink.close()

    def test_run_without_records_is_allowed(self) -> None:
        with self._open() as sink:
            sink.flush()

    def test_open_sink_has_all_methods(self) -> None:
        with self._open() as sink:
            for method in ("write", "flush", "close"):
                assert callable(getattr(sink, method, None)), f"give what open() returns a method {method}()"

    def test_two_runs_in_one_process_are_apart(self) -> None:
        for name in ("first_run", "second_run"):
            with self._open() as sink:
                sink.write([event(variable=name)])
            if "events" in self.capabilities:
                assert name.encode() in self.output(), f"the output of the {name.replace('_', ' ')} is missing"

    def test_files_are_the_users_alone(self) -> None:
        before, open_to_all = set(self._files()), os.umask(0)
        try:
            with self._open() as sink:
                sink.write([event()])
        finally:
            os.umask(open_to_all)
        made = [path for path in self._files() if path not in before]
        assert made or "files" not in self.capabilities, f"it declares 'files', and made none below {self.folder}"
        for path in made:
            mode = path.stat().st_mode & 0o777
            assert mode & 0o077 == 0, (
                f"watched data is private: open {path.name} with mode 0600, os.open(..., 0o600); it has {mode:04o}"
            )

    # ---- isolation --------------------------------------------------------------------------------------------------

    def test_failing_neighbour_takes_no_records_away(self) -> None:
        sentences: list[str] = []
        with self._open() as sink:
            pipeline = Pipeline([("broken", _Broken()), (self.name, sink)], sentences.append)
            for name in ("first_batch", "second_batch"):
                pipeline.write([event(variable=name)])
            pipeline.flush()
            if "events" in self.capabilities:
                output = self.output()
                for name in ("first_batch", "second_batch"):
                    assert name.encode() in output, f"{name} is missing, and only the sink before it has failed"
            pipeline.close()
        assert [output.name for output in pipeline.outputs if output.failure] == ["broken"], sentences

    def test_failure_of_its_own_is_raised_and_harms_no_other(self) -> None:
        if self.failing is None:
            pytest.skip(f"{type(self).__name__}.failing is None: no settings under which it can't write")
        sentences: list[str] = []
        neighbour = _Keeps()
        with self._open(self.failing) as sink:
            pipeline = Pipeline([(self.name, sink), ("neighbour", neighbour)], sentences.append)
            for _ in range(3):
                pipeline.write([event()])
                pipeline.flush()
            pipeline.close()
        assert len(sentences) == 1, (
            f"let the error that keeps it from writing out of write() or flush(): it is then reported; got {sentences}"
        )
        assert len(neighbour.kept) == 3, "another sink has lost records"

    # ---- settings ---------------------------------------------------------------------------------------------------

    def test_misspelt_setting_is_refused(self) -> None:
        model = self.record.settings
        if model is not None and model.model_config.get("extra") == "allow":
            pytest.skip("its settings take any key (extra='allow'): none is misspelt")
        text = self._refused({**self.settings, "no_such_setting": 1})
        assert text is not None, "give its settings model_config = ConfigDict(extra='forbid')"
        self._names_file_and_key(text, "no_such_setting")

    def test_setting_of_another_type_is_explained(self) -> None:
        model = self.record.settings
        fields = {} if model is None else model.model_fields
        if not fields:
            pytest.skip("the sink has no settings")
        for key in fields:
            for wrong in _OF_OTHER_TYPES:
                text = self._refused({**self.settings, key: wrong})
                if text is not None:
                    self._names_file_and_key(text, key)
                    break
            else:
                pytest.fail(f"give the setting {key!r} a type: it takes a table, a list, any text and -1 alike")

    def test_settings_of_the_test_are_taken(self) -> None:
        text = self._refused(self.settings)
        assert text is None, f"{type(self).__name__}.settings: {text}"

    # ---- pieces -----------------------------------------------------------------------------------------------------

    @contextmanager
    def _open(self, table: Mapping[str, Any] | None = None) -> Iterator[RecordSink]:
        """The sink, opened as a run opens it; closed at the end."""
        config = configuration.load(self._configuration(self.settings if table is None else table))
        ((_, sink),) = open_sinks([self.record], config)
        try:
            yield sink
        finally:
            sink.close()

    def _numbered(self) -> list[str]:
        """The names ``variable_00000`` and so on that are in the output, from its beginning on."""
        return [found.decode() for found in re.findall(rb"variable_\d{5}", self.output())]

    def _refused(self, table: Mapping[str, Any]) -> str | None:
        """What the user is told about such a table; None if it is in order."""
        try:
            check_settings([self.record], configuration.load(self._configuration(table)))
        except ConfigError as error:
            return str(error)
        return None

    def _configuration(self, table: Mapping[str, Any]) -> Path:
        file = self.folder / "memwatch.toml"
        lines = [f"[sinks.{self.name}]", *(f"{key} = {_toml(value)}" for key, value in table.items())]
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        file.chmod(0o600)
        return file

    def _names_file_and_key(self, text: str, key: str) -> None:
        assert "memwatch.toml" in text, f"the error doesn't name the file: {text}"
        assert f"sinks.{self.name}.{key}" in text, f"the error doesn't name the key sinks.{self.name}.{key}: {text}"

    def _files(self) -> list[Path]:
        """The files that are the sink's, below the test's folder."""
        ours = {self.folder / "memwatch.toml"}
        found = (path for path in sorted(self.folder.rglob("*")) if path.is_file() and path not in ours)
        return [path for path in found if self.folder / "sessions" not in path.parents]


class _Broken:
    def write(self, records: Sequence[Record]) -> None:
        raise RuntimeError("broken on purpose")

    def flush(self) -> None: ...
    def close(self) -> None: ...


class _Keeps:
    def __init__(self) -> None:
        self.kept: list[Record] = []

    def write(self, records: Sequence[Record]) -> None:
        self.kept += records

    def flush(self) -> None: ...
    def close(self) -> None: ...


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)  # text, numbers and booleans are written alike
