"""The token of the statement that an object ran last: a cursor, or whatever else runs statements."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any


class Tokens:
    """In the slot ``_memwatch`` of a composed class, or else beside the object, so that nothing can be seen on it.

    Objects need to allow weak references or have the slot; nothing is kept of one that is gone. Thread-safe.
    """

    def __init__(self) -> None:
        self._beside: dict[int, tuple[Any, weakref.ref[Any]]] = {}

    def get(self, of: Any) -> Any:
        """The token; None if there is none."""
        found = self._beside.get(id(of))
        if found is not None and found[1]() is of:
            return found[0]
        # Asked of the class: the object may have a __getattr__.
        return getattr(of, "_memwatch", None) if hasattr(type(of), "_memwatch") else None

    def set(self, of: Any, token: Any) -> None:
        """Raises TypeError for an object that allows no weak references."""
        ident = id(of)
        found = self._beside.get(ident)
        if found is not None and found[1]() is of:
            self._beside[ident] = (token, found[1])
        elif hasattr(type(of), "_memwatch"):
            of._memwatch = token
        else:
            self._beside[ident] = (token, weakref.ref(of, self._forgetter(ident)))

    def _forgetter(self, ident: int) -> Callable[[weakref.ref[Any]], None]:
        def forget(ref: weakref.ref[Any]) -> None:
            found = self._beside.get(ident)
            if found is not None and found[1] is ref:
                del self._beside[ident]

        return forget
