"""What a start costs: processor time of all processes, kernel included, against a Python that does nothing.

``python -m benchmarks.starting`` prints the table.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.node import NODES, PACKAGE
from benchmarks.table import Row, markdown, median

WATCH = "from memwatch_core import watch\nx = watch(0, name='x')\nx += 1"
MEMWATCH = str(Path(sys.executable).with_name("memwatch"))
TIMES = 20


def processor_time(folder: str, *command: str) -> float:
    """ms of a command, with the processes that it waits for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e3


def of_node(version: int, node: Path, folder: str) -> Row:
    """What @memwatch/node/register adds to an empty program, without a watch: in turn, the least of each."""
    Path(folder, "empty.js").touch()
    register = ("--require", f"{PACKAGE}/register.js")
    pairs = [
        (processor_time(folder, str(node), *register, "empty.js"), processor_time(folder, str(node), "empty.js"))
        for _ in range(TIMES)
    ]
    ours, theirs = min(ours for ours, _ in pairs), min(theirs for _, theirs in pairs)
    return Row(f"beyond the empty Node {version}: @memwatch/node/register", ours - theirs, "ms", target=20)


def rows() -> list[Row]:
    """All figures of this file."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "empty.py").touch()

        def of(*command: str) -> float:
            processor_time(folder, *command)  # what is compiled once is compiled now
            return median(lambda: processor_time(folder, *command), TIMES)

        nothing = of(sys.executable, "-c", "pass")
        watched, imported = of(sys.executable, "-c", WATCH), of(sys.executable, "-c", "import memwatch_core")
        run, helped = of(MEMWATCH, "run", "empty.py"), of(MEMWATCH, "--help")
        rival = "empty Python"
        return [
            Row("import memwatch_core", imported, "ms", rival, nothing),
            Row("import and the first watch()", watched, "ms", rival, nothing),
            Row("beyond the empty Python: import and the first watch()", watched - nothing, "ms", target=60),
            Row("memwatch run of an empty program, all processes", run, "ms", target=400),
            Row("memwatch --help", helped, "ms", rival, nothing),
            *(of_node(version, node, folder) for version, node in NODES if node.exists()),
        ]


if __name__ == "__main__":
    print(markdown(rows()))
