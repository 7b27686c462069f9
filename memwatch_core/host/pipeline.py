"""Hands batches of records to the sinks, each isolated from the others."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ..config import Config, suggest
from ..errors import ConfigError, PluginError
from ..loading.discovery import unused_sinks
from ..printed import clean
from ..records import Event, Record, RecordSink, Sink
from .merging import Merging, Told


@dataclass(slots=True)
class Output:
    """One open sink."""

    name: str
    sink: RecordSink
    merged: bool = False
    """Whether it gets events that one statement made as one record."""
    failure: str = ""
    """Why the sink was disabled; empty while it works."""
    unwritten: int = 0
    """Records that the sink didn't get after its failure, including the batch at which it failed."""


class Pipeline:
    """The open sinks of a run.

    A sink that raises is reported once, closed and left out from then on; the others miss nothing. ``report`` gets a
    sentence for each failure. Not thread-safe. No method raises, except what isn't an Exception (KeyboardInterrupt).
    """

    def __init__(
        self, outputs: Iterable[tuple[str, RecordSink]], report: Callable[[str], None], merged: Collection[str] = ()
    ) -> None:
        """``merged``: names of the sinks that get events that one statement made as one record."""
        self.outputs = [Output(name, sink, name in merged) for name, sink in outputs]
        some = any(output.merged for output in self.outputs)
        self.merging = Merging(each=not all(output.merged for output in self.outputs)) if some else None
        """How the records must be read that are written here; None: each event for itself."""
        self._report = report
        self._closed = False

    def write(self, records: Sequence[Record | Told]) -> None:
        """Hands the batch, in order, to every working sink: of events and lines, what it asked for."""
        lines: Sequence[Any] = records
        events: Sequence[Any] = records
        if self.merging is not None and self.merging.each:
            events = [record for record in records if type(record) is not Told]
            lines = [
                record.record if type(record) is Told else record for record in records if type(record) is not Event
            ]
        for output in self.outputs:
            batch = lines if output.merged else events
            if batch and (output.failure or not self._call(output, "write", batch)):
                output.unwritten += len(batch)

    def flush(self) -> None:
        """Flushes every working sink."""
        for output in self.outputs:
            if not output.failure:
                self._call(output, "flush")

    def close(self) -> None:
        """Flushes and closes every sink, once, even if its flush raises."""
        if self._closed:
            return
        self._closed = True
        self.flush()
        for output in self.outputs:
            if not output.failure:
                self._call(output, "close")

    def _call(self, output: Output, method: str, *arguments: Any) -> bool:
        try:
            getattr(output.sink, method)(*arguments)
            return True
        except Exception as error:
            output.failure = clean(f"{type(error).__name__}: {error}".removesuffix(": "))
            rest = " and gets nothing more; the other sinks go on" if method != "close" else ""
            if not isinstance(error, BrokenPipeError):  # the reader closed the pipe on purpose
                self._report(f"sink {output.name!r} failed in {method}() ({output.failure}){rest}")
            if method != "close":
                with suppress(Exception):  # its failure has been reported
                    output.sink.close()
            return False


def open_sinks(sinks: Iterable[Sink], config: Config) -> list[tuple[str, RecordSink]]:
    """Opens the loaded sinks with their tables ``[sinks.<name>]``.

    Raises ConfigError (an unknown or wrong setting, with file and key) or PluginError (the sink couldn't be opened),
    after closing the sinks already open.
    """
    check_settings((), config)
    opened: list[tuple[str, RecordSink]] = []
    try:
        for sink in sinks:
            settings = _settings(sink, config)
            try:
                opened.append((sink.name, sink.open(settings)))
            except Exception as error:
                cause = clean(f"{type(error).__name__}: {error}".removesuffix(": "))
                raise PluginError(f"sink {sink.name!r} couldn't be opened: {cause}") from error
    except BaseException:
        Pipeline(opened, lambda text: None).close()
        raise
    return opened


def merged_sinks(sinks: Iterable[Sink], config: Config) -> set[str]:
    """Names of the sinks that get events that one statement made as one record. Raises ConfigError."""
    return {sink.name for sink in sinks if sink.merged is not None and sink.merged(_settings(sink, config))}


def check_settings(sinks: Iterable[Sink], config: Config) -> None:
    """Checks the tables of these sinks, and of unused ones, without opening any. Raises ConfigError."""
    if mistakes := settings_mistakes(sinks, config):
        raise ConfigError(*mistakes)


def settings_mistakes(sinks: Iterable[Sink], config: Config) -> list[str]:
    """A sentence about each wrong setting in these tables, and in those of unused sinks."""
    found: list[str] = []
    for sink in (*sinks, *unused_sinks(config)):
        try:
            _settings(sink, config)
        except ConfigError as error:
            found += error.lines
    return found


def _settings(sink: Sink, config: Config) -> Any:
    table: Mapping[str, Any] = config.sinks.get(sink.name, {})
    model = sink.settings
    known = {} if model is None else model.model_fields
    unknown = [key for key in table if key not in known]
    if model is not None and model.model_config.get("extra") == "allow":
        unknown = []
    mistakes = []
    for key in unknown:
        name = f"sinks.{sink.name}.{key}"
        hint = suggest(key, known) or (f"; it has {', '.join(known)}" if known else "; it has no settings")
        mistakes.append(f"{config.source(name).where}: unknown key {name}{hint}")
    settings = None
    if model is not None:
        from pydantic import ValidationError

        try:
            settings = model.model_validate({key: value for key, value in table.items() if key not in unknown})
        except ValidationError as error:
            mistakes += (_mistake(sink.name, one, config) for one in error.errors())
    if mistakes:
        raise ConfigError(*mistakes)
    return settings


def _mistake(sink: str, error: Mapping[str, Any], config: Config) -> str:
    """Pydantic's error as a sentence."""
    key = ".".join(map(str, error["loc"]))
    name = f"sinks.{sink}.{key}".rstrip(".")
    reason = error["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    missing = error["type"] == "missing"
    where = "configuration" if missing else config.source(name).where
    value = "" if missing else f" = {error['input']!r}"
    return f"{where}: {name}{value}: {reason}"
