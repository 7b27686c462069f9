// Random flows of control under labels and OpenTelemetry's spans, in which watched memory is written in all ways.
//
//   node requests.js SEED FLOWS
//
// Writes to told.json, for each variable and each of its stores, what was in force: by an AsyncLocalStorage that goes
// along with the labels, and by OpenTelemetry's API, if it is installed.
'use strict';

const { AsyncLocalStorage, AsyncResource } = require('node:async_hooks');
const crypto = require('node:crypto');
const { EventEmitter, once } = require('node:events');
const fs = require('node:fs');
const { Readable, Transform, pipeline } = require('node:stream');
const { setImmediate: immediate, setTimeout: sleep } = require('node:timers/promises');
const { MessageChannel } = require('node:worker_threads');
const { watch, label } = require('@memwatch/node');

let seed = Number(process.argv[2]), otel;
try {
  otel = require('@opentelemetry/api');
} catch { /* labels alone */ }

function random(n) {
  seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
  return (seed >>> 8) % n;
}

if (otel) {
  const { AsyncLocalStorageContextManager } = require('@opentelemetry/context-async-hooks');
  const { BasicTracerProvider } = require('@opentelemetry/sdk-trace-base');
  otel.context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  otel.trace.setGlobalTracerProvider(new BasicTracerProvider());
}
const tracer = otel?.trace.getTracer('test');

// ---- what is in force ------------------------------------------------------------------------------------------------

const mine = new AsyncLocalStorage(), other = new AsyncLocalStorage();
let labels = 0;

function labelled(f, ...args) {
  const text = `label ${++labels}`;
  return label(text, () => mine.run([text, ...(mine.getStore() ?? [])], f, ...args));
}

