"""A light replacement of ``importlib.metadata.entry_points`` for watched processes.

Importing ``importlib.metadata`` also imports the email and zipfile packages, and takes as long as all the rest of a
first ``watch()``. So the folders of ``sys.path`` are searched here in the same way. Where ``importlib.metadata`` might
see more than folders of metadata (an archive, an egg, another finder, an unusual value), it is used after all.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from importlib.metadata import Distribution, EntryPoint

_PLAIN = r"[\w.]+(:[\w.]+)?"


class Point(NamedTuple):
    """An entry point, with the interface of ``importlib.metadata.EntryPoint``."""

    name: str
    value: str
    group: str
    metadata: str
    """The distribution's folder of metadata."""

    @property
    def module(self) -> str:
        return self.value.partition(":")[0]

    @property
    def dist(self) -> Distribution:
        from importlib.metadata import Distribution

        return Distribution.at(Path(self.metadata))

    def load(self) -> Any:
        """Imports the plugin. Raises whatever the import raises, or AttributeError if the module lacks the object."""
        module, _, names = self.value.partition(":")
        found: Any = __import__(module, fromlist=["__name__"])
        for name in filter(None, names.split(".")):
            found = getattr(found, name)
        return found


class _Unclear(Exception):
    """importlib.metadata may see more than this module."""


def entry_points(group: str) -> list[Point] | list[EntryPoint]:
    """The entry points of a group, in the order of importlib.metadata."""
    try:
        if any(hasattr(finder, "find_distributions") and finder is not PathFinder for finder in sys.meta_path):
            raise _Unclear
        return [point for folder in _folders() for point in _listed(folder, group)]
    except _Unclear:
        import importlib.metadata

        return list(importlib.metadata.entry_points(group=group))


def _folders() -> Iterator[str]:
    """Each distribution's folder of metadata; the first of a name wins."""
    seen = set()
    for root in sys.path:
        if not isinstance(root, str) or root.lower().endswith(".egg") or os.path.isfile(root):
            raise _Unclear
        try:
            children = os.listdir(root or ".")
        except OSError:
            continue
        for child in children:
            stem, _, kind = child.lower().rpartition(".")
            if kind in ("dist-info", "egg-info"):
                name = re.sub(r"[-_.]+", "_", stem.partition("-")[0])
                if name not in seen:
                    seen.add(name)
                    yield os.path.join(root, child)


def _listed(folder: str, group: str) -> Iterator[Point]:
    try:
        with open(os.path.join(folder, "entry_points.txt"), encoding="utf-8") as file:
            text = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, ValueError):
        raise _Unclear from None
    section = ""
    for line in filter(None, map(str.strip, text.splitlines())):
        if line.startswith("[") and line.endswith("]"):
            section = line.strip("[]")
        elif section == group and not line.startswith("#"):
            name, _, value = (part.strip() for part in line.partition("="))
            if not re.fullmatch(_PLAIN, value):
                raise _Unclear
            yield Point(name, value, group, folder)
