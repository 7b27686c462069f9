"""Programs that are measured from within: each answers what it is asked with a figure."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager


@contextmanager
def answering(
    command: Sequence[str], *, folder: str | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[Callable[[str], float]]:
    """``ask(what)``, which writes a line to the program and reads one; the program runs as long as the block."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=folder, env=environment) as process:

        def ask(what: str) -> float:
            assert process.stdin
            assert process.stdout
            process.stdin.write(f"{what}\n")
            process.stdin.flush()
            return float(process.stdout.readline())

        yield ask
        process.communicate()
