"""``memwatch config``: the effective settings, with the source of each."""

from __future__ import annotations

import json
import os
from itertools import chain
from pathlib import Path
from typing import Any

import click

from .. import config as configuration
from ..config import Config
from ..errors import ConfigError
from ..printed import clean, escape_json, put
from .columns import columns, hanging


@click.command("config")
@click.option("--check", "checked", type=click.Path(dir_okay=False), metavar="FILE", help="Check this file and stop.")
@click.option("--config", "file", type=click.Path(dir_okay=False), metavar="FILE", help="Read FILE; search none.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(checked: str | None, file: str | None, as_json: bool) -> None:
    """Show the effective settings and where each one comes from.

    Defaults, then one file (memwatch.toml, or [tool.memwatch] in pyproject.toml: the nearest upwards), then environment
    variables (MEMWATCH_<SECTION>_<KEY>), then options of the command.

    \b
    memwatch config
    memwatch config --check memwatch.toml     status 2, a line for each mistake
    MEMWATCH_CORE_TRACKER=readonly memwatch config
    """
    effective = _examine(file if checked is None else checked)
    if checked is not None:
        put(clean(f"{checked}: OK"))
        return
    if as_json:
        settings = effective.items()
        shown = {key: {"value": _plain(value), "source": source.where} for key, value, source in settings}
        put(escape_json(json.dumps(shown)))
        return
    file_used = clean(str(effective.file or "none (no memwatch.toml, no [tool.memwatch] in a pyproject.toml)"))
    for line in hanging("file: ", file_used, len("file: ")):
        put(line)
    put()
    rows = [(key, _text(value), source.where) for key, value, source in effective.items()]
    for line in columns(rows, ("setting", "value", "source"), ("setting",)):
        put(line)


def _examine(file: str | None) -> Config:
    """The settings. Raises ConfigError with all mistakes, including those in a file that the environment overrides."""
    from ..host.pipeline import settings_mistakes
    from ..loading.discovery import examine

    found: dict[tuple[str, ...], None] = {}
    named = {name: value for name, value in os.environ.items() if name == "MEMWATCH_CONFIG"}
    for environment in (named, os.environ):
        config, mistakes = configuration.examine(file, environment=environment)
        plugins, unknown, unusable = examine(config)
        broken = (
            f"{config.source(key := f'plugins.{plugin.kind}').where}: {key}: {text}; repair it, or leave it out"
            for plugin, text in unusable.items()
        )
        lines = (*unknown, *broken, *settings_mistakes(plugins.sinks, config))
        found |= dict.fromkeys((*mistakes, *((line,) for line in lines)))
    if found:
        raise ConfigError(*chain.from_iterable(found))
    return config


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def _text(value: Any) -> str:
    return json.dumps(_plain(value), ensure_ascii=False, default=str)
