"""``memwatch dap``: debugpy with data breakpoints, for any client of the Debug Adapter Protocol."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

import click

from ..printed import say


@click.command("dap")
@click.option(
    "--listen",
    metavar="PORT",
    type=click.IntRange(0, 65535),
    help="Wait for clients at this port of this machine; 0: a free one, which is said.",
)
@click.option(
    "--debugpy-log",
    "log",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, resolve_path=True),
    help="Have debugpy write its logs into this folder.",
)
def command(listen: int | None, log: str | None) -> None:
    """Debug a Python program that stops where a value changes: a debug adapter, which an editor starts or connects to.

    It is debugpy with data breakpoints: "Break on Value Change" of VS Code, of nvim-dap, and of any other client of
    the Debug Adapter Protocol. What can be watched is what watch_place() takes: global variables, attributes of
    objects, keys of dicts, items of lists. It needs debugpy: pip install "memwatch[dap]". Where the program runs,
    MemWatch must be installed too.

    Without --listen, it speaks the protocol on standard input and output. docs/debug-adapter.md says how editors are
    told to use it.

    \b
    memwatch dap --listen 4711    # "debugServer": 4711 in VS Code's launch.json
    """
    from ..debugging import serving

    serving.check()
    if listen is None:
        if sys.stdin.isatty():
            raise click.UsageError(
                "an editor starts memwatch dap and speaks to it through pipes; here: memwatch dap --listen 4711"
            )
        raise SystemExit(0 if asyncio.run(serving.on_standard_streams(log)) else 1)
    with suppress(KeyboardInterrupt):
        asyncio.run(serving.on_port(listen, log, lambda port: say(f"listening on 127.0.0.1:{port}"), say))
