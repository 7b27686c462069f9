"""Which modules are the program's own: those whose variables are tracked where all are to be."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from ..targets import any_of

_OURS = ("memwatch_core", "memwatch_plugins")
_STANDARD = os.path.dirname(os.__file__) + os.sep


class OwnModules:
    """As ``[watch] modules`` says: patterns of names. Without any: ``__main__``, and modules whose file lies in its
    folder or below, other than installed ones and those of the standard library."""

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        self._patterns = any_of(patterns)
        self._folders: tuple[str, ...] = ()
        self._last: tuple[tuple[str, ...], object, bool] = ((), None, False)
        """Names, file and the answer: each module that is imported is asked for twice."""
        self.place_of_main(vars(sys.modules["__main__"]).get("__file__"))

    def place_of_main(self, file: object) -> None:
        """Says which file is run; of none, the working folder counts."""
        try:
            folder = os.path.dirname(os.path.abspath(file)) if isinstance(file, str) else os.getcwd()
            both = dict.fromkeys((folder, os.path.realpath(folder)))
        except OSError:  # the working folder is gone
            both = {}
        self._folders = tuple(each.rstrip(os.sep) + os.sep for each in both)
        self._last = ((), None, False)

    def leaves_out(self, name: str) -> bool:
        """Whether a module of this name alone isn't one, whatever its file is: what most imports end with."""
        return self._patterns is not None and type(name) is str and self._patterns.match(name) is None

    def has(self, names: Iterable[str], file: object) -> bool:
        """Whether a module is one, by the names that it has and the file that it comes from."""
        known, last = tuple(names), self._last
        if type(file) is not str or any(type(name) is not str for name in known):
            return self._has(known, file)  # comparing them could run code of the program's
        if last[0] == known and last[1] == file:
            return last[2]
        found = self._has(known, file)
        self._last = (known, file, found)
        return found

    def _has(self, known: tuple[str, ...], file: object) -> bool:
        if any(name.split(".")[0] in _OURS for name in known):
            return False
        if self._patterns is not None:
            return any(self._patterns.match(name) for name in known)
        if "__main__" in known:
            return True
        return isinstance(file, str) and file.startswith(self._folders) and not _is_installed(file)


def _is_installed(file: str) -> bool:
    if "/site-packages/" in file or "/dist-packages/" in file or file.startswith(_STANDARD):
        return True
    return sys.prefix != sys.base_prefix and file.startswith(sys.prefix + os.sep)


def file_of(names: Mapping[str, Any], spec: object = None) -> object:
    """The file that a module comes from, by its names or by its spec; None: none."""
    if spec is None:
        return names.get("__file__")
    return getattr(spec, "origin", None) if getattr(spec, "has_location", False) is True else None
