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
        self._beside: dict[int, list[Any]] = {}

    def held(self, of: Any) -> list[Any]:
        """A list whose first item is the token, to be set there; None at first. Raises TypeError for an object that
        allows no weak references."""
        if hasattr(type(of), "_memwatch"):  # asked of the class: the object may have a __getattr__
            held: list[Any] | None = getattr(of, "_memwatch", None)
            if held is None:
                held = of._memwatch = [None]
            return held
        ident = id(of)
        found = self._beside.get(ident)
        if found is None or found[1]() is not of:
            found = self._beside[ident] = [None, weakref.ref(of, self._forgetter(ident))]
        return found

    def get(self, of: Any) -> Any:
        """The token; None if there is none."""
        if hasattr(type(of), "_memwatch"):
            held = getattr(of, "_memwatch", None)
            return None if held is None else held[0]
        found = self._beside.get(id(of))
        return found[0] if found is not None and found[1]() is of else None

    def set(self, of: Any, token: Any) -> None:
        """Raises like :meth:`held`."""
        self.held(of)[0] = token

    def _forgetter(self, ident: int) -> Callable[[weakref.ref[Any]], None]:
        def forget(ref: weakref.ref[Any]) -> None:
            found = self._beside.get(ident)
            if found is not None and found[1] is ref:
                del self._beside[ident]

        return forget
