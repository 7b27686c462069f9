"""Plugin of pytest, inside the process that runs a library's suite: has each instance of its classes told, and watched.

What ``LIBRARY_INSTANCES`` says is done: ``told`` does all the same things but for the watch, so that what the telling
itself changes isn't taken for what watching does. An object is watched when it has nothing yet, or when its class has
made it: every other one, by their number. Objects are let go when the test ends.
"""

from __future__ import annotations

import collections
import importlib.util
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HOW = "LIBRARY_INSTANCES"
"""Variable: ``told`` or ``watched``."""
BIRTHS = "LIBRARY_BIRTHS"
"""Variable: the built births.c."""
OF = "LIBRARY_MODULES"
"""Variable: modules whose classes are meant, with all below them."""
COUNTS = "LIBRARY_COUNTS"
"""Variable: the file for what was counted."""
SESSIONS = "LIBRARY_SESSIONS"
"""Variable: the folder for the journal, which nobody reads: that would take longer than the suites do."""
AT_ONCE = 3000
"""Watches of one test; then all are let go, and it goes on."""

_how = os.environ[HOW]
_of = frozenset(os.environ[OF].split(","))
_counts: collections.Counter[str] = collections.Counter()
_refused: collections.Counter[str] = collections.Counter()
_troubles: collections.Counter[str] = collections.Counter()
_module_of = type.__dict__["__module__"].__get__


def _is_meant(cls: type) -> bool:
    module = _module_of(cls)
    return type(module) is str and (module in _of or module.partition(".")[0] in _of)


def _born(instance: object, whole: bool) -> None:
    _counts["told"] += 1
    turn = _counts["told"] // 2 if whole else _counts["told"]
    if _how != "watched" or (not whole and turn % 2):
        return
    try:
        why = proxy.why_no_places(instance)
        if why or issubclass(type(instance), tuple):  # which `watch` takes for a value
            _counts["refused"] += 1
            _refused[str(why)] += 1
        elif proxy.find_places(instance) is None and hasattr(sys, "_getframe"):
            if _counts["open"] >= AT_ONCE:
                _let_go()
            watch(instance, name="instance", depth=turn % 3)
            _counts["open"] += 1
            _counts["watched"] += 1
    except RecursionError:
        _counts["untold"] += 1
    except BaseException as error:
        _troubles[f"{type(error).__name__}: {error}"[:300]] += 1


def _let_go() -> None:
    _counts["found"] += proxy.audit_places()
    proxy.close_all_places()
    _counts["open"] = 0


@pytest.hookimpl(trylast=True)
def pytest_configure() -> None:
    """Examples of hypothesis may take their time: attrs' are to be done in 0.4 s each."""
    if hypothesis := sys.modules.get("hypothesis"):
        hypothesis.settings.register_profile("unhurried", hypothesis.settings(), deadline=None)
        hypothesis.settings.load_profile("unhurried")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Iterator[None]:
    try:
        return (yield)
    finally:
        if _how == "watched":
            _let_go()


def pytest_sessionfinish() -> None:
    if os.getpid() == _pid:
        _counts["untold"] += births.untold()
        with open(os.environ[COUNTS], "w") as file:
            json.dump({**_counts, "reasons": _refused, "troubles": _troubles}, file)


def _load_births() -> Any:
    spec = importlib.util.spec_from_file_location("births", os.environ[BIRTHS])
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _metaclasses(above: type = type) -> Iterator[type]:
    for one in type.__subclasses__(above):
        yield one
        yield from _metaclasses(one)


_pid = os.getpid()
if _how == "watched":
    from memwatch_core import config, watch
    from memwatch_core.adapter import process
    from memwatch_core.journal.session import create_session
    from memwatch_core.native import proxy

    process.open_journal(create_session(Path(os.environ[SESSIONS]), ["pytest"]), config.load())
    watch({}, name="none")  # what is imported for a watch is imported now
births = _load_births()
births.tell(_is_meant, _born)
for _one in _metaclasses():
    births.lead(_one)
