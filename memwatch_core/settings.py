"""The settings: names, types, defaults, and where an effective value came from.

They are defined only here, for the host and for watched processes. The latter import only this module, so it needs no
more than the standard library. :mod:`memwatch_core.config` finds the settings, and exports the names of this module.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar, get_args

SourceKind = Literal["default", "file", "environment", "caller"]


class Source(NamedTuple):
    """Where an effective value came from."""

    kind: SourceKind
    where: str
    """For people: ``memwatch.toml:12``, ``MEMWATCH_CORE_TRACKER``, ``--sink``; ``default``."""


DEFAULT = Source("default", "default")
JOURNAL_MIN = 4 << 20
"""``MW_JOURNAL_MIN`` of memwatch.h: the least value of journal.max_bytes."""
STACK_MOST = 128
"""``MWPY_STACK_MOST`` of python/origins/stacks.h: the largest value of watch.stack."""

# ---- what a value may be --------------------------------------------------------------------------------------------

Table = Mapping[str, Mapping[str, Any]]
"""Settings of plugins, by plugin; each plugin's own model checks them when it is loaded."""
Check = Callable[[Any, bool], Any]
"""``check(value, lax)``: the setting for a value in a file, or (``lax``) for one given as text. Raises ValueError with
the end of a sentence: ``must be …``."""


class _Setting(NamedTuple):
    default: Any
    check: Check


def _setting(default: Any, check: Check) -> Any:
    return _Setting(default, check)


def _one_of(words: Any) -> Check:
    *first, last = map(repr, get_args(words))
    reason = f"must be {', '.join(first)} or {last}"

    def check(value: Any, lax: bool) -> Any:
        if isinstance(value, str) and value in get_args(words):
            return value
        raise ValueError(reason)

    return check


_WORDS = {
    **dict.fromkeys(("1", "true", "t", "yes", "y", "on"), True),
    **dict.fromkeys(("0", "false", "f", "no", "n", "off"), False),
}


def _flag(value: Any, lax: bool) -> bool:
    if lax and isinstance(value, str):
        value = _WORDS.get(value.lower())
    if isinstance(value, bool):
        return value
    raise ValueError("must be true or false")


def _depth(value: Any, lax: bool) -> object:
    """``"FULL"``, ``"0:8"``, ``[0, 8]`` -> ``"FULL"`` or ``(0, 8)``."""
    if isinstance(value, str):
        if value.upper() == "FULL":
            return "FULL"
        start, colon, stop = value.partition(":")
        digits = colon and all(text.isdecimal() and len(text) < 20 for text in (start, stop))
        value = (int(start), int(stop)) if digits else value
    numbers = isinstance(value, list | tuple) and len(value) == 2 and all(type(n) is int for n in value)
    if numbers and 0 <= value[0] < value[1] < 2**63:
        return tuple(value)
    raise ValueError('must be "FULL" or a range of bytes such as "0:8" or [0, 8], the first below the second')


def _frames(value: Any, lax: bool) -> object:
    if lax and isinstance(value, str) and value.isdecimal() and len(value) < 10:
        value = int(value)
    if value == "auto" or (type(value) is int and 1 <= value <= STACK_MOST):
        return value
    raise ValueError(f'must be "auto" or a number of frames, from 1 to {STACK_MOST}')


def _plugins(word: str) -> Check:
    """Names of plugins. The name of a plugin's distribution, ``memwatch-<word>-<name>``, is accepted too."""
    prefix = f"memwatch-{word}-"

    def check(value: Any, lax: bool) -> Names:
        if lax and isinstance(value, str):
            value = [item.strip() for item in value.split(",") if item.strip()]
        if not isinstance(value, list | tuple) or not all(isinstance(name, str) for name in value):
            raise ValueError('must be a list of names, such as ["console"]')
        names = tuple(name.removeprefix(prefix) for name in value)
        for name in sorted(set(names)):
            if names.count(name) > 1:
                also = f" ({prefix + name!r} is its distribution)" if prefix + name in value else ""
                raise ValueError(f"names {name!r} twice{also}; leave one out")
        return names

    return check


def path_of(value: str | Path) -> Path:
    """The path that a user wrote, with ``~`` and ``~user`` expanded. Raises ValueError, with the end of a sentence, if
    it can't be a path."""
    try:
        os.fsencode(value)
    except UnicodeEncodeError:
        raise ValueError("can't be a path: it has a character that no name of a file has; leave it out") from None
    if "\0" in str(value):
        raise ValueError("can't be a path: it has a NUL character; leave it out")
    path = os.path.expanduser(value)
    if (user := str(path).partition("/")[0]).startswith("~"):
        raise ValueError(f"{user!r} is no user's home folder; write the path in full, or ./{user} for a name")
    return Path(path)


