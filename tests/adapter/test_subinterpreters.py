"""A store in a sub-interpreter has the right line, or is marked as uncertain; never a wrong line without a mark."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import ctypes, json, pathlib, sys, tempfile
sys.path.insert(0, {tests!r})
import journals
from memwatch_core import config
from memwatch_core.adapter import process
from memwatch_core.adapter.watch import watch
from memwatch_core.journal.session import create_session

with tempfile.TemporaryDirectory() as folder:
    opened = process.open_journal(create_session(folder, []), config.load())
    x = watch(bytearray(64), name="x")
    address = ctypes.addressof(ctypes.c_char.from_buffer(x))
    code = f"\\n\\nimport ctypes\\ndef inside():\\n  ctypes.memset({{address}}, 3, 8)\\ninside()"
    if sys.version_info >= (3, 13):
        import _interpreters
        made = _interpreters.create("legacy")
        _interpreters.exec(made, code)
        _interpreters.destroy(made)
    else:
        import _xxsubinterpreters
        made = _xxsubinterpreters.create(isolated=False)
        _xxsubinterpreters.run_string(made, code)
        _xxsubinterpreters.destroy(made)
    ctypes.memset(address, 4, 8)
    print(json.dumps([[s.line, s.function, s.exact] for s in journals.read(opened.path).stores]))
    process.close_journal()
"""


@pytest.mark.parametrize("stack", [1, 16])
def test_store_in_a_subinterpreter_is_right_or_marked(tmp_path: Path, stack: int) -> None:
    script = tmp_path / "program.py"
    script.write_text(PROGRAM.format(tests=str(Path(__file__).parent)))
    environment = os.environ | {"MEMWATCH_WATCH_STACK": str(stack)}
    done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    stores = json.loads(done.stdout)
    inside, after = stores[0], stores[-1]
    if sys.version_info >= (3, 12):
        assert inside == [5, "inside", True]
    else:
        assert inside[2] is False or inside[:2] == [5, "inside"]
    own = next(i for i, text in enumerate(script.read_text().splitlines(), 1) if "ctypes.memset(address, 4" in text)
    assert after == [own, "<module>", True]
