"""``memwatch plugins``: what is installed, what is loaded, and why the rest isn't."""

from __future__ import annotations

import json

import click

from .. import config as configuration
from ..loading.discovery import load
from ..printed import escape_json, put
from .columns import columns


@click.command("plugins")
@click.option("--config", "file", type=click.Path(dir_okay=False), metavar="FILE", help="Read FILE; search none.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per plugin and line.")
def command(file: str | None, as_json: bool) -> None:
    """Show every plugin: kind, name, distribution, version, state, and the reason of a state that isn't "loaded".

    Only what [plugins] names is loaded; the rest is "disabled", and its code is not imported. Exit status 1 if a plugin
    that is named is missing, broken or offered by two distributions.

    \b
    memwatch plugins
    memwatch plugins --json | jq 'select(.state == "broken")'
    """
    report = load(configuration.load(file), strict=False).report
    if as_json:
        for plugin in report.plugins:
            put(escape_json(json.dumps(plugin._asdict())))
    elif not report.plugins:
        put("No plugin is installed. pip install memwatch brings the usual ones.")
    else:
        rows = [
            (p.kind, p.name, p.distribution or "-", p.version or "-", p.state, p.reason or p.summary)
            for p in report.plugins
        ]
        for line in columns(rows, ("kind", "name", "distribution", "version", "state", "reason, or what it is")):
            put(line)
    raise SystemExit(1 if report.problems else 0)
