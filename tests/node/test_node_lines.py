"""The line of a store is the line that made it, in every tier; where it can't be known the event says so."""

from __future__ import annotations

import json
from pathlib import Path

from nodejs import PROGRAMS, Node

from memwatch_core.records import Event


def place(event: Event) -> tuple[str, int, str] | None:
    site = event.site
    return (Path(site.file).name, site.line, site.function) if site else None


def test_each_of_many_kinds_of_stores_has_its_exact_line(node: Node) -> None:
    done = node.run(str(PROGRAMS / "lines.js"), NODE_PATH="node_modules")
    cases = json.loads(done.stdout)
    assert len(cases) >= 31
    events = {event.seq: event for event in node.read().events}
    wrong = {
        case["case"]: (place(event), event.exact, case["line"])
        for case in cases
        if (place(event := events[case["seq"]]) or ())[:2] != (case["file"], case["line"]) or not event.exact
    }
    assert not wrong
    assert all(event.exact for event in events.values())


def test_without_the_flags_no_line_is_wrong_and_what_is_unknown_says_so(node: Node) -> None:
    """Sparkplug and Maglev carry no lines: the function's first one stands there then."""
    done = node.run("--always-sparkplug", str(PROGRAMS / "lines.js"), exact_lines=False, NODE_PATH="node_modules")
    events = {event.seq: event for event in node.read().events}
    claimed = [case for case in json.loads(done.stdout) if events[case["seq"]].exact]
    assert [
        (case["case"], place(events[case["seq"]]))
        for case in claimed
        if place(events[case["seq"]])[:2] != (case["file"], case["line"])
    ] == []  # type: ignore[index]
    assert any(not event.exact for event in events.values())
