"""A program that takes part while it runs: ``memwatch attach`` begins and ends it, by ``bootstrap``.

What is done is undone at the end: watches, the journal, traced SQL drivers, the names of threads, functions at exit,
import hooks, modules. What CPython can't undo stays (docs/attach.md has the list).
"""

from __future__ import annotations

import atexit
import sys
from pathlib import Path
from typing import Any, NamedTuple

from .. import keep_modules
from ..errors import SessionError
from ..native import core, proxy
from ..turns import turn
from . import join, places, process, targets


class _Attached(NamedTuple):
    folder: Path
    member: join.Membership
    modules: frozenset[str]
    """Names in ``sys.modules`` before."""
    closed: tuple[Path | None, int | None]
    """The journal that the program had closed before, and the process that did."""
    finders: tuple[Any, ...]
    """``sys.meta_path`` before."""


_OURS = ("memwatch_core", "memwatch_plugins", "memwatch_s")
"""Beginnings of the names of our modules: with plugins for serializers, sinks and SQL."""
_attached: _Attached | None = None


def begin(folder: str, modules: frozenset[str]) -> dict[str, object]:
    """Joins the session and takes the targets of its settings. Returns what the host is told; raises MemWatchError.

    ``modules``: names that ``sys.modules`` had before anything of ours was imported.
    """
    global _attached
    with turn():
        _let_go_of_the_dead()
        _check_free()
        keep_modules()
        closed = process.closed(), process.closed_by()
        finders = tuple(sys.meta_path)
        member = join.join(folder)
        _attached = _Attached(Path(folder), member, modules, closed, finders)
        keep_modules()
        _let_go_of_the_dead()  # the one who asked may have gone meanwhile
        return {"pending": [*map(_said, targets.pending())]}


def _said(one: targets.Pending) -> str:
    meant = f"; did you mean {one.nearest}?" if one.nearest else ""
    return f"{one.target.text}: {one.why} so far{meant}; it is watched as soon as it is there"


def end(folder: str) -> dict[str, object]:
    """Ends what :func:`begin` began with this session, and undoes it. Idempotent, and in forked children as well."""
    with turn():
        if _attached is None or str(_attached.folder) != folder:
            return {}
        return _undo()


def _let_go_of_the_dead() -> None:
    """Ends an earlier session whose reader was killed."""
    from ..journal.claim import Claim

    if _attached is None:
        return
    claim = Claim(_attached.folder)
    free = claim.held or not _attached.folder.exists()
    claim.close()
    if free:
        _undo()


def _check_free() -> None:
    journal = process.journal()
    if journal is None:
        return
    if _attached is not None and _attached.folder == journal.folder:
        raise SessionError(
            f"another memwatch attach is at it, in session {journal.folder}: end that one first (Ctrl-C there)"
        )
    raise SessionError(
        f"it takes part in session {journal.folder} already, by memwatch run or watch() of its own: see it with "
        f"memwatch log {journal.folder} --follow; a process takes part in one session at a time"
    )


def _undo() -> dict[str, object]:
    global _attached
    assert _attached is not None
    attached, _attached = _attached, None
    proxy.audit_places()
    proxy.close_all_places()
    kept = core.stats().variables  # of the program's own: values() that it has watched meanwhile
    if not kept:
        attached.member.leave()
        process.forget(*attached.closed)
        places.forget_exit()
        atexit.unregister(targets.conclude)
        core.rest()
    _restore(attached, kept)
    return {"kept": kept}


def _restore(attached: _Attached, kept: int) -> None:
    ours = [finder for finder in sys.meta_path if _is_ours(finder)]
    for finder in ours:
        if finder not in attached.finders:
            sys.meta_path.remove(finder)
    if not kept and "memwatch_core" not in attached.modules:
        for name in [*sys.modules]:
            if name.startswith(_OURS) and name not in attached.modules:
                del sys.modules[name]


def _is_ours(finder: object) -> bool:
    return type(finder).__module__.startswith("memwatch_core")