def _folder(value: Any, lax: bool) -> Path:
    if isinstance(value, str | Path) and str(value):
        return path_of(value)
    raise ValueError("must be the path of a folder")


def _paths(value: Any, lax: bool) -> Paths:
    if lax and isinstance(value, str):
        value = [item.strip() for item in value.split(",") if item.strip()]
    if isinstance(value, list | tuple) and all(isinstance(each, str | Path) and str(each) for each in value):
        return tuple(map(path_of, value))
    raise ValueError('must be a list of files and folders, such as ["src"]')


_MODULE = re.compile(r"[\w*?]+(\.[\w*?]+)*")
_PATTERN = re.compile(r"(?:\[[^\]]*\]|\{[^}]*\}|[^,\n])+")
"""One of several that have commas or line breaks between them: a comma in brackets belongs to a key."""


def _patterns(value: Any, lax: bool) -> Names:
    if lax and isinstance(value, str):
        value = [item for item in _PATTERN.findall(value) if item.strip()]
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) and each.strip() for each in value):
        raise ValueError('must be a list of names, such as ["*token*", "order.card"]')
    names = tuple(each.strip() for each in value)
    for name in names:
        if _PATTERN.findall(name) != [name]:
            raise ValueError(f"must be single names: {name!r} has a comma; name them one by one, or write ? for it")
    return names


def _targets(value: Any, lax: bool) -> Names:
    """Targets, each as it was written. Text has them one by line or with commas between them, as in a shell. Raises
    ConfigError, which shows the place of the mistake."""
    from .targets import parse

    if lax and isinstance(value, str):
        value = [item.strip() for item in _PATTERN.findall(value) if item.strip()]
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
        raise ValueError('must be a list of targets, such as ["orders:config", "orders:Order.total"]')
    for each in value:
        parse(each)
    return tuple(dict.fromkeys(value))


def _conditions(value: Any, lax: bool) -> Names:
    if lax and isinstance(value, str):
        value = [each for each in re.split(r"[;\n]", value) if each.strip()]
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) and each.strip() for each in value):
        raise ValueError('must be a list of conditions, such as ["new < 0", "order.*: new is None"]')
    from .condition_text import parted, read
    from .errors import ConditionError, ConfigError

    for text in value:
        try:
            read(parted(text)[1])
        except ConditionError as error:
            raise ConfigError("not a condition; docs/breaks.md has the language", *error.lines[1:]) from None
    return tuple(value)


def _modules(value: Any, lax: bool) -> Names:
    if lax and isinstance(value, str):
        value = [item.strip() for item in value.split(",") if item.strip()]
    if isinstance(value, list | tuple) and all(isinstance(each, str) and _MODULE.fullmatch(each) for each in value):
        return tuple(dict.fromkeys(value))
    raise ValueError('must be a list of modules\' names, with * and ?, such as ["app", "app.*"]')


def _max_bytes(value: Any, lax: bool) -> int:
    if lax and isinstance(value, str) and len(value) < 40 and value.replace("_", "").isdecimal():
        value = int(value.replace("_", ""))
    if type(value) is int and (value == 0 or JOURNAL_MIN <= value < 2**53):  # exact in JavaScript
        return value
    raise ValueError(f"must be a number of bytes, at least {JOURNAL_MIN} (4 MiB), or 0 for no limit")


def _table(value: Any) -> Table:
    if isinstance(value, Mapping) and all(isinstance(each, Mapping) for each in value.values()):
        return {str(name): dict(each) for name, each in value.items()}
    raise ValueError("must be tables of plugins' settings")


def _unchecked(value: Any, lax: bool) -> Any:
    return value


Action = Literal["break", "raise", "dump"]
Depth = Literal["FULL"] | tuple[int, int]
Names = tuple[str, ...]
Paths = tuple[Path, ...]
Frames = int | Literal["auto"]
Tracker = Literal["auto", "uffd-sigbus", "readonly", "uffd-queue"]
KernelWrites = Literal["calls", "all"]
Parameters = Literal["hash", "none", "full"]
Window = Literal["until-next", "statement", "fetch", "transaction"]
Policy = Literal["block", "drop", "rotate"]

# ---- the settings ---------------------------------------------------------------------------------------------------

S = TypeVar("S", bound="Section")


