"""The child of ``memwatch run``: joins the session, then runs a program as the interpreter itself would.

Command line: ``python -P -c COMMAND script|module <name> [arguments]``. The program gets the interpreter's own
``__main__`` module, emptied and refilled. ``sys.argv``, ``sys.path[0]``, exit status, death by SIGINT and tracebacks
are those of ``python script.py``. runpy isn't used: it removes the program's module while threads and exit handlers
still need it.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import pkgutil
import sys
from types import CodeType, TracebackType
from typing import Any

COMMAND = "from memwatch_core.adapter.launch import main; main()"
"""For ``python -P -c``: ``-P`` keeps the working folder off the path while our own modules are imported."""


def main() -> None:
    """Runs the program named in ``sys.argv[1:]``. Returns if the program ends normally; otherwise raises."""
    kind, name = sys.argv[1:3]
    sys.argv = sys.argv[2:]
    folder = os.environ.get("MEMWATCH_SESSION")
    if folder:
        _join(folder)
    try:
        code, names = _script(name) if kind == "script" else _module(name)
        if sys.version_info >= (3, 15):
            del names["__cached__"]
        program = sys.modules["__main__"].__dict__
        program.clear()
        program.update({"__name__": "__main__", "__doc__": None, "__builtins__": sys.modules["builtins"]}, **names)
        if sys.version_info < (3, 14):
            program["__annotations__"] = {}
        exec(_begin(code, program), program)
    except SystemExit:
        raise
    except BaseException as error:
        _die(error)


def _join(folder: str) -> None:
    from .. import keep_modules
    from ..errors import MemWatchError
    from ..native.proxy import leave_out_callers
    from ..printed import say
    from .join import join

    try:
        join(folder)
        leave_out_callers()
        keep_modules()
    except MemWatchError as error:
        # Nothing of the program has run yet: stopping is safe, and running unwatched would be silent.
        say(*error.lines)
        raise SystemExit(2) from None


def _begin(code: CodeType, program: dict[str, Any]) -> CodeType:
    """The program's own targets are taken, now that its names are there and nothing of it has run. Returns what to
    run."""
    targets = sys.modules.get(f"{__package__}.targets")
    if targets is None:
        return code
    targets.begins_as_main()
    prepared: CodeType = targets.prepare(code, program)
    return prepared


def _script(name: str) -> tuple[CodeType, dict[str, Any]]:
    path = os.path.abspath(name)
    finder = pkgutil.get_importer(path)
    if (finder is not None and not isinstance(finder, importlib.machinery.FileFinder)) or os.path.isdir(path):
        sys.path.insert(0, path)  # a folder or zip file with a __main__.py in it
        return _module("__main__", finder)
    sys.path.insert(0, os.path.dirname(os.path.realpath(path)))
    loader = importlib.machinery.SourceFileLoader("__main__", path)
    if path.endswith(".pyc"):
        code = importlib.machinery.SourcelessFileLoader("__main__", path).get_code("__main__")
        assert code is not None
        return code, {"__file__": path, "__spec__": None, "__package__": None, "__cached__": None, "__loader__": loader}
    with open(path, "rb") as file:
        code = compile(file.read(), path, "exec", dont_inherit=True)
    return code, {"__file__": path, "__spec__": None, "__package__": None, "__cached__": None, "__loader__": loader}


def _module(name: str, finder: Any = None) -> tuple[CodeType, dict[str, Any]]:
    if finder is None:
        sys.path.insert(0, os.getcwd())
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            spec = importlib.util.find_spec(f"{name}.__main__")
    else:
        spec = finder.find_spec(name)
    loader: Any = spec.loader if spec else None
    code = loader.get_code(spec.name) if spec and hasattr(loader, "get_code") else None
    if spec is None or code is None:
        where = f"in {sys.path[0]}" if finder else f"named {name}"
        from ..printed import clean, put

        put(clean(f"{sys.executable}: No module {where} that can be run"), err=True)
        raise SystemExit(1)
    if finder is None:
        sys.argv[0] = spec.origin or name
    names = {
        "__file__": spec.origin,
        "__spec__": spec,
        "__package__": spec.parent,
        "__cached__": spec.cached,
        "__loader__": loader,
    }
    return code, names


def _die(error: BaseException) -> None:
    """Reports the error without our own frames, then ends as the interpreter would: KeyboardInterrupt by SIGINT."""
    trace: TracebackType | None = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals.get("__name__") == __name__:
        trace = trace.tb_next
    hook = sys.excepthook
    try:
        hook(type(error), error.with_traceback(trace), trace)
    except SystemExit:
        raise
    except BaseException:
        raise error from None
    sys.excepthook = lambda *_: None
    raise error
