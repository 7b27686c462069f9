"""Finds and loads the plugins that the configuration names. Other plugins are never imported.

stevedore selects and loads an entry point; pluggy checks the plugin against the hook specifications and calls it. Each
plugin has its own plugin manager, so that one's failure doesn't affect others. Entry points are read directly from
installed metadata: stevedore's own list comes from a cache in the home directory, without the distributions and without
the duplicates that must be reported.

Watched programs are spared these libraries (``light``): a plugin marked as the documentation shows is called directly,
as pluggy would call it; any other plugin goes through pluggy.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, Union

from .. import hookspecs
from ..config import Config, PluginsSection, suggest
from ..errors import ConfigError, PluginError
from ..records import Bridge, Serializer, Sink, SqlDriver, TypeFormat
from ..type_formats import declared
from . import installed as lightly
from .report import NOUNS, LoadReport, PluginReport, State, listing

if TYPE_CHECKING:
    from importlib.metadata import Distribution, EntryPoint

    AnyPoint = Union[EntryPoint, lightly.Point]  # noqa: UP007

RECORDS: Mapping[str, type[Any]] = {"serializers": Serializer, "sql": SqlDriver, "sinks": Sink, "bridges": Bridge}
OFFERS: Mapping[str, tuple[type[Any], ...]] = {
    kind: (record, TypeFormat) if record is Serializer else (record,) for kind, record in RECORDS.items()
}
"""What the hook of a kind may yield."""
DISTRIBUTIONS = {
    kind: {name: f"memwatch-{word}-{name}" for name in names}
    for kind, word, names in (
        ("serializers", "serializer", PluginsSection().serializers),
        ("sql", "sql", PluginsSection().sql),
        ("sinks", "sink", ("console", "jsonl")),
        ("bridges", "bridge", PluginsSection().bridges),
    )
}
"""The distributions of this project: no message suggests installing any other."""
OFFERED = {"int64": "scalars", "float64": "scalars", "bool": "scalars", "bytearray": "bytes", "memoryview": "ctypes"}
"""Names that events show for serializers of ours, other than their plugin's name: configurations may use them too."""


class Plugins(NamedTuple):
    """The loaded records; each kind in configured order."""

    serializers: tuple[Serializer, ...]
    sql: tuple[SqlDriver, ...]
    sinks: tuple[Sink, ...]
    bridges: tuple[Bridge, ...]
    report: LoadReport
    kinds: frozenset[str] = frozenset(RECORDS)
    """What was asked for: of the others nothing was imported."""
    formats: tuple[TypeFormat, ...] = ()
    """Of the serializers' plugins."""


def load(config: Config, kinds: Iterable[str] = tuple(RECORDS), *, strict: bool = True, light: bool = False) -> Plugins:
    """Loads the plugins of these kinds that ``config`` names.

    With ``strict``, a configured name that can't be used is an error with a line for each: ConfigError if nothing of
    that name is installed or a table belongs to no plugin, PluginError if the plugin is broken or offered twice (an
    error for default names, too). Without it, the report has all of that. A plugin whose target library is missing is
    never an error. ``light`` is for watched processes; the report then has only the problems.
    """
    plugins, unknown, unusable = examine(config, kinds, light=light)
    if strict and (unknown or unusable):
        raise (ConfigError if unknown else PluginError)(*unknown, *unusable.values())
    return plugins