class Section:
    """A group of settings. Immutable; a missing keyword gets its default.

    Behaves as a frozen dataclass, whose creation would take a hundred times as long.
    """

    settings: Mapping[str, _Setting] = {}
    """By key, in the order of the documentation."""

    def __init_subclass__(cls) -> None:
        cls.settings = {key: value for key, value in vars(cls).items() if isinstance(value, _Setting)}

    def __init__(self, **values: Any) -> None:
        """Takes checked values. Raises TypeError for a keyword that isn't a setting."""
        if unknown := values.keys() - self.settings.keys():
            raise TypeError(f"{type(self).__name__} has no {', '.join(sorted(unknown))}")
        vars(self).update({key: setting.default for key, setting in self.settings.items()} | values)

    def but(self: S, **values: Any) -> S:
        """A copy with some settings replaced."""
        return type(self)(**vars(self) | values)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"cannot assign to {name!r}: settings are frozen")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"cannot delete {name!r}: settings are frozen")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(other) == vars(self)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{key}={value!r}' for key, value in vars(self).items())})"


class CoreSection(Section):
    """How the core notices stores."""

    tracker: Tracker = _setting("auto", _one_of(Tracker))
    """How stores are noticed; ``auto`` takes the first that works (``memwatch doctor`` shows which, and why)."""
    kernel_writes: KernelWrites = _setting("calls", _one_of(KernelWrites))
    """``calls``: the kernel's writes in libc calls are seen, other ones fail; ``all``: ``auto`` means ``uffd-queue``,
    which sees all."""
    share_pages: bool = _setting(False, _flag)
    """Pack small variables into one page instead of giving each its own."""

    @property
    def wanted(self) -> Tracker:
        """The tracker to request from the core."""
        return "uffd-queue" if self.tracker == "auto" and self.kernel_writes == "all" else self.tracker


class WatchSection(Section):
    """Defaults of ``watch()``; its own keywords win."""

    track_threads: bool = _setting(True, _flag)
    track_sql: bool = _setting(False, _flag)
    track_all_vars: bool = _setting(False, _flag)
    """Watch all names of the program's own modules, and of the classes defined in them, from their beginning."""
    track_locals: bool = _setting(False, _flag)
    targets: Names = _setting((), _targets)
    """Places that are watched as soon as their module is there: ``orders:config``, ``orders:Order.total``."""
    modules: Names = _setting((), _modules)
    """Whose variables ``track_all_vars`` and ``track_locals`` mean: modules' names, with ``*`` and ``?``. Empty: the
    script's, and of modules whose file lies in its folder or below and isn't installed there."""
    breaks: Names = _setting((), _targets)
    """The same, and the program stops in ``breakpoint()`` at each change of one."""
    when: Names = _setting((), _conditions)
    """Conditions of all watched values, or of some (``order.*: new is None``): where one is met, ``then`` is done."""
    then: Action = _setting("break", _one_of(Action))
    """``break``: ``breakpoint()``; ``raise``: MutationError; ``dump``: all threads' stacks are printed."""
    mutation_depth: Depth = _setting("FULL", _depth)
    stack: Frames = _setting("auto", _frames)
    """How many frames of the call stack an event carries: from 1, the line that wrote alone, to 128. ``auto``: 16 under
    ``memwatch run``, otherwise 1."""

    @property
    def frames(self) -> int:
        """:attr:`stack` as a number."""
        return 1 if self.stack == "auto" else self.stack


class PluginsSection(Section):
    """The plugins to load, in this order; no other is imported.

    The defaults name our own plugins. Those that aren't installed are skipped, so that installing
    ``memwatch-sql-psycopg`` is enough to use it. A plugin that you name must be installed.
    """

    serializers: Names = _setting(
        (*("scalars", "bytes", "struct", "torch", "numpy", "pandas", "pyarrow", "ctypes", "typedarray"),),
        _plugins("serializer"),
    )
    sql: Names = _setting(
        (
            *("sqlite3", "aiosqlite", "psycopg2", "psycopg", "mysqlclient", "pymysql", "sqlalchemy"),
            *("pg", "mysql2", "better-sqlite3", "node-sqlite3", "sequelize", "postgres"),
        ),
        _plugins("sql"),
    )
    sinks: Names = _setting(("console",), _plugins("sink"))
    bridges: Names = _setting(("node",), _plugins("bridge"))


class SitesSection(Section):
    """Which places in the source are shown."""

    own: Paths = _setting((), _paths)
    """The program's own code: files and folders, with ``*`` and ``?``, relative to the file that sets them. The first
    of its lines on the way to a store is shown first. Empty: all but the standard library and installed packages."""


class PrivacySection(Section):
    """What must not be found in a session."""

    variables: Names = _setting((), _patterns)
    """Secrets: names of variables and of places in them, ``order.card``, with ``*`` and ``?``, in either case. Of their
    values hashes are recorded, of no use to anybody else."""


