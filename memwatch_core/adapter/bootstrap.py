"""What ``memwatch attach`` has a program run: finds or lends MemWatch, begins or ends, and answers in a file.

``running/injection.py`` reads this file as text and adds the call of :func:`main`: in the program nothing of MemWatch's
is imported yet. It runs in a thread of its own, so that the main thread's signal handlers, imports and locks are left
alone. The thread ends when the answer is written. Standard library alone; raises nothing.
"""

from __future__ import annotations


def main(order: str, folder: str, script: str, version: str, lent: list[str]) -> None:
    """``order``: ``begin`` or ``end``. ``folder``: the session's; the answer is ``<script>.json`` in it.

    ``version``: of MemWatch, which must be the program's. ``lent``: folders of ours for ``sys.path``, as long as it
    takes, if the program has no MemWatch and there is one for its interpreter in them.
    """
    import json
    import os
    import sys

    path = os.path.join(folder, script)
    try:
        os.rename(path, f"{path}.taken")  # once: the one who waited may have gone, and come back
    except OSError:
        return
    before = frozenset(sys.modules)
    added: list[str] = []
    try:
        answer = _answer(order, folder, version, lent, before, added)
    except BaseException as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    for each in added:
        if each in sys.path:
            sys.path.remove(each)
    try:
        with open(f"{path}.new", "w", encoding="utf-8") as file:
            json.dump(answer, file)
        os.rename(f"{path}.new", f"{path}.json")
    except OSError:  # the session's folder was removed
        pass


def _answer(
    order: str,
    folder: str,
    version: str,
    lent: list[str],
    before: frozenset[str],
    added: list[str],
) -> dict[str, object]:
    import sys

    if order == "end" and "memwatch_core.adapter.attached" not in {
        **getattr(sys, "_memwatch_modules", {}),
        **sys.modules,
    }:
        return {}
    environment = {"executable": sys.executable, "prefix": sys.prefix, "version": [*sys.version_info[:2]]}
    missing = _find(lent, added)
    if missing:
        return {"missing": missing, **environment}
    import memwatch_core

    if memwatch_core.__version__ != version:
        return {"other": memwatch_core.__version__, **environment}
    from memwatch_core.errors import MemWatchError

    try:
        from memwatch_core.adapter import attached

        if order == "end":
            return attached.end(folder)
        return {**attached.begin(folder, before), "lent": bool(added)}
    except MemWatchError as error:
        return {"error": str(error)}


def _find(lent: list[str], added: list[str]) -> str:
    """Makes MemWatch importable. Returns why it isn't; empty: it is."""
    import os
    import sys
    from importlib.machinery import EXTENSION_SUFFIXES
    from importlib.util import find_spec

    try:
        spec = sys.modules["memwatch_core"].__spec__ if "memwatch_core" in sys.modules else find_spec("memwatch_core")
    except (ImportError, ValueError):
        spec = None
    places = [os.path.dirname(spec.origin)] if spec is not None and spec.origin else []
    places += [] if places else [os.path.join(each, "memwatch_core") for each in lent]
    for place in places:
        if any(os.path.exists(os.path.join(place, "native", f"_core{suffix}")) for suffix in EXTENSION_SUFFIXES[:1]):
            if spec is None:
                added += [each for each in lent if each not in sys.path]
                sys.path += added
            return ""
    if spec is not None:
        return f"memwatch_core in {places[0]} has no extension for {sys.implementation.cache_tag}"
    return "memwatch_core isn't installed"
