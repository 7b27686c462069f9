"""Runs one suite and prints what differs."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from own_suites.outcomes import SuiteError, differences, passed

from .catalogue import SUITES, Suite
from .running import run


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m packages", description=__doc__)
    options.add_argument("name", choices=["all", *SUITES])
    options.add_argument("arguments", nargs=argparse.REMAINDER, help="more arguments for pytest, such as -k NAME")
    chosen = options.parse_args()
    suites = SUITES.values() if chosen.name == "all" else [SUITES[chosen.name]]
    return max([_compare(suite, chosen.arguments) for suite in suites])


def _compare(suite: Suite, arguments: list[str]) -> int:
    try:
        plain, watched = run(suite, "plain", arguments), run(suite, "watched", arguments)
    except SuiteError as error:
        print(error, flush=True)
        return 1
    found = differences(plain.ends, watched.ends)
    for name, ends in found.items():
        known = any(re.fullmatch(pattern, name) for pattern in suite.known)
        print(f"{'known ' if known else ''}{name}\n    plain: {ends[0]}\n    watched: {ends[1]}")
    print(
        f"{suite.name}: {passed(plain.ends)} of {len(plain.ends)} passed in {plain.seconds:.1f} s, watched "
        f"{passed(watched.ends)} of {len(watched.ends)} in {watched.seconds:.1f} s; {len(found)} differ; "
        f"{watched.events:,} events on {watched.variables:,} variables",
        flush=True,
    )
    return bool(found)


sys.exit(main())
