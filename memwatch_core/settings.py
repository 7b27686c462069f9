"""The settings themselves: what each is called, may be and defaults to, and where an effective value came from.

How they are found and checked is the business of :mod:`memwatch_core.config`, which also hands out what is here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, PrivateAttr


@dataclass(frozen=True, slots=True)
class Source:
    """Where an effective value came from."""

    kind: Literal["default", "file", "environment", "caller"]
    where: str
    """For people: ``memwatch.toml:12``, ``MEMWATCH_CORE_TRACKER``, ``--sink``; ``default``."""


DEFAULT = Source("default", "default")
JOURNAL_MIN = 4 << 20
"""``MW_JOURNAL_MIN`` of memwatch.h: journal.max_bytes is at least this."""


def _depth(value: object) -> object:
    """``"FULL"``, ``"0:8"``, ``[0, 8]`` -> ``"FULL"`` or ``(0, 8)``."""
    if isinstance(value, str):
        if value.upper() == "FULL":
            return "FULL"
        start, colon, stop = value.partition(":")
        value = (int(start), int(stop)) if colon and start.isdigit() and stop.isdigit() else value
    numbers = isinstance(value, list | tuple) and len(value) == 2 and all(type(n) is int for n in value)
    if numbers and isinstance(value, list | tuple) and 0 <= value[0] < value[1] < 2**63:
        return tuple(value)
    raise ValueError('must be "FULL" or a range of bytes such as "0:8" or [0, 8], the first below the second')


def _names(value: object) -> object:
    if isinstance(value, list | tuple) and all(isinstance(name, str) for name in value):
        twice = {name for name in value if value.count(name) > 1}
        if twice:
            raise ValueError(f"names {sorted(twice)[0]!r} twice")
        return tuple(value)
    raise ValueError('must be a list of names, such as ["console"]')


def _path(value: object) -> object:
    if isinstance(value, str | Path) and str(value):
        return Path(value).expanduser()
    raise ValueError("must be the path of a folder")


Depth = Annotated[Literal["FULL"] | tuple[int, int], BeforeValidator(_depth)]
Names = Annotated[tuple[str, ...], BeforeValidator(_names)]
Folder = Annotated[Path, BeforeValidator(_path)]
Tracker = Literal["auto", "uffd-sigbus", "readonly", "uffd-queue"]
Table = Mapping[str, Mapping[str, Any]]
"""Settings of plugins, by plugin: each plugin's own model checks them when it is loaded."""


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CoreSection(Section):
    tracker: Tracker = "auto"
    """How a store is noticed; ``auto`` takes the first that works (``memwatch doctor`` says which, and why)."""
    kernel_writes: Literal["calls", "all"] = "calls"
    """``calls``: those of libc's calls are seen, others fail; ``all``: ``auto`` means ``uffd-queue``, seeing all."""
    share_pages: bool = False
    """Pack small variables into one page instead of giving each its own."""

    @property
    def wanted(self) -> Tracker:
        """The tracker that the core is asked for."""
        return "uffd-queue" if self.tracker == "auto" and self.kernel_writes == "all" else self.tracker


class WatchSection(Section):
    """Defaults of ``watch()``; its own keywords win."""

    track_threads: bool = True
    track_sql: bool = False
    track_all_vars: bool = False
    track_locals: bool = False
    mutation_depth: Depth = "FULL"


class PluginsSection(Section):
    """What is loaded, in this order; nothing else is imported.

    The defaults name our own plugins: of these, what isn't installed is silently left out, so that installing
    ``memwatch-sql-psycopg`` is enough to use it. A name that you write must be there.
    """

    serializers: Names = ("scalars", "bytes", "struct", "typedarray")
    sql: Names = (
        *("sqlite3", "psycopg2", "psycopg", "mysqlclient", "sqlalchemy"),
        *("pg", "mysql2", "better-sqlite3", "node-sqlite3", "sequelize"),
    )
    sinks: Names = ("console",)
    bridges: Names = ("node",)


class SqlSection(Section):
    parameters: Literal["hash", "none", "full"] = "hash"
    """What is kept of a statement's parameters: keyed hashes, nothing, or the values themselves."""
    window: Literal["until-next", "statement", "fetch", "transaction"] = "until-next"
    """How long a statement is in force: until the next one (or commit, or close); while it runs; until its last row is
    fetched; until the next one, even if its cursor is closed while its transaction is open."""
    drivers: Table = {}
    """The tables ``[sql.<driver>]``."""


class NodeSection(Section):
    """Programs of Node.js."""

    exact_lines: bool = True
    """Run without V8's two middle compilers, whose code carries no lines (``--no-sparkplug --no-maglev``)."""


def _max_bytes(value: int) -> int:
    if value == 0 or JOURNAL_MIN <= value < 2**53:  # what JavaScript can count to
        return value
    raise ValueError(f"must be a number of bytes, at least {JOURNAL_MIN} (4 MiB), or 0 for no limit")


MaxBytes = Annotated[int, AfterValidator(_max_bytes)]


class JournalSection(Section):
    folder: Folder = Path(".memwatch")
    """Where sessions are kept. Relative to the file that says so; the default, to the file in use, or to here."""
    max_bytes: MaxBytes = 0
    """What the journal of one process may take on disk; 0 for no limit."""
    policy: Literal["block", "drop", "rotate"] = "block"
    """At the limit: wait for the reader (if there is none, as ``drop``), leave out and count what comes next, or give
    up what is oldest."""


class Config(Section):
    """The effective settings. Immutable."""

    core: CoreSection = CoreSection()
    watch: WatchSection = WatchSection()
    plugins: PluginsSection = PluginsSection()
    sinks: Table = {}
    serializers: Table = {}
    sql: SqlSection = SqlSection()
    node: NodeSection = NodeSection()
    journal: JournalSection = JournalSection()

    _sources: dict[str, Source] = PrivateAttr(default_factory=dict)
    _file: Path | None = PrivateAttr(default=None)

    @property
    def file(self) -> Path | None:
        """The file that was read, None if there is none."""
        return self._file

    @property
    def asks_for_sql(self) -> bool:
        """Whether SQL drivers are traced from the beginning, and not only from the first watch that tracks SQL."""
        return self.watch.track_sql or (self.chosen("plugins.sql") and bool(self.plugins.sql))

    def source(self, key: str) -> Source:
        """Where ``section.key`` came from."""
        return self._sources.get(key, DEFAULT)

    def chosen(self, key: str) -> bool:
        """Whether somebody wrote this setting, as opposed to a default."""
        return key in self._sources

    def items(self) -> Iterator[tuple[str, Any, Source]]:
        """Every effective setting as (``section.key``, value, source), in the order of the documentation."""
        for section in Config.model_fields:
            part = getattr(self, section)
            values = part if isinstance(part, Mapping) else {k: getattr(part, k) for k in type(part).model_fields}
            for key, value in values.items():
                if key == "drivers" and section == "sql":
                    for name, table in value.items():
                        yield from ((f"sql.{name}.{k}", v, self.source(f"sql.{name}.{k}")) for k, v in table.items())
                elif isinstance(value, Mapping):
                    for k, v in value.items():
                        yield f"{section}.{key}.{k}", v, self.source(f"{section}.{key}.{k}")
                else:
                    yield f"{section}.{key}", value, self.source(f"{section}.{key}")

    def dumps(self) -> str:
        """The settings and their sources as JSON, for :func:`loads`."""
        sources = {key: [source.kind, source.where] for key, source in self._sources.items()}
        data = {"settings": self.model_dump(mode="json"), "sources": sources, "file": self._file and str(self._file)}
        return json.dumps(data, indent=1, default=str)
