"""Which source files are the program's own code, as opposed to libraries that it uses."""

from __future__ import annotations

import os
import re
import sysconfig
from collections.abc import Callable, Sequence
from fnmatch import translate
from functools import lru_cache
from pathlib import Path

_LIBRARIES = re.compile(
    r"/(?:site|dist)-packages/"
    r"|/lib(?:64)?/(?:python|pypy)3(?:\.\d+)?/"  # the standard library, of whichever Python ran the program
    r"|/lib(?:64)?/python3\d+\.zip/"
    r"|/node_modules/"
    r"|^node:|^evalmachine\."
    r"|^<"  # no file: frozen modules, texts that were compiled
)
_STANDARD = tuple({f"{os.path.realpath(sysconfig.get_path(name))}/" for name in ("stdlib", "platstdlib")})


@lru_cache(maxsize=4096)
def is_own_by_default(file: str) -> bool:
    """Whether a file is neither of the standard library nor of an installed package."""
    return bool(file) and not _LIBRARIES.search(file) and not file.startswith(_STANDARD)


def is_own_by(patterns: Sequence[Path]) -> Callable[[str], bool]:
    """As ``[sites] own`` says: files, folders with all that is below them, and patterns of both. Without any:
    :func:`is_own_by_default`."""
    if not patterns:
        return is_own_by_default
    texts = [os.path.normpath(pattern) for pattern in patterns]
    whole = re.compile("|".join(f"{translate(text)}|{translate(f'{text}/*')}" for text in texts))

    @lru_cache(maxsize=4096)
    def is_own(file: str) -> bool:
        return whole.match(file) is not None

    return is_own