function spanned(f) {
  if (!otel) return f();
  const { context, trace, ROOT_CONTEXT } = otel;
  switch (random(6)) {
    case 0: return context.with(ROOT_CONTEXT, f);
    case 1: return context.with(trace.setSpan(context.active(), tracer.startSpan('set')), f);
    case 2: return context.with(context.active().setValue(Symbol.for('baggage'), 1), f);
    case 3: return context.with(trace.wrapSpanContext ? trace.setSpan(ROOT_CONTEXT, trace.wrapSpanContext({ traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331', traceFlags: 0 })) : ROOT_CONTEXT, f);
    default: return tracer.startActiveSpan('span', { root: random(3) === 0 }, (span) => {
      try {
        return f();
      } finally {
        span.end();
      }
    });
  }
}

const told = {};

function note(variable) {
  const span = otel?.trace.getActiveSpan()?.spanContext();
  (told[variable] ??= []).push([mine.getStore() ?? [], span?.traceId ?? '', span?.spanId ?? '']);
}

// ---- stores ----------------------------------------------------------------------------------------------------------

const ints = watch(new Int32Array(1)), bytes = watch(Buffer.alloc(1)), big = watch(new BigInt64Array(1));
const view = watch(new DataView(new ArrayBuffer(1))), read = watch(Buffer.alloc(1)), filled = watch(new Uint8Array(1));
const file = fs.openSync(__filename, 'r');
let n = 0;

const WAYS = [
  () => { note('ints'); ints[0] = ++n; },
  () => { note('bytes'); bytes.writeUInt8(++n & 255); },
  () => { note('big'); Atomics.add(big, 0, 1n); },
  () => { note('view'); view.setInt8(0, ++n & 127); },
  () => { note('read'); fs.readSync(file, read, 0, 1, 0); },
  () => { note('filled'); filled.fill(++n & 255); },
];

function store() {
  WAYS[random(WAYS.length)]();
}

// ---- flows -----------------------------------------------------------------------------------------------------------

const shared = new EventEmitter().setMaxListeners(0);
const loose = []; // promises that nobody awaits where they are made

function callback(begin) {
  return new Promise((done) => begin(() => { store(); done(); }));
}

async function* generator(depth) {
  store();
  yield 1;
  await flow(depth - 1);
  yield 2;
  store();
}

function* synchronous() {
  store();
  yield 1;
  store();
}

const STEPS = [
  async () => { await null; store(); },
  () => Promise.resolve().then(store).then(() => { throw new Error('x'); }).catch(store).finally(store),
  () => callback((f) => setTimeout(f, random(4))),
  () => callback(setImmediate),
  () => callback(process.nextTick),
  () => callback(queueMicrotask),
  () => callback((f) => { let times = 0; const timer = setInterval(() => { store(); if (++times === 2) { clearInterval(timer); f(); } }, 1); }),
  () => sleep(random(3)).then(store),
  () => immediate().then(store),
  () => callback((f) => fs.readFile(__filename, f)),
  () => fs.promises.readFile(__filename).then(store),
  () => callback((f) => crypto.randomBytes(8, f)),
  async () => { await { then(done) { store(); done(); } }; store(); },
  async (depth) => { for await (const each of generator(depth)) { store(); void each; } },
  () => { for (const each of synchronous()) { store(); void each; } },
  () => { const at = synchronous(); at.next(); labelled(() => at.next()); },
  () => { const emitter = new EventEmitter(); emitter.on('x', store); labelled(() => emitter.emit('x')); emitter.emit('x'); },
  async () => { const emitter = new EventEmitter(); setImmediate(() => emitter.emit('x')); await once(emitter, 'x'); store(); },
  () => { shared.once('shared', store); if (random(2)) shared.emit('shared'); },
  async () => { for await (const each of Readable.from(['a', 'b'])) { store(); void each; } },
  () => callback((f) => pipeline(Readable.from(['a']), new Transform({ transform(chunk, _, done) { store(); done(null, chunk); } }), async function* last(source) { for await (const each of source) { store(); yield each; } }, fs.createWriteStream('/dev/null'), f)),
  () => { const resource = new AsyncResource('X'); labelled(() => resource.runInAsyncScope(store)); },
  () => { const bound = AsyncResource.bind(store); labelled(bound); },
  () => { const snapshot = AsyncLocalStorage.snapshot(); labelled(() => snapshot(store)); },
  () => other.run('theirs', store),
  async () => { await other.run('theirs', async () => { store(); await null; store(); }); store(); },
  () => other.exit(store),
  () => { other.enterWith('theirs'); store(); },
  () => new Promise((done) => { const { port1, port2 } = new MessageChannel(); port1.once('message', () => { store(); port1.close(); done(); }); port2.postMessage(1); }),
  () => { labelled(() => { loose.push(flow(0), new Promise((done) => setTimeout(() => { store(); done(); }, 3))); }); },
  () => { try { labelled(() => { store(); throw new Error('x'); }); } catch { store(); } },
  async () => { try { await labelled(async () => { await null; store(); throw new Error('x'); }); } catch { store(); } },
  async (depth) => { await Promise.all(Array.from({ length: 3 }, () => labelled(flow, depth - 1))); },
  () => { if (otel) otel.context.bind(otel.trace.setSpan(otel.context.active(), tracer.startSpan('bound')), store)(); },
  async () => { if (!otel) return; const emitter = new EventEmitter(); otel.context.bind(otel.trace.setSpan(otel.context.active(), tracer.startSpan('emitter')), emitter); emitter.on('x', store); await null; emitter.emit('x'); },
];

async function flow(depth) {
  const steps = 1 + random(3);
  for (let i = 0; i < steps; i++) {
    const step = STEPS[random(STEPS.length)];
    const go = () => (depth > 0 && random(3) === 0 ? flow(depth - 1) : step(Math.max(depth, 0)));
    const kind = random(4);
    store();
    await (kind === 0 ? labelled(go) : kind === 1 ? spanned(go) : kind === 2 ? spanned(() => labelled(go)) : go());
    store();
  }
}

async function main() {
  await Promise.all(Array.from({ length: Number(process.argv[3]) }, () => (random(2) ? labelled(flow, 2) : flow(2))));
  await Promise.all(loose);
  store();
}

main().then(() => setTimeout(() => {
  globalThis.gc?.();
  store();
  fs.writeFileSync('told.json', JSON.stringify(told));
}, 20));
