"""Native addons of others: what they write is seen, and how they crash stays as it was."""

from __future__ import annotations

import signal

from nodejs import Node


def test_every_store_of_a_native_addon_is_seen_on_whatever_thread(foreign: Node) -> None:
    foreign.write("""
        const { watch } = require('@memwatch/node');
        const addon = require('./foreign.node');
        const x = watch(new Int32Array(100));
        addon.count(x);
        addon.elsewhere(x);
        addon.clear(x.subarray(50));
        console.log(x[9], x[49], x[50]);
    """)
    assert foreign.run("program.js").stdout == "100 2500 0\n"
    journal = foreign.read()
    assert not journal.lost
    counted, squared, cleared = (journal.events[:100], journal.events[100:200], journal.events[200:])
    assert [event.new[i] for i, event in enumerate(counted)] == list(range(1, 101))
    assert [event.new[i] for i, event in enumerate(squared)] == [i * i for i in range(1, 101)]
    assert {(e.site and e.site.line, e.exact, e.thread) for e in counted} == {(5, True, "main")}
    assert {(e.site and e.site.line, e.exact, e.thread) for e in cleared} == {(7, True, "main")}
    assert {(e.site and e.site.function.partition("+")[0], e.site and e.site.line) for e in squared} == {("square", 0)}
    assert len({event.tid for event in journal.events}) == 2
    assert journal.replayed("x", 400)[200:] == bytes(200)


def test_crash_of_an_addon_is_the_crash_it_was_and_events_before_it_are_kept(foreign: Node) -> None:
    for name, watching in (("plain.js", "new"), ("watched.js", "require('@memwatch/node').watch(new")):
        end = ")" if name == "watched.js" else ""
        foreign.write(f"const x = {watching} Int32Array(1){end}; x[0] = 1; require('./foreign.node').crash();", name)
        foreign.run(name, check=-signal.SIGSEGV)
    assert [event.new for event in foreign.read().events] == [[1]]
