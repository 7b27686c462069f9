// Every kind of value × every way to store, each watched by itself: says in JSON what its function was told. breaks.js [worker]
'use strict';
const fs = require('node:fs');
const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads');
const { watch, unwatch } = require('@memwatch/node');

const KINDS = ['Int8Array', 'Uint8Array', 'Uint8ClampedArray', 'Int16Array', 'Uint16Array', 'Int32Array', 'Uint32Array', 'BigInt64Array',
  'BigUint64Array', 'Float32Array', 'Float64Array', ...(globalThis.Float16Array ? ['Float16Array'] : []), 'Buffer', 'DataView', 'ArrayBuffer'];
const make = (kind) => (kind === 'Buffer' ? Buffer.alloc(32) : kind === 'DataView' ? new DataView(new ArrayBuffer(32)) : kind === 'ArrayBuffer' ? new ArrayBuffer(32) : new globalThis[kind](4));
const foreign = process.argv.includes('foreign') && require('./foreign.node');
fs.writeFileSync(`bytes${isMainThread ? 0 : 1}`, Buffer.alloc(32, 1));
const file = fs.openSync(`bytes${isMainThread ? 0 : 1}`);
const bytes = (x) => (ArrayBuffer.isView(x) ? new Uint8Array(x.buffer) : new Uint8Array(x));
const one = (x) => (x instanceof BigInt64Array || x instanceof BigUint64Array ? 5n : 5);
const isArray = (x) => ArrayBuffer.isView(x) && !(x instanceof DataView);

// Each writes to the element at 1, or to what lies there; the first byte is never 0 behind it.
const WAYS = {
  element(x) { if (isArray(x)) x[1] = one(x); },
  twice(x) { if (isArray(x)) { x[1] = one(x); x[1]++; } },
  view(x) { new DataView(bytes(x).buffer).setInt8(x.BYTES_PER_ELEMENT ?? 1, 5); },
  fill(x) { if (isArray(x)) x.fill(one(x), 1, 2); },
  set(x) { if (isArray(x)) x.set([one(x)], 1); },
  bytes(x) { bytes(x).set([5], x.BYTES_PER_ELEMENT ?? 1); },
  atomics(x) { if (isArray(x) && Number.isInteger(Number(one(x))) && !/Float|Clamped/.test(x.constructor.name)) Atomics.store(x, 1, one(x)); },
  buffer(x) { Buffer.from(bytes(x).buffer).writeUInt8(5, x.BYTES_PER_ELEMENT ?? 1); },
  write(x) { Buffer.from(bytes(x).buffer).write('\x05', x.BYTES_PER_ELEMENT ?? 1); },
  readSync(x) { fs.readSync(file, bytes(x), x.BYTES_PER_ELEMENT ?? 1, x.BYTES_PER_ELEMENT ?? 1, 0); },
  read(x) { return new Promise((done) => fs.read(file, bytes(x), x.BYTES_PER_ELEMENT ?? 1, x.BYTES_PER_ELEMENT ?? 1, 0, done)); },
  addon(x) { if (foreign && x instanceof Int32Array) foreign.count(x.subarray(1, 2)); },
  thread(x) { if (foreign && x instanceof Int32Array) { x[1] = 3; foreign.elsewhere(x.subarray(1, 2)); } },
};

const settle = () => new Promise((done) => setTimeout(done, 5));

async function main() {
  const told = [];
  for (const kind of KINDS) {
    for (const [way, store] of Object.entries(WAYS)) {
      const hits = [];
      const x = watch(make(kind), { name: `${kind}.${way}`, then: (hit) => hits.push(hit) });
      await store(x);
      for (let i = 0; i < 200 && hits.length < (way === 'thread' ? 2 : 1) && bytes(x).some((n) => n); i++) await settle();
      told.push({ kind, way, changed: bytes(x).some((n) => n), hits: hits.map((hit) => ({ ...hit, old: shown(hit.old), new: shown(hit.new) })) });
      unwatch(x);
    }
  }
  return told;
}

const shown = (value) => (typeof value === 'bigint' ? `${value}n` : Buffer.isBuffer(value) ? value.toString('hex') : value);

if (!isMainThread) void main().then((told) => parentPort.postMessage(told));
else if (process.argv.includes('worker')) new Worker(__filename, { argv: process.argv.slice(2), workerData }).on('message', (told) => console.log(JSON.stringify(told)));
else void main().then((told) => console.log(JSON.stringify(told)));
