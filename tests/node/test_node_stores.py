"""No write to a watched buffer may be missed, whatever code of V8 or of Node makes it, and whatever it was compiled to."""

from __future__ import annotations

import hashlib
import os

import pytest
from nodejs import PROGRAMS, Node
from trackers import need

TIERS = {
    "as it comes": (),
    "interpreter": ("--no-opt", "--no-sparkplug"),
    "no jit": ("--jitless",),
    "sparkplug": ("--always-sparkplug",),
    "maglev": ("--maglev",),
    "turbofan": ("--always-turbofan",),
    "compacting": ("--stress-compaction",),
}


@pytest.mark.parametrize(
    ("tier", "tracker"),
    [*((tier, "auto") for tier in TIERS), ("as it comes", "readonly"), ("as it comes", "uffd-queue")],
)
def test_every_way_to_write_is_seen_in_every_tier(node: Node, tier: str, tracker: str) -> None:
    need(tracker)
    options = TIERS[tier]
    if tier == "turbofan" and node.version >= 26:  # which doesn't know the option any more
        options = ("--no-sparkplug", "--no-maglev", "--invocation-count-for-turbofan=1")
    n = "200" if tier in ("turbofan", "no jit") else "1000"
    arguments = ("--expose-gc", *options, str(PROGRAMS / "stores.js"), n)
    done = node.run(*arguments, exact_lines=False, NODE_PATH="node_modules", MEMWATCH_CORE_TRACKER=tracker)
    assert done.stdout.startswith("0 failed; holds "), done.stdout
    journal = node.read()
    assert not journal.lost
    assert hashlib.sha256(journal.replayed("all", 1 << 15)).hexdigest() == done.stdout.split()[-1]


def test_hot_loop_is_one_event_a_store_with_the_right_values_across_optimisation(node: Node) -> None:
    count = 300_000 if os.environ.get("MEMWATCH_SOAK") else 100_000
    node.write("""
        const { watch } = require('@memwatch/node');
        const x = watch(new Int32Array(1));
        function hot(a, n) { for (let i = 1; i <= n; i++) a[0] = i; }
        hot(x, Number(process.argv[2]));
        console.log(x[0]);
    """)
    assert node.run("program.js", str(count)).stdout == f"{count}\n"
    journal = node.read()
    assert not journal.lost
    assert [event.new[0] for event in journal.of("x")] == list(range(1, count + 1))
    assert {(event.site.line, event.site.function) for event in journal.of("x") if event.site} == {(4, "hot")}


WASM = """
    const code = Uint8Array.from([0,97,115,109,1,0,0,0,1,7,1,96,2,127,127,1,127,3,2,1,0,5,3,1,0,1,7,16,2,3,115,116,111,
      0,0,6,109,101,109,111,114,121,2,0,10,13,1,11,0,32,0,32,1,54,2,0,32,0,11]);
    const { sto, memory } = new WebAssembly.Instance(new WebAssembly.Module(code)).exports;
    function traps(n) {
      let caught = 0;
      for (let i = 0; i < n; i++) try { sto(1 << 20, 5); } catch (e) { caught += e instanceof WebAssembly.RuntimeError; }
      return caught;
    }
"""


def test_traps_of_webassembly_stay_v8s_own_between_watched_stores(node: Node) -> None:
    node.write(
        WASM
        + """
        const before = traps(10);
        const { watch } = require('@memwatch/node');
        const x = watch(new Int32Array(2));
        let caught = 0;
        for (let i = 0; i < 2000; i++) { x[0] = i; if (i % 20 === 0) { caught += traps(1); x[1] = i; } }
        console.log(before, traps(50), caught);
    """
    )
    assert node.run("program.js").stdout == "10 50 100\n"
    assert len(node.read().of("x")) == 2100


def test_memory_of_webassembly_is_refused(node: Node) -> None:
    node.write(
        WASM
        + """
        const { watch } = require('@memwatch/node');
        for (const value of [memory, memory.buffer, new Uint8Array(memory.buffer)]) {
          try { watch(value, { name: 'm' }); } catch (e) { console.log(e instanceof TypeError, /WebAssembly/.test(e.message)); }
        }
        sto(8, 5);
        console.log(new Uint32Array(memory.buffer)[2]);
    """
    )
    assert node.run("program.js").stdout == "true true\n" * 3 + "5\n"
