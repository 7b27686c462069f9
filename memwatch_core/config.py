"""The configuration: what it may hold, where it comes from, and which source won.

Sources, each overriding the one before: the defaults; one file; the environment; the caller (command-line options, or
keywords of ``memwatch_core.session``). The file is ``memwatch.toml``, or the table ``[tool.memwatch]`` of
``pyproject.toml``, in the nearest folder that has either, from the working directory upwards; ``memwatch.toml`` wins
within a folder. Files are never merged. ``MEMWATCH_CONFIG=FILE`` (or ``--config``) names a file instead. The
environment variable of a setting is ``MEMWATCH_<SECTION>_<KEY>``: ``MEMWATCH_CORE_TRACKER=readonly``,
``MEMWATCH_PLUGINS_SINKS=console,jsonl``, ``MEMWATCH_SINKS_JSONL_PATH=a.jsonl``.

Nothing is evaluated or guessed. Each unknown key, wrong type or unreadable file is a line of one :class:`ConfigError`,
which names the file, the line and the key. All functions are thread-safe. Watched processes run this code too: it needs
only the standard library, and imports rarely needed modules late.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, get_args

from . import config_file, folders, trust
from .errors import ConfigError
from .settings import ALL_SECTIONS, CHECKS, PLUGIN_TABLES, JournalSection, Source, SourceKind
from .settings import Config as Config
from .settings import PluginsSection as PluginsSection

SETTINGS_FILE = "settings.json"
"""In a session's folder: the effective settings, for the processes that write into the session."""

NO_SETTINGS = frozenset({"MEMWATCH_SESSION", "MEMWATCH_CONFIG", "MEMWATCH_SOAK"})
"""Variables that begin with ``MEMWATCH_`` and aren't settings: a process's session, the file to read, long tests."""


def loads(text: str, where: str = SETTINGS_FILE) -> Config:
    """The inverse of :meth:`Config.dumps`. Raises ConfigError, naming ``where``."""
    try:
        data = json.loads(text)
        sources = {key: Source(kind, label) for key, (kind, label) in data["sources"].items()}
        if not all(one.kind in get_args(SourceKind) and isinstance(one.where, str) for one in sources.values()):
            raise ValueError("a setting that comes from nowhere")
        return Config.of(data["settings"], sources, Path(data["file"]) if data["file"] else None)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        cause = f"{type(error).__name__}: {error}"[:200]
        raise ConfigError(f"{where}: not the settings of a session ({cause})") from error


def save(config: Config, folder: str | os.PathLike[str]) -> Path:
    """Writes the settings into a session's folder, mode 0600. Raises SessionError."""
    folders.save(folder, SETTINGS_FILE, config.dumps().encode())
    return Path(folder, SETTINGS_FILE)


