"""watch(): what it gives back, what it refuses and how it says so, how long pages live."""

from __future__ import annotations

import json
import os
import struct

import pytest
from memwatch_serializer_typedarray import FORMATS
from nodejs import ONCE, Node

CLASSES = """
    const { watch, unwatch } = require('@memwatch/node');
    class Money extends Float64Array { total() { return this.reduce((a, b) => a + b, 0); } }
    const values = {
      Int8Array: new Int8Array([1, -2]), Uint8Array: new Uint8Array([1, 2]), Uint8ClampedArray: new Uint8ClampedArray([1, 2]),
      Int16Array: new Int16Array([1, -2]), Uint16Array: new Uint16Array([1, 2]), Int32Array: new Int32Array([1, -2]),
      Uint32Array: new Uint32Array([1, 2]), BigInt64Array: new BigInt64Array([1n, -2n]),
      BigUint64Array: new BigUint64Array([1n, 2n]), Float32Array: new Float32Array([1, 0.5]),
      Float64Array: new Float64Array([1, 0.5]), Money: new Money([2, 3]),
    };
    if (globalThis.Float16Array) values.Float16Array = new Float16Array([1, 0.5]);
    for (const [name, value] of Object.entries(values)) {
      const x = watch(value, { name });
      const same = Object.getPrototypeOf(x) === Object.getPrototypeOf(value) && x.length === value.length
        && x.every((n, i) => n === value[i]) && x.byteOffset === 0 && x !== value;
      x[0] = x[1];
      const plain = unwatch(x);
      console.log(name, same, plain.constructor === value.constructor && plain[0] === x[1], value[0] !== x[0] || name);
    }
    const buffer = watch(Buffer.from('hello'), { name: 'Buffer', copy: true });
    buffer.write('J');
    const part = new Int16Array([1, 2, 3, 4]).subarray(1, 3);
    const watchedPart = watch(part, { name: 'part', copy: true });
    watchedPart[1] = 9;
    const view = watch(new DataView(new ArrayBuffer(4)), { name: 'DataView' });
    view.setInt16(0, 258);
    const ab = watch(new ArrayBuffer(4), { name: 'ArrayBuffer' });
    new Uint8Array(ab)[3] = 7;
    console.log(Buffer.isBuffer(buffer), buffer.toString(), [...watchedPart], part[1], view.byteLength, view.getInt16(0), ab instanceof ArrayBuffer);
    console.log(Buffer.isBuffer(unwatch(buffer)), unwatch(view).getInt16(0), unwatch(ab).byteLength);
"""


def test_each_class_comes_back_as_itself_with_its_contents_and_its_events(node: Node) -> None:
    node.write(CLASSES)
    *classes, last, ended = node.run("program.js").stdout.splitlines()
    assert [line.split(maxsplit=1)[1] for line in classes] == ["true true true"] * (13 if node.version > 22 else 12)
    assert last == "true Jello [ 2, 9 ] 3 4 258 true"
    assert ended == "true 258 4"
    journal = node.read()
    assert not journal.lost
    values = {watched.variable.name: watched.value for watched in journal.watched}
    assert values["Int8Array"] == [1, -2]
    assert values["BigInt64Array"] == [1, -2]
    assert values["Float32Array"] == [1, 0.5]
    assert values["Buffer"] == b"hello"
    events = {event.variable: event for event in journal.events}
    assert events["Float64Array"].old == [1, 0.5]
    assert events["Float64Array"].new == [0.5, 0.5]
    assert events["Buffer"].new == b"Jello"
    if node.version > 22:
        assert (events["Float16Array"].old, events["Float16Array"].new) == ([1, 0.5], [0.5, 0.5])
    assert events["part"].new == [2, 9]
    assert events["ArrayBuffer"].new == b"\0\0\0\7"


