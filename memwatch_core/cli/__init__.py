"""The command line, ``memwatch <command>``: one module per command, imported when called; ``group`` lists them."""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script; ends the process: with the program's status (``run``), 0, 1 (a problem), 2 (wrong use)."""
    from .group import call

    call(arguments)