class SqlSection(Section):
    """What is recorded of SQL statements, and how long they are in force."""

    parameters: Parameters = _setting("hash", _one_of(Parameters))
    """How a statement's parameters are recorded: as keyed hashes, not at all, or as values."""
    window: Window = _setting("until-next", _one_of(Window))
    """How long a statement is in force: until the next one (or commit, or a close with rows left); while it runs; until
    its last row is fetched; until the next one, even if its cursor is closed while its transaction is open."""
    drivers: Table = _setting({}, lambda value, lax: _table(value))
    """The tables ``[sql.<driver>]``."""


class NodeSection(Section):
    """Programs of Node.js."""

    exact_lines: bool = _setting(True, _flag)
    """Run without V8's two middle compilers, whose code carries no lines (``--no-sparkplug --no-maglev``)."""


class JournalSection(Section):
    """Where journals are kept, and how large they get."""

    folder: Path = _setting(Path(".memwatch"), _folder)
    """Where sessions are kept. Relative to the file that sets it; the default to the file in use, or the working
    folder."""
    max_bytes: int = _setting(0, _max_bytes)
    """Limit of the size on disk of one process's journal; 0: none."""
    policy: Policy = _setting("block", _one_of(Policy))
    """At the limit: wait for the reader (``drop`` if there is none), drop and count new events, or free the oldest."""


class Config(Section):
    """The effective settings. Immutable."""

    core: CoreSection = _setting(CoreSection(), _unchecked)
    watch: WatchSection = _setting(WatchSection(), _unchecked)
    plugins: PluginsSection = _setting(PluginsSection(), _unchecked)
    sinks: Table = _setting({}, _unchecked)
    serializers: Table = _setting({}, _unchecked)
    sites: SitesSection = _setting(SitesSection(), _unchecked)
    privacy: PrivacySection = _setting(PrivacySection(), _unchecked)
    sql: SqlSection = _setting(SqlSection(), _unchecked)
    node: NodeSection = _setting(NodeSection(), _unchecked)
    journal: JournalSection = _setting(JournalSection(), _unchecked)
    file: Path | None = _setting(None, _unchecked)
    """The configuration file that was read; None if there is none."""
    sources: Mapping[str, Source] = _setting({}, _unchecked)
    """Where each setting that isn't a default came from."""

    @classmethod
    def of(
        cls,
        sections: Mapping[str, Mapping[str, Any]],
        sources: Mapping[str, Source] | None = None,
        file: Path | None = None,
    ) -> Config:
        """Creates a configuration from values by section and key, checked as those in a file. Raises ValueError,
        TypeError."""
        made: dict[str, Any] = {}
        for name, values in sections.items():
            if name in PLUGIN_TABLES:
                made[name] = _table(values)
                continue
            section = SECTIONS[name]
            made[name] = section(**{key: section.settings[key].check(value, False) for key, value in values.items()})
        return cls(**made, file=file, sources=dict(sources or {}))

    @property
    def asks_for_sql(self) -> bool:
        """Whether to trace SQL drivers from the beginning, not only from the first watch that tracks SQL."""
        return self.watch.track_sql or (self.chosen("plugins.sql") and bool(self.plugins.sql))

    def source(self, key: str) -> Source:
        """Where ``section.key`` came from."""
        return self.sources.get(key, DEFAULT)

    def chosen(self, key: str) -> bool:
        """Whether a setting was given, as opposed to a default."""
        return key in self.sources

    def items(self) -> Iterator[tuple[str, Any, Source]]:
        """Every effective setting as (``section.key``, value, source), in the order of the documentation."""
        for section, values in self._sections():
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
        """The settings and their sources as JSON, for :func:`memwatch_core.config.loads`."""
        sources = {key: [source.kind, source.where] for key, source in self.sources.items()}
        data = {"settings": dict(self._sections()), "sources": sources, "file": self.file and str(self.file)}
        return json.dumps(data, indent=1, default=_as_text)

    def _sections(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for section in ALL_SECTIONS:
            part = getattr(self, section)
            yield section, dict(part) if isinstance(part, Mapping) else dict(vars(part))


PLUGIN_TABLES = ("sinks", "serializers")
ALL_SECTIONS = tuple(name for name in Config.settings if name not in ("file", "sources"))
SECTIONS: Mapping[str, type[Section]] = {
    name: type(Config.settings[name].default) for name in ALL_SECTIONS if name not in PLUGIN_TABLES
}
CHECKS: Mapping[str, Mapping[str, Check]] = {
    name: {key: setting.check for key, setting in section.settings.items() if key != "drivers"}
    for name, section in SECTIONS.items()
}
"""Section -> key -> its check. Sections without one are in :data:`PLUGIN_TABLES`."""


def _as_text(value: Any) -> str:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