REFUSED = {
    "5": "TypeError a number can't be watched.*watch(new Float64Array(1))",
    "'text'": "TypeError a string can't be watched: only values backed by a buffer",
    "null": "TypeError null can't be watched",
    "undefined": "TypeError undefined can't be watched",
    "{}": "TypeError an object (Object) can't be watched.*this.total = watch(new Float64Array(1)).*an accessor",
    "new Map()": "TypeError an object (Map) can't be watched.*Keep the field that matters",
    "function () {}": "TypeError a function can't be watched.*Keep the field that matters",
    "[1]": "TypeError an object (Array) can't be watched",
    "new Int32Array(0)": "TypeError .*length 0",
    "new ArrayBuffer(0)": "TypeError .*length 0",
    "new ArrayBuffer(8, { maxByteLength: 16 })": "TypeError .*resizable.*{ copy: true }",
    "new Uint8Array(new ArrayBuffer(8, { maxByteLength: 16 }))": "TypeError .*resizable.*{ copy: true }",
    "outside()": "TypeError .*length 0",
    "new SharedArrayBuffer(8)": "TypeError a SharedArrayBuffer can't be watched.*share() and receive().*{ copy: true }",
    "new Int32Array(new SharedArrayBuffer(8))": "TypeError .*view of a SharedArrayBuffer.*share() and receive().*{ copy: true }",
    "new WebAssembly.Memory({ initial: 1 })": "TypeError a WebAssembly.Memory.*address.*{ copy: true }",
    "new WebAssembly.Memory({ initial: 1 }).buffer": "TypeError .*memory of WebAssembly.*address.*{ copy: true }",
    "new (class Memory {})()": "TypeError an object (Memory) can't be watched.*Keep the field that matters",
    "Buffer.from('text')": "TypeError .*Buffer.alloc().*{ copy: true }",
    "new Int32Array(4).subarray(1, 3)": "TypeError 'it' can't be watched where it is: it is bytes 4 to 12 of an ArrayBuffer of 16",
    "detached()": "TypeError .*detached",
    "new Uint8Array(1 << 30)": "RangeError .*1073741824 bytes are more than 268435456",
    "watch(new Int32Array(1))": "TypeError .*watched already",
    "watch(new Int32Array(2)).subarray(1)": "TypeError .*watched already",
}
REFUSED_OPTIONS = {
    "5": "TypeError .*options is an object",
    "null": "TypeError .*options is an object",
    "{ track_threads: true }": "TypeError .*no option 'track_threads'; did you mean 'trackThreads'",
    "{ trackThreads: 1 }": "TypeError .*trackThreads is true or false, not a number",
    "{ copy: 1 }": "TypeError .*copy is true or false, not a number",
    "{ name: 5 }": "TypeError .*name is a string",
    "{ name: '' }": "TypeError .*name is a string",
    "{ mutationDepth: 'half' }": 'TypeError .*mutationDepth is "FULL" or a range',
    "{ mutationDepth: [4, 2] }": "TypeError .*mutationDepth",
    "{ mutationDepth: [8, 12] }": "RangeError .*contains no byte of the value, which has 8",
}


def test_what_cannot_be_watched_is_refused_with_a_sentence_that_says_what_to_do(node: Node) -> None:
    calls = [f"watch({value}, {{ name: 'it' }})" for value in REFUSED]
    calls += [f"watch(new Int32Array(2), {options})" for options in REFUSED_OPTIONS]
    calls += ["unwatch(new Int32Array(1))", "unwatch(5)", "share(new Int32Array(1))", "receive({})", "unwatch(ended)"]
    node.write(
        """
        const { watch, unwatch, share, receive } = require('@memwatch/node');
        function outside() { const b = new ArrayBuffer(8, { maxByteLength: 16 }), v = new DataView(b, 4, 4); b.resize(2); return v; }
        function detached() { const b = new ArrayBuffer(8); structuredClone(b, { transfer: [b] }); return b; }
        const ended = watch(new Int32Array(1));
        unwatch(ended);
        const said = [];
        const attempt = (f) => { try { f(); said.push('nothing'); } catch (e) { said.push(`${e.name} ${e.message}`); } };
    """
        + "\n".join(f"attempt(() => {call});" for call in calls)
        + "\nconsole.log(JSON.stringify(said));"
    )
    said = json.loads(node.run("program.js").stdout)
    wanted = [*REFUSED.values(), *REFUSED_OPTIONS.values()]
    wanted += ["TypeError unwatch() takes what watch() returned", "TypeError a number", "TypeError share() takes"]
    wanted += ["TypeError receive() takes", "SessionError 'ended': its watch has ended"]
    for call, message, pattern in zip(calls, said, wanted, strict=True):
        at = 0
        for part in pattern.split(".*"):
            at = message.find(part, at)
            assert at >= 0, f"{call}: {message!r} lacks {part!r}"


