"""numpy's own tests, with its arrays where malloc puts them and in watched pages: plugin of pytest, and who runs it.

In the process that runs the tests, ``NUMPYS_OWN`` says what is wanted: JSON of a :class:`Wanted`.
"""

from __future__ import annotations

import ctypes
import dataclasses
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from own_suites import outcomes
from own_suites.outcomes import Ends, Prepared

VARIABLE = "NUMPYS_OWN"
HERE = Path(__file__).parent
SET_HANDLER = 304
"""``PyDataMem_SetHandler`` in numpy's table of functions."""
JOURNAL_MAX = 64 << 20
CALLS = ("mw_page_alloc", "mw_page_free", "mw_write_view", "mw_register_page", "mw_unregister_page")


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What a run is to do."""

    folder: str
    """For the journal, and ``told.json``."""
    handler: str = ""
    """numpys_own.c, built; empty: numpy's arrays stay where they are."""
    tracker: str = "auto"
    most: int = 1 << 62
    """Bytes of an array up to which it is relocated."""
    step: int = 1
    """Every how manieth test is run."""
    cases: int = 1 << 62
    """Of a test with more cases than this, as many are run, evenly spread."""


# ---- who runs it -----------------------------------------------------------------------------------------------------


def build(folder: Path) -> Path:
    """Builds the library; what gcc says is the exception's."""
    out = folder / "libnumpysown.so"
    flags = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared"]
    command = ["gcc", *flags, "-o", str(out), str(HERE / "numpys_own.c"), "-lpthread"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return out


def run(tests: Sequence[str], wanted: Wanted, seconds: int) -> tuple[Ends, Mapping[str, int]]:
    """Runs tests such as ``test_ufunc::TestUfunc``: how each ended, and what was relocated. Raises SuiteError."""
    folder = Path(wanted.folder)
    arguments = ["-p", "no:cacheprovider", "-p", "numpys_own", "-o", "addopts=", "-W", "ignore", "-m", "not slow"]
    environment = {
        VARIABLE: json.dumps(dataclasses.asdict(wanted)),
        "PYTHONPATH": os.pathsep.join((str(HERE), str(HERE.parent))),
        "PYTHONHASHSEED": "0",
        "NPY_AVAILABLE_MEM": "1 GB",  # what needs more is skipped, in both runs
    }
    named = ["--pyargs", *(f"numpy._core.tests.{test}" for test in tests)]
    ends = outcomes.run(Prepared(folder, [*arguments, *named], environment), [sys.executable], folder, seconds)
    told: dict[str, int] = json.loads((folder / "told.json").read_text()) if wanted.handler else {}
    return ends, told


# ---- in the process that runs the tests ------------------------------------------------------------------------------


class Relocated(ctypes.Structure):
    """``struct relocated``."""

    _fields_ = [
        (name, ctypes.c_uint64)
        for name in ("most", "arrays", "bytes", "others", "other_bytes", "refused", "ended", "resized")
    ]


class Relocation:
    """numpy's allocations of this thread, from :meth:`begin` on: numpy keeps its handler in a context variable."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.handler = ctypes.CDLL(wanted.handler)
        self.kept: list[Any] = []

    def begin(self) -> None:
        from memwatch_core.native import core, proxy

        core.start(self.wanted.tracker)  # type: ignore[arg-type]
        proxy.provide_origins(True)
        core.limit_journal(JOURNAL_MAX, "rotate")
        core.open_journal(Path(self.wanted.folder, "numpy.mwj"), os.urandom(16))
        addresses = (int(core.ffi.cast("uintptr_t", core.ffi.addressof(core.lib, name))) for name in CALLS)
        calls = (ctypes.c_void_p * len(CALLS))(*addresses)
        self.handler.begin(calls, ctypes.c_uint64(self.wanted.most))
        self._hand_over()

    def _hand_over(self) -> None:
        import numpy as np
        from numpy._core import _multiarray_umath, multiarray  # type: ignore[attr-defined]

        pointer, capsule = ctypes.pythonapi.PyCapsule_GetPointer, ctypes.pythonapi.PyCapsule_New
        pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
        capsule.restype, capsule.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
        table = ctypes.cast(pointer(_multiarray_umath._ARRAY_API, None), ctypes.POINTER(ctypes.c_void_p))
        ours = capsule(ctypes.addressof(ctypes.c_char.in_dll(self.handler, "handler")), b"mem_handler", None)
        set_handler = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(table[SET_HANDLER])
        self.kept = [ours, set_handler(ours)]
        name = multiarray.get_handler_name(np.zeros(3))
        if name != "watched pages":
            raise RuntimeError(f"numpy allocates with {name}")

    def told(self) -> dict[str, int]:
        """Of all blocks so far, and the core's counters."""
        from memwatch_core.native import core

        counted = Relocated.in_dll(self.handler, "relocated")
        numbers = {field[0]: int(getattr(counted, field[0])) for field in Relocated._fields_}
        return numbers | core.stats()._asdict()


_wanted: Wanted | None = None
_relocation: Relocation | None = None


def pytest_configure() -> None:
    """Nothing in a process that only imports this."""
    global _wanted, _relocation
    if VARIABLE in os.environ:
        _wanted = Wanted(**json.loads(os.environ[VARIABLE]))
        if _wanted.handler:
            _relocation = Relocation(_wanted)
            _relocation.begin()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item], config: pytest.Config) -> None:
    if _wanted is None:
        return
    every = Counter(_function(item) for item in items)
    seen: Counter[str] = Counter()
    chosen = []
    for at, item in enumerate(items):
        name = _function(item)
        apart = -(-every[name] // _wanted.cases)
        if at % _wanted.step == 0 and seen[name] % apart == 0:
            chosen.append(item)
        seen[name] += 1
    config.hook.pytest_deselected(items=[*{*items} - {*chosen}])
    items[:] = chosen


def _function(item: pytest.Item) -> str:
    return item.nodeid.partition("[")[0]


def pytest_sessionfinish() -> None:
    if _relocation is not None:
        Path(_relocation.wanted.folder, "told.json").write_text(json.dumps(_relocation.told()))
