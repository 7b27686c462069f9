// watch(), unwatch(), and passing watched arrays to workers.
'use strict';

const { types } = require('node:util');
const native = require('./native');
const sessions = require('./session');
const { callSite, original, assignedName } = require('./callsite');
const { SessionError, core } = require('./errors');
const { pin, prepare } = require('./pin');
const { isSecret } = require('./settings');
const { lookOut } = require('./spans');

const FLAGS = { trackThreads: 1, trackSQL: 2, secret: 16 | 32 }; // memwatch.h: MW_SECRET, MW_MASK_BYTES
const OPTIONS = ['trackThreads', 'trackSQL', 'mutationDepth', 'name', 'copy', 'secret', 'when', 'then'];
const NAME_MAX = 1024; // characters, as in memwatch_core/records.py
const SIZE_MAX = 256 * 2 ** 20; // the contents go into the journal when the watch begins
const { get: TAG } = /** @type {any} */ (Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Uint8Array.prototype), Symbol.toStringTag));
const SHARED = 'memwatch shared array';
const { Memory } = globalThis.WebAssembly ?? {}; // missing with node --jitless
const SHARING = 'other threads would go on writing to it unseen. Watch an ordinary array and pass it to workers with share() and receive()';
const BUILT_IN = 'its code has the address of the memory built in, and V8 protects the pages anew when it grows';

const { watched } = native.common; // ArrayBuffer over watched pages -> {id, name, sql}

function watch(value, options) {
  const kind = kindOf(value);
  const buffer = kind === 'ArrayBuffer' ? value : value.buffer;
  const generated = callSite(watch), site = original(generated);
  const name = nameOf(options, kind, ...(site ? [site, generated] : []));
  check(value, kind, buffer, name, flag(options, 'copy', false));
  const asked = options?.when === undefined && options?.then === undefined ? undefined : require('./breaks').asked(options);
  prepare();
  const { settings } = sessions.current();
  const flags = (flag(options, 'trackThreads', settings.watch.track_threads) ? FLAGS.trackThreads : 0)
    | (flag(options, 'trackSQL', asked?.sql || settings.watch.track_sql) ? FLAGS.trackSQL : 0)
    | (flag(options, 'secret', false) || isSecret(settings.privacy.variables, name) ? FLAGS.secret : 0);
  if (flags & FLAGS.trackSQL) require('./drivers').start(); // not before: most programs don't need it
  const [start, stop] = depthOf(options, settings, value.byteLength, name);
  const [from, at] = types.isSharedArrayBuffer(buffer) ? [unshared(value), 0] : [buffer, value.byteOffset ?? 0];
  const [id, pages] = core(`'${name}' can't be watched`, () => native.watch(from, at, value.byteLength, flags, start, stop));
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
  if (asked || settings.watch.when.length) judge(pages, asked, settings.watch, { kind, bytes: value.byteLength, secret: Boolean(flags & FLAGS.secret) });
  return over(pages, kind, Object.getPrototypeOf(value));
}

