"""A watched function is to debuggers, coverage, tracebacks and itself what it was."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import corpus
import pytest
from told_of_locals import journal

from memwatch_core import watch_locals
from memwatch_core.adapter import locals as watching

SOAK = bool(os.environ.get("MEMWATCH_SOAK"))
SUITES = ["test_scope", "test_generators", "test_functools", "test_with", "test_patma"]
"""Tests of CPython's that are run each time."""
MORE = [
    *("test_dataclasses", "test_coroutines", "test_descr", "test_asyncgen", "test_class", "test_enum", "test_typing"),
    *("test_contextlib", "test_collections", "test_copy", "test_textwrap", "test_difflib", "test_heapq", "test_super"),
    *(
        "test_statistics",
        "test_configparser",
        "test_argparse",
        "test_fractions",
        "test_shlex",
        "test_csv",
        "test_string",
    ),
    *(
        "test_listcomps",
        "test_named_expressions",
        "test_except_star",
        "test_unpack",
        "test_unpack_ex",
        "test_augassign",
    ),
    *("test_grammar", "test_funcattrs", "test_genexps", "test_yield_from", "test_decorators", "test_property"),
    *("test_sys_settrace", "test_frame", "test_code", "test_trace", "test_traceback", "test_positional_only_arg"),
    *("test_keywordonlyarg", "test_extcall", "test_global", "test_raise", "test_weakref", "test_gc", "test_exceptions"),
    *("test_exception_group", "test_pickle", "test_sys_setprofile", "test_bdb", "test_inspect"),
]
"""The others."""
DISASSEMBLED = {"test.test_positional_only_arg.PositionalOnlyTestCase.test_annotations_constant_fold"}
"""Looks for UNARY_NOT in its own instructions, where announcements have it before 3.13."""
HERE = Path(__file__).parent


def module(path: Path, watched: bool) -> dict[str, Any]:
    code: CodeType = compile(corpus.SOURCE, str(path), "exec", dont_inherit=True)
    space: dict[str, Any] = {"__name__": "corpus"}
    exec(watching.bind(watching.instrument(code, "corpus")) if watched else code, space)
    return space


def traced(space: dict[str, Any], path: Path) -> list[tuple[str, str, int]]:
    """What a debugger is told of: events, functions, lines."""
    found: list[tuple[str, str, int]] = []

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        if frame.f_code.co_filename != str(path):
            return None
        found.append((event, frame.f_code.co_name, frame.f_lineno))
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        space["main"]()
    finally:
        sys.settrace(before)
    return found


def test_a_debugger_is_told_of_the_same_lines(tmp_path: Path) -> None:
    path = tmp_path / "corpus.py"
    expected = traced(module(path, watched=False), path)
    with journal(tmp_path):
        got = traced(module(path, watched=True), path)
    same = next((i for i, (a, b) in enumerate(zip(got, expected, strict=False)) if a != b), 0)
    assert len(expected) > 10000
    assert got == expected, f"{got[same - 2 : same + 3]} instead of {expected[same - 2 : same + 3]}"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring came with CPython 3.12")
@pytest.mark.parametrize("event", ["LINE", "PY_START", "PY_RETURN", "PY_YIELD", "PY_RESUME", "RAISE", "BRANCH", "JUMP"])
def test_a_monitoring_tool_is_told_of_the_same(event: str, tmp_path: Path) -> None:
    """Of lines, but that in which a function begins: CPython 3.13 leaves it out if the whole function stands in it."""
    path, results = tmp_path / "corpus.py", []
    monitoring = sys.monitoring  # type: ignore[attr-defined,unused-ignore]
    for watched in (False, True):
        space, found = module(path, watched), list[tuple[Any, ...]]()

        def note(code: CodeType, at: int, *more: Any, found: list[tuple[Any, ...]] = found, line: bool = False) -> None:
            if code.co_filename == str(path) and not (event == "LINE" and at == code.co_firstlineno):
                found.append((code.co_name, at if event == "LINE" else "", type(more[0]).__name__ if more else ""))

        monitoring.use_tool_id(3, "test")
        try:
            monitoring.register_callback(3, getattr(monitoring.events, event), note)
            monitoring.set_events(3, getattr(monitoring.events, event))
            space["main"]()
        finally:
            monitoring.set_events(3, 0)
            monitoring.free_tool_id(3)
        results.append(found)
    assert results[0]
    assert results[1] == results[0]


ERRORS = (LookupError, TypeError, ValueError, NameError, ImportError)
FAILING = [
    "def f(d):\n    x = 1\n    y = d['a'] + d['b'][\n        'c']\n    return y\n",
    "def f(d):\n    (x,\n     y) = d['e']\n",
    "def f(d):\n    for x, y in d['e']:\n        pass\n",
    "def f(d):\n    del x\n    x = 1\n",
    "def f(d):\n    x += 1\n",
    "def f(d):\n    with d as x: pass\n",
    "def f(d):\n    import nothing.such as x\n",
    "def f(d):\n    try: d['f']\n    except KeyError as e: raise ValueError(e) from e\n",
]


@pytest.mark.parametrize("text", FAILING)
def test_a_traceback_is_the_same_to_the_character(text: str, tmp_path: Path) -> None:
    path = tmp_path / "failing.py"
    path.write_text(text)
    said = []
    for watched in (False, True):
        space: dict[str, Any] = {}
        exec(compile(text, str(path), "exec"), space)
        if watched:
            watch_locals(space["f"])
        with journal(tmp_path / str(watched)), pytest.raises(ERRORS) as raised:
            space["f"]({"a": 1, "b": {"c": None}, "e": [1]})
        said.append("".join(traceback.format_exception(raised.value)[1:]).partition('failing.py"')[2])
    assert said[0]
    assert said[1] == said[0]


def results(how: str, name: str) -> dict[str, str]:
    """How the tests of a module of CPython's end."""
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
    command = [sys.executable, "-W", "ignore", HERE / "cpythons_own.py", how, name]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=HERE, env=environment, timeout=600)
    lines = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("[")]
    assert lines, ran.stderr[-2000:]
    return dict(lines)[name]


@pytest.mark.parametrize("name", SUITES + (MORE if SOAK else []))
def test_cpythons_own_tests_end_as_they_do_without(name: str) -> None:
    if not (Path(os.__file__).parent / "test" / f"{name}.py").exists():
        pytest.skip(f"this Python has no {name}")
    expected = results("off", name)
    assert len(expected) > 0
    if sys.version_info < (3, 13):
        expected.update(dict.fromkeys(DISASSEMBLED & expected.keys(), "failed"))
    assert results("on", name) == expected
