"""Writes in each way, and prints where each was acted on: a process for a tracker of its own."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from writing_ways import CASES

found = []
for kind, (make, when, ways) in CASES.items():
    for way in ways:
        seen = []

        def note(hit: object, seen: list[tuple[str, int, int]] = seen) -> None:
            frame = sys._getframe(1)
            seen.append((frame.f_code.co_name, frame.f_lineno, hit.site[1]))  # type: ignore[attr-defined]

        way(make(when=when, then=note))
        found += [(kind, way.__name__, *each) for each in seen]
print(json.dumps(found))
