"""``memwatch attach``: watch places of a program that runs already."""

from __future__ import annotations

import os
from typing import Any

import click
from click.shell_completion import CompletionItem

from .options import configured, of_breaks, of_events, of_sessions, of_targets, of_values


def _processes(context: click.Context, parameter: click.Parameter, word: str) -> list[CompletionItem]:
    found = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/comm") as file:
                command = file.read().strip()
            if name.startswith(word) and os.stat(f"/proc/{name}").st_uid == os.getuid() and "python" in command:
                found.append(CompletionItem(name, help=command))
        except OSError:
            continue  # it has ended
    return found


@click.command("attach")
@click.argument("pid", type=click.IntRange(1), shell_complete=_processes)
@of_targets
@of_breaks
@click.option(
    "--for", "seconds", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="End after that time."
)
@click.option(
    "--wait",
    type=click.FloatRange(0, min_open=True),
    default=60.0,
    metavar="SECONDS",
    help="How long the program may take to come to an instruction of Python.  [default: 60]",
)
@of_events
@of_values
@of_sessions
def command(
    pid: int,
    seconds: float | None,
    wait: float,
    quiet: bool,
    **given: Any,
) -> None:
    """Watch places of the program that runs as process PID, and report every write to them.

    The program goes on as it was. Ctrl-C ends the watching, not the program: nothing is left in it then. Its processes
    that are forked meanwhile are watched as well.

    It must be CPython 3.11 or later, and this user's. To 3.14 and later it takes nothing else; to those before, gdb.
    MemWatch should be installed in the program's environment, too.

    \b
    memwatch attach 4711 --watch orders:config
    memwatch attach 4711 --watch 'orders:config["debug"]' --for 60
    memwatch attach 4711 --watch orders:Order.total --sink jsonl
    """
    from ..running.attaching import attach

    config = configured(given)
    if not (config.watch.targets or config.watch.breaks or config.watch.track_all_vars):
        raise click.UsageError("nothing to watch: --watch MODULE:NAME, such as --watch orders:config")
    click.get_current_context().exit(attach(pid, config, quiet=quiet, seconds=seconds, wait=wait))