def of_session(folder: str | os.PathLike[str], *, own: bool = False) -> Config:
    """The settings that :func:`save` wrote into a session's folder. ``own``: for a process that takes part in it.

    Raises ConfigError.
    """
    path = Path(folder, SETTINGS_FILE)
    try:
        with folders.open_folder(folder, own=own) as opened:
            return loads(trust.read(opened, SETTINGS_FILE, folders.FILE_MAX).decode(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: the session's settings can't be read: {config_file.cause_of(error)}") from error


def load(
    file: str | os.PathLike[str] | None = None,
    *,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    labels: Mapping[str, str] | None = None,
    directory: str | os.PathLike[str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Config:
    """The effective configuration.

    ``file`` is read instead of searching for one. ``overrides`` are sections that win over everything; ``labels`` name
    their origin in messages (``{"plugins.sinks": "--sink"}``). ``directory`` and ``environment`` are for tests; they
    default to the process's. Raises ConfigError, with a line for each mistake.
    """
    config, mistakes = examine(file, overrides, labels, directory, environment)
    if mistakes:
        raise ConfigError(*chain.from_iterable(mistakes))
    return config


def examine(
    file: str | os.PathLike[str] | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    labels: Mapping[str, str] | None = None,
    directory: str | os.PathLike[str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> tuple[Config, tuple[tuple[str, ...], ...]]:
    """As :func:`load`, but returns the configuration without the wrong settings, and what is said about each mistake:
    lines, of which all but the first show where it is."""
    here = Path(directory).absolute() if directory else _working_folder()
    environment = os.environ if environment is None else environment
    named = environment.get("MEMWATCH_CONFIG") if file is None else file
    if named == "" and file is not None:
        raise ConfigError("the configuration's file has an empty name: name one, or none at all")
    collector = _Collector()
    path: Path | None = None
    with collector.noting():
        path, text = config_file.named(here, named) if named else config_file.found(here)
    if path:
        with collector.noting():
            collector.add_file(path, text, here)
    for name, value in sorted(environment.items()):
        if name.startswith("MEMWATCH_") and name not in NO_SETTINGS:
            with collector.noting():
                key = collector.variable_key(name)
                source = Source("environment", name)
                collector.add(key, value, source, f"environment variable {name}", base=here, lax=True)
    collector.add_caller(overrides or {}, labels or {}, here)
    return collector.build(path.parent if path else here, path), tuple(collector.mistakes)


def override(
    config: Config, overrides: Mapping[str, Mapping[str, Any]], labels: Mapping[str, str] | None = None
) -> Config:
    """The configuration with some settings replaced; see :func:`load`. Raises ConfigError."""
    collector = _Collector()
    for key, value, source in config.items():
        if config.chosen(key):
            collector.values[key], collector.sources[key] = value, source
    here = _working_folder()
    collector.add_caller(overrides, labels or {}, here)
    collector.values.setdefault("journal.folder", config.journal.folder)
    if collector.mistakes:
        raise ConfigError(*chain.from_iterable(collector.mistakes))
    return collector.build(here, config.file)


def find_file(directory: Path) -> Path | None:
    """The configuration file for a program that runs in ``directory``."""
    return config_file.found(directory)[0]


def suggest(word: str, known: Iterable[str], names: Mapping[str, str] | None = None) -> str:
    """``; did you mean 'x'?``, or nothing.

    ``known`` may be parts of names, because a common prefix would make all names similar; ``names`` maps them to the
    names to suggest.
    """
    import difflib

    close = difflib.get_close_matches(word, list(known), 1, 0.6)
    return f"; did you mean {(names or {}).get(close[0], close[0])!r}?" if close else ""


# ---- inside ---------------------------------------------------------------------------------------------------------


def _working_folder() -> Path:
    try:
        return Path.cwd()
    except OSError as error:
        cause = config_file.cause_of(error)
        raise ConfigError(f"the working folder can't be used: {cause}; change to an existing one") from error


def _section_hint(word: str) -> str:
    homes = [name for name, checks in CHECKS.items() if word in checks]
    if homes:
        return f"; {word} belongs in [{homes[0]}]"
    return suggest(word, ALL_SECTIONS) or f"; the sections are {', '.join(ALL_SECTIONS)}"


class _Collector:
    """Checks values one by one, names each one's source in messages, and keeps the last value of each key."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.sources: dict[str, Source] = {}
        self.mistakes: list[tuple[str, ...]] = []

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Notes the mistakes raised within the block, then goes on."""
        try:
            yield
        except ConfigError as error:
            self.mistakes.append(error.lines)

    def note(self, mistake: str) -> None:
        self.mistakes.append((mistake,))

    def add_file(self, path: Path, text: str, here: Path) -> None:
        data = config_file.parse(path, text)
        lines = dict(config_file.lines(text, "tool.memwatch." if path.name == "pyproject.toml" else ""))
        shown = os.path.relpath(path, here) if path.is_relative_to(here) else str(path)

        def at(key: str) -> str:
            return f"{shown}:{lines[key]}" if key in lines else shown

        for key, value in self.flatten(data, at):
            with self.noting():
                self.add(key, value, Source("file", at(key)), at(key), base=path.parent)

    def add_caller(self, overrides: Mapping[str, Mapping[str, Any]], labels: Mapping[str, str], base: Path) -> None:
        for key, value in self.flatten(overrides, lambda key: labels.get(key, "settings of the caller")):
            where = labels.get(key, key)
            with self.noting():
                self.add(key, value, Source("caller", where), where, base=base, lax=isinstance(value, str))

    def flatten(self, data: Mapping[str, Any], at: Callable[[str], str]) -> Iterator[tuple[str, Any]]:
        """(dotted key, value) of all settings: two levels, three for plugins' tables. Notes misplaced values as
        mistakes."""
        for section, content in data.items():
            if section not in ALL_SECTIONS:
                self.note(f"{at(section)}: unknown section [{section}]{_section_hint(section)}")
                continue
            if not isinstance(content, Mapping):
                self.note(f"{at(section)}: {section} must be a table: write [{section}] above its settings")
                continue
            for key, value in content.items():
                if "." in key:  # a dot would be confused with a dotted key's
                    self.note(
                        f'{at(section)}: [{section}] "{key}": no setting or plugin has a dot in its name; '
                        "write it without quotes, or leave it out"
                    )
                elif section in PLUGIN_TABLES or (section == "sql" and isinstance(value, Mapping)):
                    if not isinstance(value, Mapping):
                        self.note(
                            f"{at(f'{section}.{key}')}: {section}.{key} must be a table, the settings of the plugin "
                            f"{key!r}: write [{section}.{key}]"
                        )
                        continue
                    if not value and section in PLUGIN_TABLES:
                        yield f"{section}.{key}", {}  # so that a mistake in the plugin's name is found
                    yield from ((f"{section}.{key}.{name}", setting) for name, setting in value.items())
                else:
                    yield f"{section}.{key}", value

    def add(self, key: str, value: Any, source: Source, where: str, *, base: Path, lax: bool = False) -> None:
        section, name = key.split(".", 1)
        if section in CHECKS and "." not in name:
            value = self.check(section, name, value, where, lax)
            if isinstance(value, Path):
                value = base / value
            elif isinstance(value, tuple):
                value = tuple(base / each if isinstance(each, Path) else each for each in value)
        elif _holds_infinity(value):  # settings reach other processes as JSON, which has neither
            raise ConfigError(f"{where}: {key} = {_shown(value)}: neither inf nor nan can be a setting; write a number")
        self.values[key] = value
        self.sources[key] = source

    def check(self, section: str, name: str, value: Any, where: str, lax: bool) -> Any:
        check = CHECKS[section].get(name)
        if check is None:
            homes = [other for other, checks in CHECKS.items() if name in checks and other != section]
            hint = f"; {name} belongs in [{homes[0]}]" if homes else suggest(name, CHECKS[section])
            hint = hint or f"; [{section}] has {', '.join(CHECKS[section])}"
            raise ConfigError(f"{where}: unknown key {section}.{name}{hint}")
        try:
            return check(value, lax)
        except ConfigError as error:
            raise ConfigError(f"{where}: {section}.{name}: {error.lines[0]}", *error.lines[1:]) from None
        except ValueError as error:
            words = re.findall(r"'([^']+)'", str(error)) if str(error).startswith("must be '") else []
            hint = suggest(value, words) if isinstance(value, str) else ""
            raise ConfigError(f"{where}: {section}.{name} = {_shown(value)}: {error}{hint}") from None

    def variable_key(self, variable: str) -> str:
        """``MEMWATCH_SINKS_JSONL_PATH`` -> ``sinks.jsonl.path``."""
        written = variable.removeprefix("MEMWATCH_").lower()
        section, _, rest = written.partition("_")
        if section not in ALL_SECTIONS:
            keys = [(s, k) for s, checks in CHECKS.items() for k in checks]
            names = {word: f"MEMWATCH_{s}_{k}".upper() for s, k in keys for word in (k, f"{s}_{k}")}
            hint = suggest(written, names, names) or "; memwatch config lists them: MEMWATCH_<SECTION>_<KEY>"
            raise ConfigError(f"environment variable {variable}: no setting{hint}")
        if section in CHECKS and (rest in CHECKS[section] or section != "sql"):
            return f"{section}.{rest}"
        chosen = self.values.get(f"plugins.{section}", getattr(PluginsSection(), section))
        tables = {key.split(".")[1] for key in self.values if key.startswith(f"{section}.") and key.count(".") == 2}
        for plugin in sorted({*chosen, *tables}, key=len, reverse=True):
            if rest.startswith(plugin.lower().replace("-", "_") + "_"):
                return f"{section}.{plugin}.{rest[len(plugin) + 1 :]}"
        plugin, underscore, key = rest.partition("_")
        if section == "sql" or not underscore:
            known = [*CHECKS["sql"]] if section == "sql" else []
            hint = suggest(rest, known) or f"; write MEMWATCH_{section.upper()}_<PLUGIN>_<KEY>"
            raise ConfigError(f"environment variable {variable}: no setting{hint}")
        return f"{section}.{plugin}.{key}"

    def build(self, base: Path, file: Path | None) -> Config:
        nested: dict[str, Any] = {}
        for key, value in self.values.items():
            section, *middle, name = key.split(".") if key.count(".") < 2 else key.split(".", 2)
            table = nested.setdefault(section, {})
            if middle and section == "sql":
                table = table.setdefault("drivers", {})
            for part in middle:
                table = table.setdefault(part, {})
            table[name] = value
        journal = nested.setdefault("journal", {})
        journal["folder"] = base / journal.get("folder", JournalSection().folder)
        return Config.of(nested, self.sources, file)


def _holds_infinity(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(map(_holds_infinity, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_holds_infinity, value))
    return isinstance(value, float) and not math.isfinite(value)


def _shown(value: object) -> str:
    text = json.dumps(value, default=str) if not isinstance(value, str) else f'"{value}"'
    return text if len(text) <= 60 else text[:57] + "..."