/** Has its events judged, as a call of watch() and the session ask for. Where the call's condition is refused, nothing is watched. */
function judge(pages, asked, bySession, more) {
  const breaks = require('./breaks'), variable = Object.assign(watched.get(pages), more);
  try {
    if (asked) breaks.arm(variable, asked);
    breaks.bySession(variable, bySession);
  } catch (error) {
    native.unwatch(variable.id);
    throw error;
  }
  variable.judged = true;
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

/** A handle for receive() that postMessage() or workerData can pass to another thread. */
function share(array) {
  const kind = kindOf(array);
  const variable = watched.get(kind === 'ArrayBuffer' ? array : array.buffer);
  if (!variable) throw new TypeError('share() takes what watch() returned, or a view of it; this value isn\'t watched');
  if (!native.share(variable.id)) throw new SessionError(`'${variable.name}': its watch has ended`);
  const length = kind === 'ArrayBuffer' || kind === 'DataView' || kind === 'Buffer' ? array.byteLength : array.length;
  return { kind: SHARED, process: process.pid, id: variable.id, name: variable.name, sql: variable.sql, judged: variable.judged, class: kind, offset: array.byteOffset ?? 0, length };
}

/** The shared array in this thread, over the same pages. */
function receive(shared) {
  if (shared?.kind !== SHARED) throw new TypeError('receive() takes what share() returned');
  if (shared.process !== process.pid) throw new TypeError(`'${shared.name}' was shared in process ${shared.process}: watched memory can't be passed to another process`);
  prepare();
  sessions.current();
  const pages = native.receive(shared.id);
  if (!pages) throw new SessionError(`'${shared.name}': its watch has ended`);
  remember(pages, { id: shared.id, name: shared.name, sql: shared.sql, judged: shared.judged });
  if (shared.judged) require('./breaks').prepare(); // this thread can stop as well
  if (shared.sql) require('./drivers').start();
  return over(pages, shared.class, undefined, shared.offset, shared.length);
}

function remember(pages, variable) {
  watched.set(pages, variable);
  native.common.begin();
  lookOut();
  pin(pages);
}

// ---- what can be watched -------------------------------------------------------------------------------------------

/** "Int32Array", "Buffer", "DataView", "ArrayBuffer"; throws a TypeError for anything else. */
function kindOf(value) {
  if (ArrayBuffer.isView(value)) return Buffer.isBuffer(value) ? 'Buffer' : TAG.call(value) ?? 'DataView';
  if (types.isArrayBuffer(value)) return 'ArrayBuffer';
  if (types.isSharedArrayBuffer(value)) throw new TypeError(`a SharedArrayBuffer can't be watched: ${SHARING}. Or watch a copy: watch(new Uint8Array(buffer), { copy: true })`);
  if (Memory && value instanceof Memory) throw new TypeError(`a WebAssembly.Memory can't be watched: ${BUILT_IN}. Watch a copy of a part: watch(new Uint8Array(memory.buffer, at, length), { copy: true })`);
  throw new TypeError(refusal(describe(value)));
}

function describe(value) {
  if (value === null || typeof value === 'undefined') return String(value);
  if (typeof value === 'object') return `an object (${value.constructor?.name || 'without a class'})`;
  return `a ${typeof value}`;
}

function refusal(what) {
  const number = what === 'a number' || what === 'a bigint' || what === 'a boolean';
  const field = what.startsWith('an object') || what.startsWith('a function');
  return `${what} can't be watched: only values backed by a buffer can (typed arrays, Buffer, DataView, ArrayBuffer). `
    + (number ? 'Keep a number in an array: let x = watch(new Float64Array(1)); x[0] = 5'
      : field ? 'Keep the field that matters in one: this.total = watch(new Float64Array(1)); then this.total[0] = 5, or an accessor, get total() and set total(n) over it (docs/node.md, "Objects")'
        : 'Keep its numbers in a typed array');
}

function check(value, kind, buffer, name, copy) {
  const cannot = `'${name}' can't be watched`, size = sizeOf(value);
  if (watched.has(buffer)) throw new TypeError(`'${name}' is watched already: use it as it is; views of it are watched too`);
  if (isDetached(buffer)) throw new TypeError(`${cannot}: its buffer is detached (it was transferred)`);
  if (size === 0) throw new TypeError(`${cannot}: it has length 0, so nothing can be written to it`);
  if (size > SIZE_MAX) throw new RangeError(`${cannot}: ${size} bytes are more than ${SIZE_MAX}. Watch a copy of the part that matters: watch(x.subarray(from, to), { copy: true })`);
  const why = copy ? undefined : staying(value, kind, buffer);
  if (why) throw new TypeError(`${cannot} where it is: ${why}. Or go on with a copy: x = watch(x, { copy: true })`);
}

/**
 * Why a value's memory would remain writable elsewhere, and what to do about it; undefined if the value is all of an
 * ordinary buffer. V8 can't give such a buffer other memory. Nor can its pages be protected in place: malloc has other
 * data on them, or V8 resets their protection.
 */
function staying(value, kind, buffer) {
  if (types.isSharedArrayBuffer(buffer)) return `it is a view of a SharedArrayBuffer, and ${SHARING}`;
  if (buffer.resizable) return 'its buffer is resizable, and watched pages can\'t move. Watch an array over an ordinary one';
  if (!native.isDetachable(buffer)) return `it is memory of WebAssembly, and ${BUILT_IN}`;
  if (value.byteLength === buffer.byteLength) return undefined;
  const pool = kind === 'Buffer' ? ' (Node\'s small Buffers share one; Buffer.alloc() makes one of its own)' : '';
  return `it is bytes ${value.byteOffset} to ${value.byteOffset + value.byteLength} of an ArrayBuffer of ${buffer.byteLength}, and other views `
    + `of that would go on writing to them unseen${pool}. Watch all of the ArrayBuffer first, and make the views of what that returns`;
}

/** An ordinary ArrayBuffer with the bytes of a view. */
function unshared(view) {
  return new Uint8Array(new Uint8Array(view.buffer, view.byteOffset, view.byteLength)).buffer;
}

function sizeOf(value) {
  try {
    return value.byteLength;
  } catch {
    return 0; // a DataView that lies beyond its shrunk buffer
  }
}

function isDetached(buffer) {
  if (buffer.byteLength) return false;
  try {
    new Uint8Array(buffer);
    return false;
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

/** Bytes [start, stop); stop -1 means the end. */
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