def examine(
    config: Config, kinds: Iterable[str] = tuple(RECORDS), *, light: bool = False
) -> tuple[Plugins, list[str], dict[PluginReport, str]]:
    """As :func:`load`, but returns the mistakes: a sentence for each mistake in the configuration, and one for each
    named plugin that can't be used."""
    kinds = tuple(kinds)
    records: dict[str, list[Any]] = {kind: [] for kind in RECORDS}
    report: list[PluginReport] = []
    unknown: list[str] = []
    for kind in kinds:
        found = _by_name(kind, light)
        unknown += _check_tables(config, kind, found)
        names = dict.fromkeys(_plugin_of(kind, name, found) for name in getattr(config.plugins, kind))
        for name in names:
            points = found.pop(name, [])
            if not points and not config.chosen(f"plugins.{kind}"):
                continue  # a default that isn't installed
            offered, outcomes = _load_name(kind, name, points, light)
            taken = {record.name for record in records[kind]} & {record.name for record in offered}
            if taken:
                reason = f"offers {listing(map(repr, sorted(taken)))}, which a plugin named before it offers already"
                offered, outcomes = [], [_report(kind, name, "broken", reason, points[0])]
            records[kind] += offered
            report += outcomes
        for name, points in [] if light else sorted(found.items()):
            reason = f"not named in plugins.{kind}"
            if len(points) > 1:
                reason += f"; offered by {listing(map(_origin, points))}: uninstall one of them before using it"
            report += (_report(kind, name, "disabled", reason, point) for point in points)
    outcome = LoadReport(tuple(report))
    loaded = {kind: tuple(one for one in records[kind] if isinstance(one, RECORDS[kind])) for kind in RECORDS}
    formats = tuple(one for one in records["serializers"] if isinstance(one, TypeFormat))
    plugins = Plugins(**loaded, report=outcome, kinds=frozenset(kinds), formats=formats)
    return plugins, [*_missing_ones(outcome, config), *unknown], _unusable_ones(outcome, config)


def unused_sinks(config: Config) -> tuple[Sink, ...]:
    """Sinks that have a table but aren't in ``plugins.sinks``, imported to check the table. Broken ones are left
    out."""
    found = _by_name("sinks")
    names = [name for name in config.sinks if name in found and name not in config.plugins.sinks]
    return tuple(sink for name in names for sink in _load_name("sinks", name, found[name])[0])


def installed(kind: str) -> list[str]:
    """The names that entry points offer; nothing is imported."""
    return sorted(_by_name(kind))


def entry_points(group: str) -> Iterable[AnyPoint]:
    """The entry points of all installed distributions."""
    import importlib.metadata

    return importlib.metadata.entry_points(group=group)


def _by_name(kind: str, light: bool = False) -> dict[str, list[AnyPoint]]:
    found: dict[str, list[AnyPoint]] = {}
    for point in (lightly.entry_points if light else entry_points)(group=hookspecs.GROUPS[kind]):
        found.setdefault(point.name, []).append(point)
    return found


def _plugin_of(kind: str, name: str, found: Mapping[str, object]) -> str:
    """The plugin's name for a configured name; an entry point of exactly that name takes precedence."""
    return OFFERED.get(name, name) if kind == "serializers" and name not in found else name


class _Unusable(Exception):
    """The plugin was loaded, but isn't valid."""


def _load_name(
    kind: str, name: str, points: Sequence[AnyPoint], light: bool = False
) -> tuple[list[Any], list[PluginReport]]:
    if not points:
        return [], [_report(kind, name, "missing", _missing(kind, name))]
    if len(points) > 1:
        origins = listing(map(_origin, points))
        reason = f"offered by {origins}; neither is loaded: uninstall one of them"
        return [], [_report(kind, name, "duplicate", reason, point) for point in points]
    point = points[0]
    try:
        offered = _offers(kind, point, light)
    except _Unusable as error:
        return [], [_report(kind, name, "broken", str(error), point)]
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and _is_target(point.dist, error.name or ""):
            return [], [_report(kind, name, "target absent", _absent(point.dist, error.name or ""), point)]
        return [], [_report(kind, name, "broken", _explain(error, point), point)]
    summary = "" if light else _summary(offered)
    for record in offered:
        if isinstance(record, SqlDriver) and record.runtime == "python" and not _importable(record.target):
            return [], [_report(kind, name, "target absent", _absent(point.dist, record.target), point, summary)]
    return offered, [] if light else [_report(kind, name, "loaded", "", point, summary)]


