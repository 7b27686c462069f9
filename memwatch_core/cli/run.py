"""``memwatch run``: run a program, report every write to its watched values."""

from __future__ import annotations

from typing import Any, Literal

import click
from click.shell_completion import CompletionItem

from .. import config as configuration


class RunCommand(click.Command):
    """Records whether ``--`` came before the program: click drops it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        before = list(args)
        rest = super().parse_args(ctx, args)
        length = len(ctx.params.get("program") or ())
        ctx.meta["memwatch.command"] = before[-length - 1 : -length] == ["--"]
        return rest


def _file(context: click.Context, parameter: click.Parameter, word: str) -> list[CompletionItem]:
    return [CompletionItem(word, type="file")]


def _sinks(context: click.Context, parameter: click.Parameter, word: str) -> list[str]:
    from ..loading.discovery import installed

    return [name for name in installed("sinks") if name.startswith(word)]


def _trackers(context: click.Context, parameter: click.Parameter, word: str) -> list[str]:
    return [name for name in ("auto", "uffd-sigbus", "readonly", "uffd-queue") if name.startswith(word)]


@click.command("run", cls=RunCommand, context_settings={"allow_interspersed_args": False})
@click.option("--track-threads/--no-track-threads", default=None, help="Say which thread wrote.  [default: yes]")
@click.option("--track-sql/--no-track-sql", default=None, help="Say which SQL statement was in force.  [default: no]")
@click.option(
    "--watch",
    "targets",
    multiple=True,
    metavar="TARGET",
    help="Watch a place that the program doesn't watch itself: orders:config, 'orders:config[\"debug\"]', "
    "orders:Order.total (of every instance), 'orders:*'; may be repeated.",
)
@click.option(
    "--break",
    "breaks",
    multiple=True,
    metavar="TARGET",
    help="Watch TARGET, as --watch does, and stop in breakpoint() where it is changed; may be repeated.",
)
@click.option(
    "--when",
    "conditions",
    multiple=True,
    metavar="CONDITION",
    help="Stop where a write to any watched value meets it: 'new < 0', 'path like \"*.total\" and new is None'; "
    "or, for one variable, 'total: new < 0'. Names: old, new, changed, path, variable, thread, site, statement.",
)
@click.option(
    "--then",
    type=click.Choice(["break", "raise", "dump"]),
    default=None,
    help="What is done where --when is met: breakpoint(), MutationError, or all threads' stacks.  [default: break]",
)
@click.option(
    "--track-all-vars/--no-track-all-vars",
    default=None,
    help="Watch all globals and class attributes of the program's own modules.  [default: no]",
)
@click.option("--track-locals/--no-track-locals", default=None, hidden=True)
@click.option(
    "--secret",
    "secrets",
    multiple=True,
    metavar="NAME",
    help="Record hashes of such variables' values, not these: '*token*', order.card; may be repeated.",
)
@click.option("--stack", metavar="N", help="Frames of the call stack that an event carries; 1: none.  [default: 16]")
@click.option("--stacks/--no-stacks", default=None, help="Show them on the console.  [default: no]")
@click.option("--mutation-depth", metavar="FULL|START:STOP", help="Bytes whose mutation counts.  [default: FULL]")
@click.option(
    "--tracker",
    shell_complete=_trackers,
    metavar="NAME",
    help="auto, uffd-sigbus, readonly or uffd-queue.  [default: auto]",
)
@click.option(
    "--sink",
    "sinks",
    multiple=True,
    shell_complete=_sinks,
    metavar="NAME",
    help="Where events go: console (standard error), jsonl (events.jsonl) or a plugin's; may be repeated.",
)
@click.option("--config", "file", type=click.Path(dir_okay=False), metavar="FILE", help="Read FILE; search none.")
@click.option("--folder", metavar="DIR", help="Where sessions are kept.  [default: .memwatch]")
@click.option("--quiet", "-q", is_flag=True, help="No summary at the end.")
@click.option("-m", "module", is_flag=True, help="The program is a module, as for python -m.")
@click.argument("program", nargs=-1, type=click.UNPROCESSED, shell_complete=_file, required=True)
@click.pass_context
def command(
    context: click.Context,
    track_threads: bool | None,
    track_sql: bool | None,
    track_all_vars: bool | None,
    track_locals: bool | None,
    targets: tuple[str, ...],
    breaks: tuple[str, ...],
    conditions: tuple[str, ...],
    then: str | None,
    secrets: tuple[str, ...],
    stack: str | None,
    stacks: bool | None,
    mutation_depth: str | None,
    tracker: str | None,
    sinks: tuple[str, ...],
    file: str | None,
    folder: str | None,
    quiet: bool,
    module: bool,
    program: tuple[str, ...],
) -> None:
    """Run PROGRAM and report every write to the values that it watches.

    PROGRAM is a Python script, a module after -m, or any command after --. Its arguments follow; options of memwatch
    come before it. It runs as a child process with its own standard streams; its exit status becomes ours.

    A command after -- takes part from its first watch() on: SQL connections opened earlier are not traced.
    Options win over MEMWATCH_ variables, these over memwatch.toml (see memwatch config).

    \b
    memwatch run script.py --its --arguments
    memwatch run --track-sql --sink console --sink jsonl script.py
    memwatch run --watch orders:config --watch orders:Order.total script.py
    memwatch run --break orders:config script.py
    memwatch run --watch orders:total --when 'new < 0' --then raise script.py
    memwatch run --track-all-vars script.py
    memwatch run -m package.module
    memwatch run -- python3 -X dev script.py
    """
    from ..running.runner import Target, run

    overrides: dict[str, dict[str, Any]] = {}
    labels: dict[str, str] = {}
    for key, value, option in (
        ("watch.track_threads", track_threads, "--track-threads"),
        ("watch.track_sql", track_sql, "--track-sql"),
        ("watch.track_all_vars", track_all_vars, "--track-all-vars"),
        ("watch.track_locals", track_locals, "--track-locals"),
        ("watch.stack", stack, "--stack"),
        ("watch.mutation_depth", mutation_depth, "--mutation-depth"),
        ("watch.then", then, "--then"),
        ("core.tracker", tracker, "--tracker"),
        ("plugins.sinks", list(sinks) or None, "--sink"),
        ("journal.folder", folder, "--folder"),
    ):
        if value is not None:
            section, name = key.split(".")
            overrides.setdefault(section, {})[name] = value
            labels[key] = f"--no{option[1:]}" if value is False else option
    config = configuration.load(file, overrides=overrides, labels=labels)
    if secrets:  # none that others have named is forgotten
        named = {"privacy": {"variables": [*dict.fromkeys([*config.privacy.variables, *secrets])]}}
        config = configuration.override(config, named, {"privacy.variables": "--secret"})
    for name, option, given in (
        ("targets", "--watch", targets),
        ("breaks", "--break", breaks),
        ("when", "--when", conditions),
    ):
        if given:  # beside those of the file
            both = {"watch": {name: [*dict.fromkeys([*getattr(config.watch, name), *given])]}}
            config = configuration.override(config, both, {f"watch.{name}": option})
    if stacks is not None:
        if "console" not in {*config.plugins.sinks, *config.sinks}:
            raise click.UsageError("--stacks is for the console, which isn't among the sinks: add --sink console")
        config = config.but(sinks={**config.sinks, "console": {**config.sinks.get("console", {}), "stacks": stacks}})
    kind: Literal["script", "module", "command"] = "module" if module else "script"
    if context.meta["memwatch.command"] and not module:
        kind = "command"
    context.exit(run(Target(kind, program), config, quiet=quiet))
