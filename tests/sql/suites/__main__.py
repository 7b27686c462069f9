"""Runs one suite and prints what differs."""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))

import servers

from .catalogue import SUITES
from .running import run

SERVERS = {"postgresql": servers.postgresql.private, "mariadb": servers.mariadb.private}


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m suites", description=__doc__)
    options.add_argument("name", choices=sorted(SUITES))
    options.add_argument("arguments", nargs=argparse.REMAINDER, help="more arguments for pytest, such as -k NAME")
    chosen = options.parse_args()
    suite = SUITES[chosen.name]
    with contextlib.ExitStack() as stack:
        databases = contextlib.nullcontext
        if suite.server:
            databases = stack.enter_context(SERVERS[suite.server]()).fresh_database
        result = run(suite, databases, chosen.arguments)
    differences = result.differences()
    for name, ends in differences.items():
        print(f"{'known ' if suite.explains(name) else ''}{name}\n    untraced: {ends[0]}\n    traced:   {ends[1]}")
    print(
        f"{len(result.untraced)} tests, {result.passed()} passed, {result.contexts} contexts, {len(differences)} differ"
    )
    return bool(differences)


sys.exit(main())
