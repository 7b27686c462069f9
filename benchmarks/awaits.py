"""What an await costs a Node.js program whose SQL is tracked.

Next to empty promise hooks, which is what V8 takes for telling of promises, and to an AsyncLocalStorage alone.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.answers import answering
from benchmarks.node import NODES, PACKAGE
from benchmarks.table import Row, in_turn

LOOPS = Path(__file__).with_name("awaits_loops.js")
TIMES = 31


@contextmanager
def loop(node: Path, folder: str, who: str) -> Iterator[Callable[[], float]]:
    """A process that answers with its ns of CPU time for each await."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MEMWATCH_", "NODE_"))}
    with answering([str(node), str(LOOPS), who, PACKAGE], folder=folder, environment=clean) as ask:
        yield lambda: ask("await")


def rows() -> list[Row]:
    """Two rows for each version of Node.js that is here."""
    found: list[Row] = []
    for version, node in NODES:
        if not node.exists():
            continue
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            ours, hooks, storage = (
                stack.enter_context(loop(node, folder, who)) for who in ("ours", "hooks", "storage")
            )
            for rival, theirs, target in (
                ("empty promise hooks", hooks, 1.5),
                ("AsyncLocalStorage alone", storage, None),
            ):
                mine, its, ratio = in_turn(ours, theirs, TIMES)
                found.append(Row(f"await f(), SQL tracked, Node {version}", mine, "ns", rival, its, target, ratio))
    return found
