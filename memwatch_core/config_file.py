"""Finds, reads and parses configuration files. A file that another user may have put there is ignored."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import trust
from .errors import ConfigError
from .printed import say
from .settings import path_of

FILE_MAX = 1 << 20
"""Largest configuration file, in bytes."""


def named(here: Path, name: str | os.PathLike[str]) -> tuple[Path, str]:
    """The path and text of a file that the user named. It is trusted, whoever owns it."""
    try:
        path = here / path_of(os.fspath(name))
    except ValueError as error:
        raise ConfigError(f"the configuration's file {os.fspath(name)!r}: {error}") from None
    try:
        return path, trust.read(None, path, FILE_MAX, follow=True).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: the configuration can't be read: {cause_of(error)}") from error


def found(directory: Path) -> tuple[Path | None, str]:
    """The path and text of the nearest file. A file that another user may have put there is ignored, with a message."""
    for folder in (directory, *directory.parents):
        for name in ("memwatch.toml", "pyproject.toml"):
            text = _look(folder, name)
            if text is not None:
                return folder / name, text
    return None, ""


def _look(folder: Path, name: str) -> str | None:
    path = folder / name
    if not os.path.lexists(path):
        return None
    try:
        with trust.Found(name, within=folder, lenient=True) as file:
            if file.reason and name == "memwatch.toml" and (file.status or file.error):
                _pass_over(path, file.reason)
                return None
            if file.error:
                raise file.error
            if file.status is None or (name == "pyproject.toml" and not stat.S_ISREG(file.status.st_mode)):
                return None
            text = trust.read(file.folder, file.name, FILE_MAX).decode("utf-8-sig")
            if name == "pyproject.toml" and not _is_ours(text):
                return None
            if not file.reason:
                return text
            _pass_over(path, file.reason)
            return None
    except (OSError, UnicodeDecodeError) as error:
        if name == "pyproject.toml":
            return None  # somebody else's project file: not ours to complain about
        raise ConfigError(f"{path}: the configuration can't be read: {cause_of(error)}") from error


def _is_ours(project: str) -> bool:
    """Whether a pyproject.toml has a table of ours, in any spelling of TOML; in a broken file, a header is looked
    for."""
    import tomllib

    if "memwatch" not in project:
        return False
    try:
        tool = tomllib.loads(project).get("tool")
    except (ValueError, RecursionError):
        return re.search(r"^\s*\[+\s*tool\s*\.\s*memwatch\b", project, re.M) is not None
    return isinstance(tool, dict) and "memwatch" in tool


_passed_over: set[Path] = set()


def _pass_over(path: Path, reason: str) -> None:
    if path in _passed_over:
        return
    _passed_over.add(path)
    say(f"{path} is ignored: {reason}; if you trust it, name it: --config FILE, or MEMWATCH_CONFIG=FILE")


def parse(path: Path, text: str) -> dict[str, Any]:
    """The settings in a file. Raises ConfigError: the file isn't TOML."""
    import tomllib

    try:
        data: dict[str, Any] = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError also for a number with too many digits for Python
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    for key in ("tool", "tool.memwatch") if path.name == "pyproject.toml" else ():
        data = data.get(key.rpartition(".")[2], {})
        if not isinstance(data, dict):
            raise ConfigError(f"{path}: {key} must be a table: write [tool.memwatch.core], say, above its settings")
    return data


def lines(text: str, prefix: str) -> Iterator[tuple[str, int]]:
    """(dotted key, line) of the plain ``[table]`` and ``key =`` lines, for messages: tomllib has no positions."""
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[\s*([\w.\-\s]+?)\s*\]", line):
            table = re.sub(r"\s", "", header[1]) + "."
            yield table[:-1].removeprefix(prefix), number
        elif entry := re.match(r"\s*([\w.\-]+)\s*=", line):
            yield (table + entry[1]).removeprefix(prefix), number


def cause_of(error: BaseException) -> str:
    """Why a file can't be read, without its name."""
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
