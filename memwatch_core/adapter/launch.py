"""The child of ``memwatch run``: joins the session, then runs a program as the interpreter itself would.

Command line: ``python -P -c COMMAND script|module <name> [arguments]``. The program gets the interpreter's own
``__main__`` module, emptied and refilled. ``sys.argv``, ``sys.path[0]``, exit status, death by SIGINT and tracebacks
are those of ``python script.py`` and ``python -m package``, and so is the stack: the functions here don't show on it.
"""

from __future__ import annotations

import importlib.machinery
import os
import pkgutil
import runpy
import sys
from types import CodeType, TracebackType
from typing import Any

from ..native import proxy

COMMAND = "from memwatch_core.adapter.launch import main; main()"
"""For ``python -P -c``: ``-P`` keeps the working folder off the path while our own modules are imported."""


def main() -> None:
    """Runs the program named in ``sys.argv[1:]``. Returns if the program ends normally; otherwise raises."""
    kind, name = sys.argv[1:3]
    sys.argv = sys.argv[2:]
    folder = os.environ.get("MEMWATCH_SESSION")
    if folder:
        _join(folder)
    program = _emptied()
    try:
        if kind == "script":
            _run_script(name, program)
        else:
            sys.path.insert(0, os.getcwd())
            sys.argv[0] = "-m"  # until runpy knows the file
            _run_module(name, True)
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


def _emptied() -> dict[str, Any]:
    """The names of ``__main__`` as the interpreter begins with them."""
    program = sys.modules["__main__"].__dict__
    program.clear()
    program.update(
        {
            "__name__": "__main__",
            "__doc__": None,
            "__package__": None,
            "__loader__": importlib.machinery.BuiltinImporter,
            "__spec__": None,
        }
    )
    lines = sys.modules.get("linecache")
    if lines is not None:
        lines.cache.pop("<string>", None)  # the text of -c, which CPython 3.13 and later keep for tracebacks
    if sys.version_info < (3, 14):
        program["__annotations__"] = {}
    program["__builtins__"] = sys.modules["builtins"]
    return program


def _run_script(name: str, program: dict[str, Any]) -> None:
    path = os.path.abspath(name)
    finder = pkgutil.get_importer(path)
    if (finder is not None and not isinstance(finder, importlib.machinery.FileFinder)) or os.path.isdir(path):
        sys.path.insert(0, path)  # a folder or zip file with a __main__.py in it
        _run_module("__main__", False)
        return
    sys.path.insert(0, os.path.dirname(os.path.realpath(path)))
    code: CodeType | None
    if path.endswith(".pyc"):
        code = importlib.machinery.SourcelessFileLoader("__main__", path).get_code("__main__")
        assert code is not None
    else:
        with open(path, "rb") as file:
            code = compile(file.read(), path, "exec", dont_inherit=True)
    program["__loader__"] = importlib.machinery.SourceFileLoader("__main__", path)
    program["__file__"] = path
    if sys.version_info < (3, 15):
        program["__cached__"] = None
    proxy.run_at_bottom(_begin(code, program), program)


def _run_module(name: str, given: bool) -> None:
    """By runpy, as the interpreter does. ``given``: on the command line."""

    def exchange(code: CodeType, names: dict[str, Any]) -> CodeType:
        vars(runpy).pop("exec", None)
        proxy.leave_out_callers()  # runpy's
        return _begin(code, names)

    vars(runpy)["exec"] = proxy.executor(exchange)
    proxy.call_at_bottom(runpy._run_module_as_main, name, given)  # type: ignore[attr-defined]


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
