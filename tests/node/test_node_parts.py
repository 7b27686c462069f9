"""Parts of buffers, and buffers whose memory stays where it is: refused with what to do, never copied without a word."""

from __future__ import annotations

import json
from typing import Any

from nodejs import ONCE, Node

VALUES = r"""
const { Worker, isMainThread, threadId, workerData } = require('node:worker_threads');
const { watch } = require('@memwatch/node');
const crypto = require('node:crypto'), fs = require('node:fs'), net = require('node:net'), zlib = require('node:zlib');

const memory = new WebAssembly.Memory({ initial: 1, maximum: 4 });
const sharedMemory = new WebAssembly.Memory({ initial: 1, maximum: 4, shared: true });
const ordinary = () => new ArrayBuffer(32);
const resizable = () => new ArrayBuffer(32, { maxByteLength: 64 });
const shared = () => new SharedArrayBuffer(32);
const growable = () => new SharedArrayBuffer(32, { maxByteLength: 64 });
const stores = { ordinary, resizable, shared, growable, wasm: () => memory.buffer, 'shared wasm': () => sharedMemory.buffer };
const views = [Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array, Float32Array, Float64Array,
  BigInt64Array, BigUint64Array, DataView, Buffer, class Money extends Float64Array {}];

function view(Class, store, whole) { // of all bytes, or of 8 to 24
  const [at, bytes] = whole ? [0, store.byteLength] : [8, 16];
  if (Class === Buffer) return Buffer.from(store, at, bytes);
  return new Class(store, at, bytes / (Class.BYTES_PER_ELEMENT ?? 1));
}

function made() {
  const values = {};
  for (const [kind, store] of Object.entries(stores)) {
    for (const Class of views) {
      values[`${kind}: all, ${Class.name}`] = view(Class, store(), true);
      values[`${kind}: part, ${Class.name}`] = view(Class, store(), false);
    }
    if (!kind.includes('shared') && kind !== 'growable') values[`${kind}: all, ArrayBuffer`] = store();
  }
  const text = (label) => Object.assign(values, label);
  text({ 'Buffer.from(text)': Buffer.from('hello'), 'Buffer.from(array)': Buffer.from([1, 2]), 'Buffer.from(buffer)': Buffer.from(Buffer.from('hello')) });
  text({ 'Buffer.alloc': Buffer.alloc(100), 'Buffer.allocUnsafe': Buffer.allocUnsafe(100).fill(1), 'Buffer.allocUnsafeSlow': Buffer.allocUnsafeSlow(100).fill(1) });
  text({ 'Buffer.concat': Buffer.concat([Buffer.from('a'), Buffer.from('b')]), 'buffer.subarray': Buffer.alloc(8).subarray(2), 'buffer.slice': Buffer.alloc(8).slice(0, 4) });
  text({ 'buffer.subarray of all': Buffer.alloc(8).subarray(0), 'array.slice': new Int32Array(8).slice(1, 3), 'array.subarray': new Int32Array(8).subarray(1, 3) });
  return values;
}

async function ofLibraries() {
  fs.writeFileSync(`small${threadId}`, 'x'.repeat(100));
  fs.writeFileSync(`large${threadId}`, 'x'.repeat(100_000));
  const values = {};
  for (const size of ['small', 'large']) {
    const file = `${size}${threadId}`;
    values[`readFileSync, ${size}`] = fs.readFileSync(file);
    values[`readFile, ${size}`] = await fs.promises.readFile(file);
    values[`read stream, ${size}`] = await new Promise((done) => fs.createReadStream(file).once('data', done));
  }
  values['socket chunk'] = await new Promise((done) => {
    const server = net.createServer((socket) => socket.end('hello')).listen(0, () => {
      net.connect(server.address().port).once('data', (chunk) => { server.close(); done(chunk); });
    });
  });
  values['gzip'] = zlib.gzipSync('hello');
  values['digest'] = crypto.createHash('sha1').update('hello').digest();
  values['TextEncoder'] = new TextEncoder().encode('hello');
  return values;
}

const bytes = (value) => new Uint8Array(value.buffer ?? value, value.byteOffset ?? 0, value.byteLength);
const hex = (value) => Buffer.from(bytes(value)).toString('hex');

function attempt(name, value, options) {
  try {
    const before = hex(value), x = watch(value, { name: `${threadId} ${name}`, ...options });
    const same = Object.getPrototypeOf(x) === Object.getPrototypeOf(value) && hex(x) === before && x !== value;
    const own = (x.byteOffset ?? 0) === 0 && (x.buffer ?? x).byteLength === value.byteLength;
    const written = bytes(x), n = Math.min(written.length, 500);
    for (let i = 0; i < 12; i++) written[(i * 7) % n] = 100 + i;
    return { before, after: hex(x), same, own, stayed: hex(value) === before };
  } catch (error) {
    return { error: `${error.name} ${error.message}` };
  }
}

async function main() {
  const outcomes = {};
  for (const [name, value] of Object.entries({ ...made(), ...await ofLibraries() })) {
    const buffer = value.buffer ?? value;
    outcomes[name] = {
      all: buffer instanceof ArrayBuffer && !buffer.resizable && buffer !== memory.buffer && buffer.byteLength === value.byteLength,
      plain: attempt(name, value),
      copy: attempt(`${name}, copy`, value, { copy: true }),
    };
  }
  fs.writeFileSync(`outcomes${threadId}`, JSON.stringify(outcomes));
  if (isMainThread) new Worker(__filename);
}
main();
"""
WHOLE = {"Buffer.alloc", "Buffer.allocUnsafeSlow", "buffer.subarray of all", "array.slice", "digest", "TextEncoder"}
PARTS = {"Buffer.from(text)", "Buffer.from(array)", "Buffer.from(buffer)", "Buffer.allocUnsafe", "Buffer.concat"}
PARTS |= {"buffer.subarray", "buffer.slice", "array.subarray", "readFileSync, small", "gzip"}
WHY = {
    "ordinary": "bytes 8 to 24 of an ArrayBuffer of 32",
    "resizable": "resizable",
    "shared": "a view of a SharedArrayBuffer",
    "growable": "a view of a SharedArrayBuffer",
    "wasm": "memory of WebAssembly",
    "shared wasm": "a view of a SharedArrayBuffer",
}


