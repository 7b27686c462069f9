"""``memwatch run``: run a program, report every write to its watched values."""

from __future__ import annotations

from typing import Any, Literal

import click

from ..printed import say
from ..settings import WatchSection
from .options import configured, file, of_breaks, of_events, of_sessions, of_targets, of_values


class RunCommand(click.Command):
    """Records whether ``--`` came before the program: click drops it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        before = list(args)
        rest = super().parse_args(ctx, args)
        length = len(ctx.params.get("program") or ())
        ctx.meta["memwatch.command"] = before[-length - 1 : -length] == ["--"]
        return rest


@click.command("run", cls=RunCommand, context_settings={"allow_interspersed_args": False})
@of_events
@of_targets
@of_breaks
@click.option(
    "--track-all-vars/--no-track-all-vars",
    default=None,
    help="Watch all globals and class attributes of the program's own modules.  [default: no]",
)
@click.option(
    "--track-locals/--no-track-locals",
    default=None,
    help="Watch all local variables of the program's own functions.  [default: no]",
)
@of_values
@click.option("--mutation-depth", metavar="FULL|START:STOP", help="Bytes whose mutation counts.  [default: FULL]")
@of_sessions
@click.option("-m", "module", is_flag=True, help="The program is a module, as for python -m.")
@click.argument("program", nargs=-1, type=click.UNPROCESSED, shell_complete=file, required=True)
def command(module: bool, program: tuple[str, ...], quiet: bool, **given: Any) -> None:
    """Run PROGRAM and report every write to the values that it watches.

    PROGRAM is a Python script, a module after -m, or any command after --. Its arguments follow; options of memwatch
    come before it. It runs as a child process with its own standard streams; its exit status becomes ours.

    A command after -- takes part from its first watch() on: SQL connections opened earlier are not traced, and --watch,
    --break, --track-all-vars and --track-locals wait for it.
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

    context = click.get_current_context()
    config = configured(given)
    kind: Literal["script", "module", "command"] = "module" if module else "script"
    if context.meta["memwatch.command"] and not module:
        kind = "command"
        _say_what_waits(config.watch)
    context.exit(run(Target(kind, program), config, quiet=quiet))


def _say_what_waits(watch: WatchSection) -> None:
    """What is asked of a command that begins to be watched later, or never."""
    asked = {
        "--watch": watch.targets, "--break": watch.breaks, "--track-all-vars": watch.track_all_vars,
        "--track-locals": watch.track_locals,
    }  # fmt: skip
    waiting = [name for name, value in asked.items() if value]
    if waiting:
        say(
            f"{', '.join(waiting)}: a command after -- is watched from its first watch() on, without one not at all; "
            "memwatch run SCRIPT, or -m MODULE, watches a program of Python from its first line on"
        )
