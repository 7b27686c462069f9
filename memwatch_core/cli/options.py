"""Options that ``memwatch run`` and ``memwatch attach`` have in common, and the settings that they make."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from .. import config as configuration
from ..config import Config

_F = TypeVar("_F", bound=Callable[..., Any])
_KEYS = {
    "track_threads": "watch.track_threads",
    "track_sql": "watch.track_sql",
    "track_all_vars": "watch.track_all_vars",
    "track_locals": "watch.track_locals",
    "stack": "watch.stack",
    "mutation_depth": "watch.mutation_depth",
    "then": "watch.then",
    "tracker": "core.tracker",
    "sinks": "plugins.sinks",
    "folder": "journal.folder",
}
"""Of each option, the setting that it overrides."""


def _sinks(context: click.Context, parameter: click.Parameter, word: str) -> list[str]:
    from ..loading.discovery import installed

    return [name for name in installed("sinks") if name.startswith(word)]


def _trackers(context: click.Context, parameter: click.Parameter, word: str) -> list[str]:
    return [name for name in ("auto", "uffd-sigbus", "readonly", "uffd-queue") if name.startswith(word)]


def file(context: click.Context, parameter: click.Parameter, word: str) -> list[CompletionItem]:
    """Completes names of files."""
    return [CompletionItem(word, type="file")]


_OF_EVENTS = (
    click.option("--track-threads/--no-track-threads", default=None, help="Say which thread wrote.  [default: yes]"),
    click.option(
        "--track-sql/--no-track-sql", default=None, help="Say which SQL statement was in force.  [default: no]"
    ),
)
_OF_TARGETS = (
    click.option(
        "--watch",
        "targets",
        multiple=True,
        metavar="TARGET",
        help="Watch a place that the program doesn't watch itself: orders:config, 'orders:config[\"debug\"]', "
        "orders:Order.total (of every instance), 'orders:*'; may be repeated.",
    ),
)
_OF_BREAKS = (
    click.option(
        "--break",
        "breaks",
        multiple=True,
        metavar="TARGET",
        help="Watch TARGET, as --watch does, and stop in breakpoint() where it is changed; may be repeated.",
    ),
    click.option(
        "--when",
        "when",
        multiple=True,
        metavar="CONDITION",
        help="Stop where a write to any watched value meets it: 'new < 0', 'path like \"*.total\" and new is None'; "
        "or, for one variable, 'total: new < 0'. Names: old, new, changed, path, variable, thread, site, statement.",
    ),
    click.option(
        "--then",
        type=click.Choice(["break", "raise", "dump"]),
        default=None,
        help="What is done where --when is met: breakpoint(), MutationError, or all threads' stacks.  [default: break]",
    ),
)
_OF_VALUES = (
    click.option(
        "--secret",
        "secrets",
        multiple=True,
        metavar="NAME",
        help="Record hashes of such variables' values, not these: '*token*', order.card; may be repeated.",
    ),
    click.option(
        "--stack", metavar="N", help="Frames of the call stack that an event carries; 1: none.  [default: 16]"
    ),
    click.option("--stacks/--no-stacks", default=None, help="Show them on the console.  [default: no]"),
    click.option(
        "--merged/--each",
        default=None,
        help="On the console, all stores to an array that one statement made as a line, or each.  [default: merged]",
    ),
)
_OF_SESSIONS = (
    click.option(
        "--tracker",
        shell_complete=_trackers,
        metavar="NAME",
        help="auto, uffd-sigbus, readonly or uffd-queue.  [default: auto]",
    ),
    click.option(
        "--sink",
        "sinks",
        multiple=True,
        shell_complete=_sinks,
        metavar="NAME",
        help="Where events go: console (standard error), jsonl (events.jsonl) or a plugin's; may be repeated.",
    ),
    click.option("--config", "file", type=click.Path(dir_okay=False), metavar="FILE", help="Read FILE; search none."),
    click.option("--folder", metavar="DIR", help="Where sessions are kept.  [default: .memwatch]"),
    click.option("--quiet", "-q", is_flag=True, help="No summary at the end."),
)


def _with(options: tuple[Callable[[_F], _F], ...]) -> Callable[[_F], _F]:
    def decorate(function: _F) -> _F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


of_events, of_targets, of_breaks = _with(_OF_EVENTS), _with(_OF_TARGETS), _with(_OF_BREAKS)
of_values, of_sessions = _with(_OF_VALUES), _with(_OF_SESSIONS)
"""Decorators of commands, in the order of their help."""


def configured(given: Mapping[str, Any]) -> Config:
    """The settings of a command whose options are ``given`` by the names of their parameters. Raises ConfigError,
    UsageError."""
    overrides: dict[str, dict[str, Any]] = {}
    labels: dict[str, str] = {}
    for parameter, key in _KEYS.items():
        value = given.get(parameter)
        if value is None or value == ():
            continue
        section, name = key.split(".")
        overrides.setdefault(section, {})[name] = list(value) if isinstance(value, tuple) else value
        option = "--sink" if parameter == "sinks" else f"--{parameter.replace('_', '-')}"
        labels[key] = f"--no{option[1:]}" if value is False else option
    config = configuration.load(given.get("file"), overrides=overrides, labels=labels)
    if secrets := given.get("secrets"):  # none that others have named is forgotten
        named = {"privacy": {"variables": [*dict.fromkeys([*config.privacy.variables, *secrets])]}}
        config = configuration.override(config, named, {"privacy.variables": "--secret"})
    for name, option in (("targets", "--watch"), ("breaks", "--break"), ("when", "--when")):
        if words := given.get(name):  # beside those of the file
            both = {"watch": {name: [*dict.fromkeys([*getattr(config.watch, name), *words])]}}
            config = configuration.override(config, both, {f"watch.{name}": option})
    merged = given.get("merged")
    for option, key, value in (
        ("--stacks", "stacks", given.get("stacks")),
        ("--merged" if merged else "--each", "each", None if merged is None else not merged),
    ):
        if value is None:
            continue
        if "console" not in {*config.plugins.sinks, *config.sinks}:
            raise click.UsageError(f"{option} is for the console, which isn't among the sinks: add --sink console")
        config = config.but(sinks={**config.sinks, "console": {**config.sinks.get("console", {}), key: value}})
    return config