def test_what_is_all_of_an_ordinary_buffer_is_watched_and_the_rest_only_as_the_copy_that_was_asked_for(
    node: Node,
) -> None:
    """Kinds of buffers by classes of views by all or a part, and what libraries hand out; main thread and worker."""
    node.write(VALUES)
    node.run("program.js")
    journal = node.read()
    assert not journal.lost
    watched = {watched.variable.name for watched in journal.watched}
    for thread in (0, 1):
        outcomes: dict[str, Any] = json.loads((node.folder / f"outcomes{thread}").read_text())
        assert len(outcomes) > 180
        assert {name for name in WHOLE if outcomes[name]["all"]} == WHOLE
        assert not {name for name in PARTS if outcomes[name]["all"]}
        for name, outcome in outcomes.items():
            kind, separator, which = name.partition(": ")
            assert not separator or outcome["all"] == (kind == "ordinary" and which.startswith("all")), name
            refused = outcome["plain"].get("error", "")
            assert (f"{thread} {name}" in watched) == outcome["all"] == (not refused), name
            if refused:
                why = WHY.get(
                    kind, "Buffer.alloc()" if name != "array.subarray" else "bytes 4 to 12 of an ArrayBuffer of 32"
                )
                assert refused.startswith(f"TypeError '{thread} {name}' can't be watched where it is: "), refused
                assert why in refused, refused
                assert refused.endswith("x = watch(x, { copy: true })"), refused
            else:
                replayed(journal, f"{thread} {name}", outcome["plain"])
            replayed(journal, f"{thread} {name}, copy", outcome["copy"])


def replayed(journal: Any, name: str, outcome: dict[str, Any]) -> None:
    assert outcome.get("error") is None, outcome
    assert outcome["same"], name
    assert outcome["own"], name
    assert outcome["stayed"], name
    before, after = bytes.fromhex(outcome["before"]), bytes.fromhex(outcome["after"])
    assert before != after, name
    assert len(journal.of(name)) == 12, name
    assert journal.replayed(name, len(before), before) == after, name


LIBRARY = """\
const { watch } = require('@memwatch/node');
const library = { make() { return MAKE; }, write(part) { part[0] = 7; } };
WATCH
"""


def test_part_that_a_library_goes_on_writing_to_ends_the_program_instead_of_an_empty_list_of_events(node: Node) -> None:
    node.write(
        LIBRARY.replace("MAKE", "Buffer.from('hello')").replace(
            "WATCH", "let part = library.make();\nconst w = watch(part);\nlibrary.write(part);"
        )
    )
    done = node.run("program.js", check=1)
    assert "TypeError: 'w' can't be watched where it is: it is bytes " in done.stderr
    assert "program.js:4" in done.stderr


@ONCE
def test_each_remedy_that_the_refusal_names_shows_the_write(node: Node) -> None:
    whole = "const all = watch(new ArrayBuffer(64), { name: 'part' }); library.write(new Uint8Array(all, 8, 4));"
    remedies = {
        "copy": ("Buffer.from('hello')", "let part = library.make(); part = watch(part, { copy: true });", 0),
        "own": ("Buffer.alloc(5)", "let part = library.make(); part = watch(part);", 0),
        "whole": ("null", whole, 8),
        "shrunk": ("new Uint8Array(100)", "let part = watch(library.make().subarray(8, 12), { copy: true });", 0),
    }
    for name, (make, watch, _) in remedies.items():
        write = "" if name == "whole" else "library.write(part);"
        node.write(LIBRARY.replace("MAKE", make).replace("WATCH", f"{{ {watch} {write} }}"), f"{name}.js")
    node.write("\n".join(f"require('./{name}.js');" for name in remedies))
    node.run("program.js")
    journal = node.read()
    assert [(event.variable, event.offset, event.after) for event in journal.events] == [
        ("part", offset, b"\7") for _, _, offset in remedies.values()
    ]
    files = [event.site and event.site.file.rpartition("/")[2] for event in journal.events]
    assert files == [f"{name}.js" for name in remedies]


@ONCE
def test_copy_is_another_array_than_the_memory_it_was_made_of(node: Node) -> None:
    """What others write to that isn't in the copy, nor an event; what is written to the copy isn't in that."""
    node.write("""
        const { watch, unwatch } = require('@memwatch/node');
        const memory = new WebAssembly.Memory({ initial: 1 });
        const shared = new Int32Array(new SharedArrayBuffer(16)), plain = new Int32Array(memory.buffer, 16, 2);
        const sources = { shared, part: shared.subarray(1), wasm: plain };
        for (const [name, source] of Object.entries(sources)) {
          source[0] = 5;
          const copy = watch(source, { name, copy: true });
          source[0] = 6;
          copy[0]++;
          console.log(source[0], copy[0], copy.buffer instanceof ArrayBuffer, unwatch(copy)[0]);
        }
        memory.grow(1);
        console.log(plain.length, new Int32Array(memory.buffer)[4]);
    """)
    assert node.run("program.js").stdout == "6 6 true 6\n" * 3 + "0 6\n"
    assert [(event.variable, event.old[0], event.new[0]) for event in node.read().events] == [
        (name, 5, 6) for name in ("shared", "part", "wasm")
    ]
