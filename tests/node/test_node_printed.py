"""What the package says steers a terminal, or takes a name of any length."""

from __future__ import annotations

import sys
from pathlib import Path

from nodejs import ONCE, Node

sys.path.insert(0, str(Path(__file__).parents[1] / "cli"))
from hostile_text import HOSTILE, check

TEXT = "".join(HOSTILE.values())


@ONCE
def test_message_steers_the_terminal(node: Node) -> None:
    program = "try { require('@memwatch/node').watch(new Int32Array(1)) } catch (error) { console.error(error.message); throw error }"
    node.write(program)
    for variables in ({"MEMWATCH_CORE_TRACKER": TEXT}, {"MEMWATCH_SESSION": f"/nowhere/{TEXT}"}):
        done = node.run("program.js", check=1, **variables)
        assert "SessionError" in done.stderr
        check(done.stderr)


@ONCE
def test_name_is_longer_than_readers_show(node: Node) -> None:
    node.write("""
        const { watch } = require('@memwatch/node');
        try { watch(new Int32Array(1), { name: 'n'.repeat(1025) }) } catch (error) { console.log(`${error}`) }
        watch(new Int32Array(1), { name: 'n'.repeat(1024) })[0] = 1;
    """)
    done = node.run("program.js")
    assert done.stdout == "RangeError: watch(value, options): a name of 1025 characters; at most 1024\n"
    (event,) = node.read().events
    assert event.variable == "n" * 1024
