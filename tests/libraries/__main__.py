"""Runs one suite and prints what differs."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from own_suites.outcomes import differences, passed

from .catalogue import SUITES
from .running import run


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m libraries", description=__doc__)
    options.add_argument("name", choices=sorted(SUITES))
    options.add_argument("arguments", nargs=argparse.REMAINDER, help="more arguments for pytest, such as -k NAME")
    chosen = options.parse_args()
    suite = SUITES[chosen.name]
    runs = {how: run(suite, how, chosen.arguments) for how in ("plain", "told", "watched")}
    for one, other in (("plain", "told"), ("told", "watched")):
        for name, ends in differences(runs[one].ends, runs[other].ends).items():
            known = any(re.fullmatch(pattern, name) for pattern in suite.known)
            print(f"{'known ' if known else ''}{name}\n    {one}: {ends[0]}\n    {other}: {ends[1]}")
    for how, each in runs.items():
        print(f"{how}: {passed(each.ends)} of {len(each.ends)} passed in {each.seconds:.0f} s; {each.counts}")
    return bool(differences(runs["told"].ends, runs["watched"].ends))


sys.exit(main())