def test_options_may_be_frozen_and_do_what_they_say(node: Node) -> None:
    node.write("""
        const { watch } = require('@memwatch/node');
        const quiet = watch(new Int32Array(2), Object.freeze({ trackThreads: false, name: 'quiet' }));
        const half = watch(new Int32Array(2), { mutationDepth: [4, 8] });
        quiet[0] = 1; half[0] = 2; half[1] = 3;
        const holder = { total: watch(new Float64Array(1)) };
        holder.total[0] = 1;
        holder.other = watch(new Float64Array(1));
        watch(new Float64Array(1))[0] = 2;
    """)
    node.run("program.js")
    journal = node.read()
    assert [(event.variable, event.tid > 0, event.thread) for event in journal.events] == [
        ("quiet", False, ""),
        ("half", True, "main"),
        ("total", True, "main"),
        ("Float64Array", True, "main"),
    ]
    assert [watched.variable.name for watched in journal.watched] == [
        "quiet",
        "half",
        "total",
        "holder.other",
        "Float64Array",
    ]
    sites = [watched.variable.watched_at for watched in journal.watched]
    assert [site.line for site in sites if site] == [3, 4, 6, 8, 9]


def test_pages_live_as_long_as_any_view_and_a_hundred_thousand_watches_leak_nothing(node: Node) -> None:
    count = 100_000 if os.environ.get("MEMWATCH_SOAK") else 10_000
    node.write(
        """
        const { watch, unwatch, session } = require('@memwatch/node');
        const { stats } = session();
        let view = watch(new Int32Array(4)).subarray(1, 2);
        gc();
        view[0] = 5;
        let most = 0;
        for (let i = 0; i < COUNT; i++) {
          const x = watch(new Int32Array(1), { name: 'a' });
          x[0] = i;
          if (i & 1) unwatch(x);
          if (i % 1000 === 0) most = Math.max(most, stats().pages);
        }
        const settle = (tries) => {
          gc();
          if (stats().pages > 1 && tries) return setTimeout(settle, 10, tries - 1);
          view[0] = 6;
          console.log(stats().pages, stats().variables, view[0], most < COUNT / 4);
        };
        settle(100);
    """.replace("COUNT", str(count))
    )
    assert node.run("--expose-gc", "program.js").stdout == "1 1 6 true\n"
    journal = node.read()
    assert len(journal.of("a")) == count
    assert [event.new[1] for event in journal.of("view")] == [5, 6]


@pytest.mark.parametrize(
    "how",
    [
        "structuredClone(x, { transfer: [x.buffer] })",
        "port.postMessage(x, [x.buffer])",
        "x.buffer.transfer()",
        "x.buffer.transfer(4096)",
        "x.buffer.transferToFixedLength()",
    ],
)
def test_a_watched_buffer_is_never_moved_away_in_silence(node: Node, how: str) -> None:
    if node.version == 20 and "transfer" in how.partition("(")[0]:
        how = "structuredClone(x.buffer)"  # Node 20 has no such method; a copy is a copy
    node.write(f"""
        const {{ watch }} = require('@memwatch/node');
        const port = new MessageChannel().port1;
        const x = watch(new Int32Array([7]));
        try {{ {how}; }} catch (e) {{ console.log(e.name); }}
        x[0] += 1;
        console.log(x.length, x[0], new ArrayBuffer(8).slice(0).byteLength);
        port.close();
    """)
    *refusal, last = node.run("program.js").stdout.splitlines()
    assert last == "1 8 8"
    assert refusal in ([["TypeError"], ["DataCloneError"]] if node.version > 20 else [[]])
    assert [event.new for event in node.read().of("x")] == [[8]]


LARGE = """\
const { watch } = require('@memwatch/node');
for (const bytes of [65528, 65536, 65544, 1 << 20])
  for (const Class of [Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array,
                       Float32Array, Float64Array, BigInt64Array, BigUint64Array]) {
    const length = bytes / Class.BYTES_PER_ELEMENT, of = Class.name.startsWith('Big') ? BigInt : Number;
    const array = watch(new Class(length), { name: `${Class.name} ${bytes}` });
    array[0] = of(1);
    array[length - 1] = of(2);
    array[512] = of(3);
    new DataView(array.buffer, array.byteOffset).setUint8(0, 0);
  }
"""


@ONCE
def test_element_of_an_array_of_any_size_is_shown_by_its_number_and_value(node: Node) -> None:
    node.write(LARGE)
    node.run("program.js")
    journal = node.read()
    assert not journal.lost
    assert len(journal.watched) == 4 * 11
    for watched in journal.watched:
        kind, size = watched.variable.name.split()
        width = struct.calcsize(FORMATS[kind])
        first, last, middle, *_, byte = [e for e in journal.events if e.variable == watched.variable.name]
        parts = [e.part and (e.part.name, e.part.old, e.part.new) for e in (first, last, middle)]
        assert parts == [("[0]", 0, 1), (f"[{int(size) // width - 1}]", 0, 2), ("[512]", 0, 3)], watched.variable.name
        assert byte.part is not None
        assert byte.part.name == "[0]"
        assert (first.new is None) == (int(size) > 65_536)
