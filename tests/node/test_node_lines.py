"""The line of a store is the line that made it, in every tier; where it can't be known the event says so."""

from __future__ import annotations

import json
from itertools import product
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


def test_what_calls_that_have_ended_left_on_the_stack_is_no_line(node: Node) -> None:
    """Each store is the first at its place, which V8 makes in C++; before it, a function of another file has run there."""
    shapes = list(
        product(range(9), range(10), ("Reflect.apply(inner, this, arguments)", "inner(arguments)", "[1].map(inner)"))
    )
    calls, functions = ["const { watch } = require('@memwatch/node'), other = require('./other');"], []
    calls.append("const x = watch(new Int32Array(1), { name: 'x' });")
    for number, (parameters, locals_, calling) in enumerate(shapes):
        names = [f"l{n}" for n in range(locals_)]
        body = "".join(f"let {name} = arguments.length; " for name in names)
        body += f"const inner = (...given) => [given.length, {', '.join(names)}]; return {calling};"
        functions.append(
            f"exports.f{number} = function ({', '.join(f'p{n}' for n in range(parameters))}) {{ {body} }};"
        )
        calls.append(
            f"(async () => {{ await null; other.f{number}({', '.join(map(str, range(parameters)))}); x[0] = {len(calls) + 1}; }})();"
        )
    node.write("\n".join(functions), "other.js")
    node.run(node.write("\n".join(calls)))
    events = node.read().events
    assert len(events) == len(shapes)
    assert [
        (event.new, place(event)) for event in events if (place(event) or ())[:2] != ("program.js", event.new[0])
    ] == []
    assert all(event.exact for event in events)