def _offers(kind: str, point: AnyPoint, light: bool) -> list[Any]:
    """The records of one plugin. Raises whatever it raises, or _Unusable."""
    hook = f"memwatch_{kind}"
    plugin = point.load() if light else None
    answers = [getattr(plugin, hook)()] if light and _is_plain(plugin, hook) else _asked(hook, point)
    if not answers:
        raise _Unusable(f"{point.value} implements no hook {hook}: decorate it with memwatch_core.hookspecs.hookimpl")
    offered = [record for answer in answers for record in answer]
    for record in offered:
        if not isinstance(record, OFFERS[kind]):
            expected = " or ".join(each.__name__ for each in OFFERS[kind])
            raise _Unusable(f"{hook} must yield {expected} records, not {type(record).__name__}")
    try:
        declared(record for record in offered if isinstance(record, TypeFormat))
    except (ValueError, TypeError, AttributeError) as error:
        raise _Unusable(f"{hook}: {error}") from error
    if kind == "serializers":
        return offered
    named = [record for record in offered if record.name == point.name]
    if len(named) != 1:
        names = listing(repr(record.name) for record in offered) or "nothing"
        raise _Unusable(f"{hook} offers {names}: exactly one must have the entry point's name, {point.name!r}")
    return named


def _summary(offered: Iterable[Any]) -> str:
    said = [record.summary for record in offered if not isinstance(record, TypeFormat)]
    modules = sorted({record.name.rpartition(".")[0] for record in offered if isinstance(record, TypeFormat)})
    return "; ".join([*said, *([f"how values of {listing(modules)} are written"] if modules else [])])


def _is_plain(plugin: object, hook: str) -> bool:
    """Whether pluggy would accept the plugin and merely call its hook."""
    is_module = isinstance(plugin, ModuleType)
    of = [vars(plugin)] if is_module else [vars(each) for each in reversed(type(plugin).__mro__)]
    found = {name: value for each in of for name, value in each.items()}.items()
    marked = {name: value for name, value in found if isinstance(getattr(value, "memwatch_impl", None), dict)}
    return hook in marked and all(
        name.removeprefix("memwatch_") in RECORDS
        and isinstance(value, FunctionType)
        and vars(value)["memwatch_impl"] == {}
        and value.__code__.co_argcount == (0 if is_module else 1)
        for name, value in marked.items()
    )


def _asked(hook: str, point: AnyPoint) -> list[Any]:
    """The hook's results: stevedore loads the plugin, pluggy checks and calls it. Raises what the plugin raises, or
    _Unusable."""
    from importlib.metadata import EntryPoint

    import pluggy
    from stevedore.named import NamedExtensionManager

    class Manager(NamedExtensionManager[Any]):
        def list_entry_points(self) -> list[EntryPoint]:
            return [EntryPoint(point.name, point.value, point.group)]

    failures: list[BaseException] = []
    extensions = Manager(
        point.group,
        [point.name],
        on_load_failure_callback=lambda manager, point, error: failures.append(error),
        on_missing_entrypoints_callback=None,
    )
    if failures:
        raise failures[0]
    manager = pluggy.PluginManager("memwatch")
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(extensions[point.name].plugin, name=point.name)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise _Unusable(f"{error}{_other_hooks(extensions[point.name].plugin)}") from error
    answers: list[Any] = getattr(manager.hook, hook)()
    return answers


def _other_hooks(plugin: object) -> str:
    known = {name.removeprefix("memwatch_"): name for name in vars(hookspecs) if name.startswith("memwatch_")}
    names = (name for name in dir(plugin) if name.startswith("memwatch") and name not in known.values())
    rests = (name.removeprefix("memwatch").lstrip("_") for name in names)  # the common prefix makes all names similar
    return next((hint for rest in rests if (hint := suggest(rest, known, known))), "")


def _importable(target: str) -> bool:
    try:  # top level only: looking up a submodule would import its package
        return importlib.util.find_spec(target.partition(".")[0]) is not None
    except ValueError:
        return True  # in sys.modules, without a spec
    except ImportError:
        return False


def _extras(distribution: Distribution | None) -> list[tuple[str, str]]:
    """(extra, module name prefix) of each optional requirement."""
    found = []
    for line in (distribution.requires if distribution else None) or []:
        extra = re.search(r"extra == ['\"]([^'\"]+)", line)
        if extra:
            found.append((extra[1], re.split(r"[^\w.-]", line, maxsplit=1)[0].lower().replace("-", "_")))
    return found


