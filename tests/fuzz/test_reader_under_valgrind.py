"""The reader's C half under valgrind: reads of memory that isn't its own, decisions by bytes that nobody wrote."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
OURS = re.compile(r"\((reader|lines)\.c:\d+\)|_reader\.cpython")


@pytest.mark.skipif("MEMWATCH_SANITIZE" not in os.environ, reason="takes a minute: make sanitize")
def test_no_memory_error_comes_from_the_reader(tmp_path: Path) -> None:
    assert shutil.which("valgrind"), "make sanitize installs it"
    log = tmp_path / "log"
    valgrind = ["valgrind", "-q", "--num-callers=30", f"--log-file={log}", sys.executable, str(HERE / "replay.py")]
    environment = os.environ | {"PYTHONMALLOC": "malloc"}
    subprocess.run([*valgrind, str(tmp_path / "4242-python.mwj")], env=environment, check=True, timeout=600)
    errors = re.split(r"==\d+== \n", log.read_text())  # of other modules there are some
    assert not [error for error in errors if OURS.search(error)]
