"""Runs tests of CPython's, with or without watching all locals of the tests and of the library: ``on|off test_a …``.

Prints a line of JSON for each test module: how each of its tests ended.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import importlib.abc
import importlib.machinery
import io
import json
import os
import shutil
import sys
import tempfile
import unittest
import warnings
from types import CodeType, FunctionType, ModuleType
from typing import Any

watching: Any = None
"""The adapter's module, if locals are watched."""


class Loader(importlib.machinery.SourceFileLoader):
    """A module's source, with its functions watched."""

    count = 0

    def get_code(self, fullname: str) -> CodeType | None:
        Loader.count += 1
        code = super().source_to_code(self.get_data(self.path), self.path)
        return watching.bind(watching.instrument(code, fullname))


class Finder(importlib.abc.MetaPathFinder):
    """Finds what other tests and the library import."""

    def find_spec(self, name: str, path: Any, target: ModuleType | None = None) -> Any:
        if name.split(".")[0] == "memwatch_core":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is None or type(spec.loader) is not importlib.machinery.SourceFileLoader:
            return None
        spec.loader = Loader(name, spec.loader.path)
        return spec


class Results(unittest.TestResult):
    """How each test ended."""

    def __init__(self) -> None:
        super().__init__()
        self.ended: dict[str, str] = {}

    def _note(self, test: Any, how: str) -> None:
        self.ended[str(test.id())] = how

    def addSuccess(self, test: Any) -> None:
        self._note(test, "ok")

    def addSkip(self, test: Any, reason: str) -> None:
        self._note(test, "skipped")

    def addFailure(self, test: Any, err: Any) -> None:
        super().addFailure(test, err)
        self._note(test, "failed")

    def addError(self, test: Any, err: Any) -> None:
        super().addError(test, err)
        self._note(test, "error")

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._note(subtest, "failed")


def watch_imported() -> None:
    """Watches the functions of the library's modules that are there already, where they are."""
    from memwatch_core.errors import WatchError

    for name, module in [*sys.modules.items()]:
        of_library = (
            type(getattr(getattr(module, "__spec__", None), "loader", None)) is importlib.machinery.SourceFileLoader
        )
        if not of_library or name.split(".")[0] in ("memwatch_core", "importlib", "__main__"):
            continue
        for value in [*vars(module).values()]:
            if getattr(value, "__module__", None) == name and isinstance(value, type | FunctionType):
                with contextlib.suppress(WatchError):
                    watching.watch_locals(value)


def main() -> None:
    on, names = sys.argv[1] == "on", sys.argv[2:]
    warnings.simplefilter("ignore")
    if on:
        global watching
        from memwatch_core.adapter import join
        from memwatch_core.adapter import locals as watching
        from memwatch_core.config import load
        from memwatch_core.journal.session import create_session

        place = tempfile.mkdtemp()
        atexit.register(shutil.rmtree, place, ignore_errors=True)
        small = {"journal": {"max_bytes": 64 << 20, "policy": "rotate"}}
        member = join.join(create_session(place, ["suites"]), load(overrides=small))
        watch_imported()
        sys.meta_path.insert(0, Finder())
    for name in names:
        results = Results()
        module = importlib.import_module(f"test.{name}")
        kept, sys.stdout = sys.stdout, io.StringIO()
        try:
            unittest.defaultTestLoader.loadTestsFromModule(module).run(results)
        finally:
            sys.stdout = kept
        print(json.dumps([name, results.ended]), flush=True)
        if os.environ.get("SHOW"):
            for _, text in results.failures + results.errors:
                print(text[-1500:], file=sys.stderr)
    if on:
        member.leave()
        print(json.dumps(["modules", Loader.count]), flush=True)


if __name__ == "__main__":
    main()
