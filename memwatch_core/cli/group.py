"""``memwatch``: the group of commands, and how errors reach the user."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from io import StringIO
from typing import NoReturn

import click

from .. import __version__
from ..errors import MemWatchError
from ..printed import NARROWEST, clean_lines, open_closed, put, say, settle, terminal_width, wrap

COMMANDS = {
    "run": "Run a program and report every write to its watched values.",
    "attach": "Watch places of a program that runs already.",
    "log": "Read what a session recorded.",
    "blame": "Say who wrote each part of a value last.",
    "history": "Show the values of a variable over time.",
    "at": "Show every watched value as it was at a moment.",
    "diff": "Show what changed between two moments, or two sessions, and by whom.",
    "dap": "Debug a program that stops where a value changes (for editors).",
    "strip": "Copy a session without the values in it, to hand to others.",
    "plugins": "Show the plugins: installed, loaded, broken, missing.",
    "config": "Show the effective settings and where each comes from.",
    "doctor": "Check what this machine can do, and say what to do about the rest.",
}


class LazyGroup(click.Group):
    """Imports a command's module only when the command is called: ``memwatch log`` needs no plugin machinery."""

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
        if args and args[0] not in COMMANDS and not ctx.resilient_parsing:
            if args[0].endswith(".py") or os.path.isfile(args[0]):
                ctx.fail(f"No such command {args[0]!r}. To run a program: memwatch run {' '.join(args)}")
            from ..config import suggest

            if hint := suggest(args[0], COMMANDS):
                ctx.fail(f"No such command {args[0]!r}{hint}")
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


def _wrapped(text: str) -> str:
    """The text, its lines wrapped between words if standard error is a terminal."""
    columns = terminal_width(sys.stderr)
    if columns is None:
        return text
    return "\n".join(part for line in text.split("\n") for part in wrap(line, max(columns, NARROWEST)))


def call(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs a command and ends the process with its exit status.

    Errors become messages that pass through :mod:`memwatch_core.printed`; click would print them unescaped.
    """
    open_closed()
    sys.excepthook = lambda *error: put(clean_lines("".join(traceback.format_exception(*error)).rstrip()), err=True)
    status: object = 0
    unwritten: OSError | None = None
    try:
        status = group.main(arguments, prog_name="memwatch", standalone_mode=False)
    except SystemExit as end:
        status = end.code
    except MemWatchError as error:
        say(*error.lines)
        status = getattr(error, "status", 2)
    except click.ClickException as error:
        text = StringIO()
        error.show(text)
        with suppress(OSError):
            put(_wrapped(clean_lines(text.getvalue().rstrip("\n"))), err=True)
        status = error.exit_code
    except click.Abort:
        with suppress(OSError):
            put("Aborted!", err=True)
        status = 1
    except OSError as error:
        if error.filename is not None:  # not an error of a stream
            raise
        unwritten = error
    unwritten = settle(sys.stdout) or unwritten
    if unwritten:
        status = 1
        if not isinstance(unwritten, BrokenPipeError):  # the reader closed the pipe on purpose
            say(f"the output can't be written: {unwritten.strerror or unwritten}")
    settle(sys.stderr)
    sys.exit(status if isinstance(status, int) else 0)
