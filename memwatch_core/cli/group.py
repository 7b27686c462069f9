"""``memwatch``: the group of commands, and how errors reach the user."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from .. import __version__
from ..errors import MemWatchError

COMMANDS = {
    "run": "Run a program and report every write to its watched values.",
    "log": "Read what a session recorded.",
    "plugins": "Show the plugins: installed, loaded, broken, missing.",
    "config": "Show the effective settings and where each comes from.",
    "doctor": "Check what this machine can do, and say what to do about the rest.",
}


class LazyGroup(click.Group):
    """Imports a command's module when the command is called, not before: ``memwatch log`` needs no plugin machinery."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f".{cmd_name}", __package__).command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and (args[0].endswith(".py") or os.path.isfile(args[0])):
            ctx.fail(f"No such command {args[0]!r}. To run a program: memwatch run {' '.join(args)}")
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="memwatch")
def group() -> None:
    """Git blame for memory: who changed this value, where, in which thread, because of which SQL statement.

    \b
    In a program:      from memwatch_core import watch
                       total = watch(0, name="total")
                       total += 5
    In the terminal:   memwatch run program.py
                       memwatch log --variable total
    """


def call(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs a command and ends the process with its exit status; errors become messages."""
    try:
        group.main(arguments, prog_name="memwatch")
    except MemWatchError as error:
        for line in str(error).splitlines():
            click.echo(f"memwatch: {line}", err=True)
        sys.exit(getattr(error, "status", 2))
    sys.exit(0)