def _is_target(distribution: Distribution | None, module: str) -> bool:
    """Whether the missing module belongs to one of the plugin's extras."""
    top = module.partition(".")[0].lower()
    return bool(top) and any(name.startswith(top) for _, name in _extras(distribution))


def _absent(distribution: Distribution | None, module: str) -> str:
    """The message about a missing library, with the command to install it if the distribution has an extra for it."""
    extras, top = _extras(distribution), module.partition(".")[0].lower()
    known = list(dict.fromkeys(extra for extra, name in extras if name.startswith(top)))
    known = known or list(dict.fromkeys(extra for extra, _ in extras))  # module and distribution may differ in name
    known = [top] if top in known else known
    hint = f": pip install {distribution.name}[{known[0]}]" if distribution is not None and len(known) == 1 else ""
    return f"{module} isn't installed{hint}"


def _explain(error: BaseException, point: AnyPoint) -> str:
    """The plugin's exception, and where in the plugin it was raised."""
    step, place = error.__traceback__, ""
    top = point.module.partition(".")[0]
    while step:
        if step.tb_frame.f_globals.get("__name__", "").partition(".")[0] == top:
            place = f" ({step.tb_frame.f_code.co_filename}:{step.tb_lineno})"
        step = step.tb_next
    return f"{type(error).__name__}: {error}{place}"


def _origin(point: AnyPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value


def _report(
    kind: str, name: str, state: State, reason: str, point: AnyPoint | None = None, summary: str = ""
) -> PluginReport:
    dist = point.dist if point else None
    location = point.value if point else ""
    return PluginReport(
        kind, name, state, reason, dist.name if dist else "", dist.version if dist else "", location, summary
    )


def _missing(kind: str, name: str) -> str:
    hint = suggest(name, installed(kind))
    if name in DISTRIBUTIONS[kind]:
        return f"not installed: pip install {DISTRIBUTIONS[kind][name]}"
    return f"no installed distribution offers a {NOUNS[kind]} of this name{hint or _have(kind)}"


def _have(kind: str) -> str:
    names = installed(kind)
    return f"; installed: {', '.join(names)}" if names else f"; no {NOUNS[kind]} at all is installed"


def _check_tables(config: Config, kind: str, found: Mapping[str, object]) -> Iterator[str]:
    tables = {"sinks": config.sinks, "serializers": config.serializers, "sql": config.sql.drivers}.get(kind, {})
    known = {*found, *getattr(config.plugins, kind)}
    for name, table in tables.items():
        where = next(
            (config.source(f"{kind}.{name}.{key}").where for key in table), config.source(f"{kind}.{name}").where
        )
        if name not in known:
            hint = suggest(name, known) or "; remove it, or install the plugin"
            yield f"{where}: [{kind}.{name}] belongs to no {NOUNS[kind]}{hint}"
        elif table and kind == "sql":
            yield f"{where}: the SQL driver {name!r} has no settings of its own; remove [sql.{name}]"


def _missing_ones(report: LoadReport, config: Config) -> list[str]:
    return [
        f"{config.source(f'plugins.{plugin.kind}').where}: plugins.{plugin.kind} names {plugin.name!r}: {plugin.reason}"
        for plugin in report.problems
        if plugin.state == "missing"
    ]


def _unusable_ones(report: LoadReport, config: Config) -> dict[PluginReport, str]:
    fatal: dict[str, PluginReport] = {}  # report duplicates once
    for plugin in report.problems:
        if plugin.state == "duplicate" or (plugin.state == "broken" and config.chosen(f"plugins.{plugin.kind}")):
            who = plugin if plugin.state == "broken" else f"{NOUNS[plugin.kind]} {plugin.name!r}"
            fatal.setdefault(f"{who}: {plugin.reason}", plugin)
    return {plugin: text for text, plugin in fatal.items()}


__all__ = ["DISTRIBUTIONS", "Plugins", "examine", "installed", "load", "unused_sinks"]
