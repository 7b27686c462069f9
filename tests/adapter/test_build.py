"""The build: what cffi is told is what memwatch.h says, and the interpreter's versions are known."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from memwatch_core.adapter.structs import fields_of
from memwatch_core.native import core

ROOT = Path(__file__).parents[2]
NATIVE = Path(core.__file__).parent
BUILD = runpy.run_path(str(NATIVE / "ffi_build.py"))


def test_every_function_and_constant_of_the_header_is_there() -> None:
    header = (NATIVE.parent / "core/memwatch.h").read_text()
    text = re.sub(r"/\*.*?\*/", "", header, flags=re.DOTALL)
    functions = set(re.findall(r"\b(mw_\w+)\(", text)) - set(re.findall(r"\(\*(mw_\w+)\)", text))
    constants = set(re.findall(r"^\s+(MW_\w+) = ", text, flags=re.MULTILINE))
    assert len(functions) > 20
    assert len(constants) > 25
    missing = {name for name in functions | constants if not hasattr(core.lib, name)}
    assert not missing
    assert core.lib.MW_METADATA_MAX == 65536


def test_declarations_hold_no_preprocessor_but_numbers() -> None:
    told = BUILD["declarations"](
        "#ifndef A\n#define A\n#define N 5u /* five */\n#define F(x) x\nint f(void); // no\n#endif\n"
    )
    assert told.splitlines()[0] == "#define N ..."
    assert "F(x)" not in told
    assert "int f(void);" in told


def test_one_object_exports_nothing_but_its_module() -> None:
    done = subprocess.run(
        ["nm", "-D", "--defined-only", core._core.__file__], capture_output=True, text=True, check=True
    )
    assert [text.split()[-1] for text in done.stdout.splitlines()] == ["PyInit__core"]


def test_build_for_a_free_threaded_python_ends_with_what_to_use(tmp_path: Path) -> None:
    described = {**sysconfig.get_config_vars(), "Py_GIL_DISABLED": 1}
    (tmp_path / "_sysconfigdata_free.py").write_text(f"build_time_vars = {described!r}\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "_PYTHON_SYSCONFIGDATA_NAME": "_sysconfigdata_free"}
    build = [sys.executable, "setup.py", "--version"]
    done = subprocess.run(build, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60)
    python = f"python3.{sys.version_info[1]}"
    assert (done.returncode, done.stderr.splitlines()) == (1, [
        "memwatch needs CPython with its global interpreter lock; this is a free-threaded build: "
        f"use {python}, not {python}t"
    ])  # fmt: skip


def test_stats_and_errors_follow_the_header() -> None:
    assert {name for name, _ in core.ffi.typeof("mw_stats").fields} == set(core.Stats._fields)
    for code in core.ffi.typeof("mw_error").elements:
        assert len(core.explain(code)) > 5 or code == 0


@pytest.mark.parametrize("form", ["", "<", "q q", "z", "4"])
def test_formats_without_fields_or_unknown_ones_are_errors(form: str) -> None:
    if form in ("", "<"):
        assert fields_of(form) == ()
    elif form == "q q":
        assert len(fields_of(form)) == 2
    else:
        with pytest.raises(ValueError, match="struct format"):
            fields_of(form)
