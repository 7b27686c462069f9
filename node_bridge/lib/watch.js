// watch(), unwatch(), and passing a watched array to a worker.
'use strict';

const { types } = require('node:util');
const native = require('./native');
const sessions = require('./session');
const { callSite, original, assignedName } = require('./callsite');
const { SessionError, core } = require('./errors');
const { pin } = require('./pin');

const FLAGS = { trackThreads: 1, trackSQL: 2 };
const OPTIONS = ['trackThreads', 'trackSQL', 'mutationDepth', 'name'];
const NAME_MAX = 1024; // characters: as memwatch_core/records.py
const SIZE_MAX = 256 * 2 ** 20; // its contents go into the journal when the watch begins
const TAG = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Uint8Array.prototype), Symbol.toStringTag).get;
const SHARED = 'memwatch shared array';

const { watched } = native.common; // ArrayBuffer over watched pages -> {id, name, sql}

function watch(value, options) {
  const kind = kindOf(value);
  const buffer = kind === 'ArrayBuffer' ? value : value.buffer;
  const generated = callSite(watch), site = original(generated);
  const name = nameOf(options, kind, ...(site ? [site, generated] : []));
  check(value, buffer, name);
  const { settings } = sessions.current();
  const flags = (flag(options, 'trackThreads', settings.watch.track_threads) ? FLAGS.trackThreads : 0)
    | (flag(options, 'trackSQL', settings.watch.track_sql) ? FLAGS.trackSQL : 0);
  if (flags & FLAGS.trackSQL) require('./drivers').start(); // not before: most programs do without
  const [start, stop] = depthOf(options, settings, value.byteLength, name);
  const [id, pages] = core(`'${name}' can't be watched`, () =>
    native.watch(buffer, value.byteOffset ?? 0, value.byteLength, flags, start, stop));
  remember(pages, { id, name, sql: Boolean(flags & FLAGS.trackSQL) });
  native.describe(id, JSON.stringify({
    name,
    serializer: 'typedarray',
    options: { class: kind },
    size: value.byteLength,
    site: site && { file: site.file, line: site.line, function: site.function, column: site.column },
    thread_ident: native.threadId,
    thread: native.threadLabel,
  }));
  return over(pages, kind, Object.getPrototypeOf(value));
}

function unwatch(array) {
  const kind = kindOf(array);
  const buffer = kind === 'ArrayBuffer' ? array : array.buffer;
  const variable = watched.get(buffer);
  if (!variable) throw new TypeError('unwatch() takes what watch() returned, or a view of it; this value isn\'t watched');
  if (!native.unwatch(variable.id)) throw new SessionError(`'${variable.name}': its watch has ended already`);
  const copy = buffer.slice(array.byteOffset ?? 0, (array.byteOffset ?? 0) + array.byteLength);
  return over(copy, kind, Object.getPrototypeOf(array));
}

/** What postMessage() or workerData can carry to another thread, for receive(). */
function share(array) {
  const kind = kindOf(array);
  const variable = watched.get(kind === 'ArrayBuffer' ? array : array.buffer);
  if (!variable) throw new TypeError('share() takes what watch() returned, or a view of it; this value isn\'t watched');
  if (!native.share(variable.id)) throw new SessionError(`'${variable.name}': its watch has ended`);
  const length = kind === 'ArrayBuffer' || kind === 'DataView' || kind === 'Buffer' ? array.byteLength : array.length;
  return { kind: SHARED, process: process.pid, id: variable.id, name: variable.name, sql: variable.sql, class: kind, offset: array.byteOffset ?? 0, length };
}

/** The array that share() was given, in this thread: over the same pages. */
function receive(shared) {
  if (shared?.kind !== SHARED) throw new TypeError('receive() takes what share() returned');
  if (shared.process !== process.pid) throw new TypeError(`'${shared.name}' was shared in process ${shared.process}: watched memory can't be passed to another process`);
  sessions.current();
  const pages = native.receive(shared.id);
  if (!pages) throw new SessionError(`'${shared.name}': its watch has ended`);
  remember(pages, { id: shared.id, name: shared.name, sql: shared.sql });
  if (shared.sql) require('./drivers').start();
  return over(pages, shared.class, undefined, shared.offset, shared.length);
}

function remember(pages, variable) {
  watched.set(pages, variable);
  native.common.begin();
  pin(pages);
}

// ---- what can be watched -------------------------------------------------------------------------------------------

/** "Int32Array", "Buffer", "DataView", "ArrayBuffer"; a TypeError for anything else. */
function kindOf(value) {
  if (ArrayBuffer.isView(value)) {
    if (types.isSharedArrayBuffer(value.buffer)) throw new TypeError(refusal('a view of a SharedArrayBuffer'));
    return Buffer.isBuffer(value) ? 'Buffer' : TAG.call(value) ?? 'DataView';
  }
  if (types.isArrayBuffer(value)) return 'ArrayBuffer';
  throw new TypeError(refusal(types.isSharedArrayBuffer(value) ? 'a SharedArrayBuffer' : describe(value)));
}

