"""Hands batches of records to the sinks: in a loop, each isolated from the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ..config import Config, suggest
from ..errors import ConfigError, PluginError
from ..loading.discovery import unused_sinks
from ..printed import clean
from ..records import Record, RecordSink, Sink


@dataclass(slots=True)
class Output:
    """One open sink."""

    name: str
    sink: RecordSink
    failure: str = ""
    """Why it was disabled; empty while it works."""
    unwritten: int = 0
    """Records that it didn't get after it failed, and those of the batch that it failed at."""


class Pipeline:
    """The open sinks of a run.

    A sink that raises is reported once, closed and left out from then on; the others lose nothing. ``report`` gets one
    sentence per failure. One thread at a time may call; no method raises, but for what is no Exception
    (KeyboardInterrupt), which passes.
    """

    def __init__(self, outputs: Iterable[tuple[str, RecordSink]], report: Callable[[str], None]) -> None:
        self.outputs = [Output(name, sink) for name, sink in outputs]
        self._report = report
        self._closed = False

    def write(self, records: Sequence[Record]) -> None:
        """Hands the batch, in order, to every sink that still works."""
        for output in self.outputs:
            if output.failure or not self._call(output, "write", records):
                output.unwritten += len(records)

    def flush(self) -> None:
        """Lets every sink write out what it has buffered."""
        for output in self.outputs:
            if not output.failure:
                self._call(output, "flush")

    def close(self) -> None:
        """Flushes and closes every sink, once; a sink whose flush raised is closed too."""
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
            if not isinstance(error, BrokenPipeError):  # whoever read it has seen enough: no news
                self._report(f"sink {output.name!r} failed in {method}() ({output.failure}){rest}")
            if method != "close":
                with suppress(Exception):  # it has failed already, and that has been said
                    output.sink.close()
            return False


def open_sinks(sinks: Iterable[Sink], config: Config) -> list[tuple[str, RecordSink]]:
    """Opens the loaded sinks with their tables ``[sinks.<name>]``.

    Raises ConfigError (an unknown or wrong setting, with file and key) or PluginError (the sink couldn't be opened);
    those that were opened before are closed again.
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


def check_settings(sinks: Iterable[Sink], config: Config) -> None:
    """Checks the tables of these sinks, and of those that aren't in use, without opening any. Raises ConfigError."""
    if mistakes := settings_mistakes(sinks, config):
        raise ConfigError(*mistakes)


def settings_mistakes(sinks: Iterable[Sink], config: Config) -> list[str]:
    """A sentence about each setting that is wrong in these tables."""
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
    """What pydantic says of one value."""
    key = ".".join(map(str, error["loc"]))
    name = f"sinks.{sink}.{key}".rstrip(".")
    reason = error["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    missing = error["type"] == "missing"
    where = "configuration" if missing else config.source(name).where
    value = "" if missing else f" = {error['input']!r}"
    return f"{where}: {name}{value}: {reason}"
