"""Operations on what is watched, for the matrices: in specialised code, in another thread; whole programs of them."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

HOT = 300


def in_loop(code: str, n: int = HOT) -> Callable[[Any], None]:
    """An operation on ``x`` that runs until the interpreter has specialised it, each in a function of its own."""
    space: dict[str, Any] = {}
    exec(f"def hot(x, n={n}):\n    for i in range(n):\n        {code}\n", space)
    run: Callable[[Any], None] = space["hot"]
    return run


def in_thread(operation: Callable[[Any], Any]) -> Callable[[Any], None]:
    def run(x: Any) -> None:
        thread = threading.Thread(target=operation, args=(x,))
        thread.start()
        thread.join()

    return run


def same_plain_and_watched(suite: Path) -> int:
    """Runs a program that prints how many tests it ran and which failed, with "plain" and "watched" as its argument.
    Fails where the two differ; returns how many tests that were."""
    seen = []
    for how in ("plain", "watched"):
        run = [sys.executable, suite.name, how]
        done = subprocess.run(run, cwd=suite.parent, capture_output=True, text=True, timeout=300, check=False)
        assert not done.returncode, done.stderr[-2000:]
        seen.append((done.stdout, done.stderr[-3000:]))
    assert seen[0][0] == seen[1][0], seen
    return int(seen[0][0].splitlines()[0])
