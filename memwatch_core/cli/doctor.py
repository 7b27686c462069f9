"""``memwatch doctor``: what works here, and what to do about what doesn't."""

from __future__ import annotations

import dataclasses
import json

import click

from .. import config as configuration
from ..printed import clean, escape_json, put
from ..rendering.palette import paint
from .columns import hanging


@click.command("doctor")
@click.option("--config", "file", type=click.Path(dir_okay=False), metavar="FILE", help="Read FILE; search none.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per check and line.")
def command(file: str | None, as_json: bool) -> None:
    """Check what MemWatch needs: kernel, CPU, memory, trackers, journal folder, plugins.

    Each tracker is tried on a page of its own. Says which one would be chosen and why, and what to do about each thing
    that is missing. Exit status 1 if something keeps MemWatch from working.

    \b
    memwatch doctor
    memwatch doctor --json | jq 'select(.state != "ok")'
    """
    from ..host.health import checks

    problems = 0
    for check in checks(configuration.load(file)):
        problems += check.state == "problem"
        if as_json:
            put(escape_json(json.dumps(dataclasses.asdict(check))))
            continue
        mark = check.state.upper() if check.state == "problem" else check.state
        head = f"{paint(check.state, f'{mark:7}')}  {clean(check.name):19}  "
        for line in hanging(head, clean(check.found), 30):
            put(line)
        for line in hanging(f"{'':30}-> ", clean(check.remedy), 33) if check.remedy else ():
            put(line)
    if problems:
        count = "1 problem" if problems == 1 else f"{problems} problems"
        put(f"\n{count}: MemWatch, or what you asked of it, can't work.", err=True)
    elif not as_json:
        put("\nMemWatch works here.")
    raise SystemExit(1 if problems else 0)