function describe(value) {
  if (value === null || typeof value === 'undefined') return String(value);
  if (typeof value === 'object') return `an object (${value.constructor?.name || 'without a class'})`;
  return `a ${typeof value}`;
}

function refusal(what) {
  if (what.includes('SharedArrayBuffer')) {
    return `${what} can't be watched: it has other users who would go on writing to it unseen. Watch an ordinary array and `
      + 'pass it to workers with share() and receive()';
  }
  if (what.includes('(Memory)')) return 'a WebAssembly.Memory can\'t be watched: its code has the address of the memory built in';
  const number = what === 'a number' || what === 'a bigint' || what === 'a boolean';
  const field = what.startsWith('an object') || what.startsWith('a function');
  return `${what} can't be watched: only values backed by a buffer can (typed arrays, Buffer, DataView, ArrayBuffer). `
    + (number ? 'Keep a number in an array: let x = watch(new Float64Array(1)); x[0] = 5'
      : field ? 'Keep the field that matters in one: this.total = watch(new Float64Array(1)); then this.total[0] = 5, or an accessor, get total() and set total(n) over it (docs/node.md, "Objects")'
        : 'Keep its numbers in a typed array');
}

function check(value, buffer, name) {
  if (watched.has(buffer)) throw new TypeError(`'${name}' is watched already: use it as it is; views of it are watched too`);
  if (buffer.resizable) throw new TypeError(`'${name}' can't be watched: its buffer is resizable, and watched pages can't move. Copy it: watch(value.slice())`);
  if (!native.isDetachable(buffer)) throw new TypeError(`'${name}' can't be watched: it is the memory of WebAssembly, whose code has its address built in. Copy it: watch(value.slice())`);
  if (isDetached(buffer)) throw new TypeError(`'${name}' can't be watched: its buffer is detached (it was transferred)`);
  if (value.byteLength === 0) throw new TypeError(`'${name}' can't be watched: it has length 0, so nothing can be written to it`);
  if (value.byteLength > SIZE_MAX) throw new RangeError(`'${name}' can't be watched: ${value.byteLength} bytes are more than ${SIZE_MAX}. Watch the part that matters: watch(value.slice(from, to))`);
}

function isDetached(buffer) {
  if (buffer.byteLength) return false;
  try {
    return new Uint8Array(buffer) === null;
  } catch {
    return true;
  }
}

// ---- options -------------------------------------------------------------------------------------------------------

function nameOf(options, kind, ...sites) {
  if (options !== undefined && (options === null || typeof options !== 'object')) {
    throw new TypeError(`watch(value, options): options is an object such as {name: "total"}, not ${describe(options)}`);
  }
  for (const key of Object.keys(options ?? {})) {
    if (OPTIONS.includes(key)) continue;
    const meant = OPTIONS.find((option) => option.toLowerCase() === key.toLowerCase().replaceAll('_', ''));
    throw new TypeError(`watch(value, options): no option '${key}'; ${meant ? `did you mean '${meant}'?` : `there are ${OPTIONS.join(', ')}`}`);
  }
  const name = options?.name;
  if (name === undefined) return sites.reduce((found, site) => found ?? assignedName(site), undefined)?.slice(0, NAME_MAX) ?? kind;
  if (typeof name !== 'string' || !name) throw new TypeError(`watch(value, options): name is a string, not ${describe(name)}`);
  if (name.length > NAME_MAX) throw new RangeError(`watch(value, options): a name of ${name.length} characters; at most ${NAME_MAX}`);
  return name;
}

function flag(options, key, otherwise) {
  const value = options?.[key];
  if (value === undefined) return otherwise;
  if (typeof value !== 'boolean') throw new TypeError(`watch(value, options): ${key} is true or false, not ${describe(value)}`);
  return value;
}

/** Bytes [start, stop); stop -1 is the end. */
function depthOf(options, settings, size, name) {
  const chosen = options?.mutationDepth;
  const depth = chosen === undefined ? settings.watch.mutation_depth : chosen;
  if (depth === 'FULL') return [0, -1];
  const whole = (n) => Number.isSafeInteger(n) && n >= 0;
  if (!Array.isArray(depth) || depth.length !== 2 || !whole(depth[0]) || !whole(depth[1]) || depth[0] >= depth[1]) {
    throw new TypeError(`'${name}': mutationDepth is "FULL" or a range of bytes such as [0, 8], not ${JSON.stringify(depth) ?? String(depth)}`);
  }
  if (depth[0] >= size) throw new RangeError(`'${name}': mutationDepth [${depth}] contains no byte of the value, which has ${size}`);
  return depth;
}

// ---- the same class back --------------------------------------------------------------------------------------------

function over(buffer, kind, prototype, offset = 0, length = undefined) {
  let array = buffer;
  if (kind === 'Buffer') array = Buffer.from(buffer, offset, length);
  else if (kind !== 'ArrayBuffer') array = new globalThis[kind](buffer, offset, length);
  if (prototype && Object.getPrototypeOf(array) !== prototype) Object.setPrototypeOf(array, prototype);
  return array;
}

module.exports = { watch, unwatch, share, receive };
