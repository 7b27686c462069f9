"""`make bench`: every figure of MemWatch against its rival in the same run, as a table.

python -m benchmarks.all                     all of it, a few minutes
python -m benchmarks.all store writing       some of it
python -m benchmarks.all --write             and put the tables into docs/performance.md
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs/performance.md"
PARTS = {
    "starting": "A start",
    "store": "A store, from C",
    "writing": "A write through a proxy",
    "conditions": "A condition that is not met",
    "stacks": "A write with its callers",
    "requests": "A write on somebody's behalf",
    "places": "A store to an object in place",
    "tracers": "A store to an object in place, beside tracers",
    "arrays": "An array",
    "locals": "A binding of a watched local",
    "programs": "A whole program",
    "calls": "A system call",
    "reading": "Reading a journal",
    "merging": "Stores to an array, as one line",
    "sql": "A SQL statement, traced",
    "node": "A store, from JavaScript",
    "node_sql": "A SQL statement in JavaScript, traced",
    "awaits": "An await, in JavaScript",
    "many": "A million variables",
}


if sys.version_info < (3, 12):
    del PARTS["places"], PARTS["tracers"]


def machine() -> str:
    """One sentence about where this was measured."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return (
        f"{os.cpu_count()} cores of {model[1] if model else platform.machine()}, a virtual machine; "
        f"Linux {platform.release().split('-')[0]}; CPython {platform.python_version()}; {time.strftime('%Y-%m-%d')}."
    )


def table(part: str) -> str:
    """The table of one part, measured in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.all", "--table", part],
        cwd=Path(__file__).parents[1],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout.strip()


def write(tables: dict[str, str]) -> None:
    """Puts machine and tables between the marks of docs/performance.md."""
    text = PAGE.read_text()
    for name, body in {"machine": machine(), **tables}.items():
        head, rest = text.split(f"<!-- {name} -->\n", 1)
        text = f"{head}<!-- {name} -->\n{body}\n{rest[rest.index('<!-- end -->') :]}"
    PAGE.write_text(text)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="which tables; all if none is named")
    parser.add_argument("--write", action="store_true", help="put them into docs/performance.md")
    parser.add_argument("--table", choices=PARTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.table:
        from benchmarks.table import markdown

        print(markdown(importlib.import_module(f"benchmarks.{options.table}").rows()))
        return
    print(machine(), flush=True)
    tables = {}
    for part in options.parts or PARTS:
        print(f"\n{PARTS[part]}\n", flush=True)
        tables[part] = table(part)
        print(tables[part], flush=True)
    if options.write:
        write(tables)


if __name__ == "__main__":
    main()
