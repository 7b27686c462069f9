"""MemWatch in IPython and Jupyter: ``%load_ext memwatch``.

``%%watch`` shows what a cell has changed, ``%watch`` does so for all cells to come, ``%blame`` says who wrote last.
Nothing is watched, and no session begun, before one of them asks for it.
"""

from __future__ import annotations

from typing import Any

from .magics import Magics

_loaded: dict[int, Magics] = {}


def load_ipython_extension(shell: Any) -> None:
    """Registers the magics with an IPython shell."""
    if id(shell) not in _loaded:
        _loaded[id(shell)] = magics = Magics(shell)
        magics.load()


def unload_ipython_extension(shell: Any) -> None:
    """Ends all watches and the session, and removes the magics."""
    magics = _loaded.pop(id(shell), None)
    if magics is not None:
        magics.unload()
