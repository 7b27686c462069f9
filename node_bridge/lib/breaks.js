// watch(x, { when: 'new < 0', then: 'break' }): what is done at once when a watched value is written to. The core judges each
// event; the addon acts at the next point where that is safe (src/breaks.cc). Loaded when it is asked for.
'use strict';

const native = require('./native');
const { compile } = require('./conditions');
const { names, parted, read } = require('./conditions_text');
const { ConditionError, core } = require('./errors');
const { repr } = require('./like_python');
const { say } = require('./printed');
const { stop } = require('./stop');

const ACTIONS = { dump: 0, break: 1 };
const CALL = 2;
const LETTERS = {
  Int8Array: 'b', Uint8Array: 'B', Uint8ClampedArray: 'B', Buffer: 'B', Int16Array: 'h', Uint16Array: 'H', Int32Array: 'i',
  Uint32Array: 'I', BigInt64Array: 'q', BigUint64Array: 'Q', Float16Array: 'e', Float32Array: 'f', Float64Array: 'd',
};
const SIZES = { b: 1, B: 1, h: 2, H: 2, e: 2, i: 4, I: 4, f: 4, q: 8, Q: 8, d: 8 };
const ORIGINS = [undefined, 'announced', 'store', 'syscall', 'kernel', 'found'];

/** handle -> { then, variable, kind, when, secret }: functions to be called in this thread. */
const functions = new Map();
let swept = 16;
let ready = false;
const told = new Set();

/** @typedef {{ when?: string, then: string | Function, sql: boolean }} Asked */

/**
 * What a call of watch() asks for. Throws before anything is watched.
 * @returns {Asked}
 */
function asked({ when, then }) {
  const used = when === undefined ? new Set() : names(read(when));
  if (then !== undefined && typeof then !== 'function' && !Object.hasOwn(ACTIONS, then)) throw refused(then);
  return { when, then: then ?? 'break', sql: used.has('statement') };
}

function refused(then) {
  const shown = typeof then === 'string' ? repr(then) : typeof then;
  if (then === 'throw' || then === 'raise') {
    return new ConditionError([`then=${shown}: a store can't throw in JavaScript: V8 has no way to leave the code that stores by an exception, `
      + 'and where it can be left, the program is elsewhere. then: "break" stops it in a debugger; a function is called with what was written']);
  }
  return new ConditionError([`then=${shown}: there is no such action; it is one of 'break', 'dump', or a function that is called with what was written`]);
}

/** In this thread: functions may be called, and the debugger stops. */
function prepare() {
  if (ready) return;
  ready = true;
  native.prepareBreaks(deliver, stop, native.threadLabel);
  process.on('exit', deliver); // what is met last
}

/**
 * Has each event of a variable judged.
 * @param {{ id: number, name: string, kind: string, bytes: number, secret: boolean, sql: boolean }} variable
 * @param {Asked} how
 */
function arm(variable, { when, then, sql }) {
  if (sql && !variable.sql) throw new ConditionError([`'${variable.name}' is watched without SQL, so statement is never known: trackSQL: true, --track-sql`]);
  if (sql) native.common.judged = true;
  const letter = LETTERS[variable.kind] ?? '', size = SIZES[letter] ?? 0;
  const root = read(when ?? 'changed');
  // new[3] asks for a number by its place, new for the one that is written.
  const whole = !size || hasKeys(root);
  const count = size ? variable.bytes / size : 0;
  const shape = { kind: !size ? 'other' : whole ? 'struct' : 'number', variable: variable.name, letter, size, count, secret: variable.secret };
  const program = compile(when ?? 'changed', shape);
  prepare();
  sweep();
  const action = typeof then === 'function' ? CALL : ACTIONS[then];
  const handle = core(`'${variable.name}' can't be judged`, () => native.arm(variable.id, program, whole ? 0 : size, action, letter.charCodeAt(0) || 0, size, variable.name, when, listens()));
  if (handle === undefined) throw new RangeError(`'${variable.name}': there are too many conditions in this process, or threads that have some`);
  if (action === CALL) functions.set(handle, { then, variable: variable.name, kind: variable.kind, when, secret: variable.secret });
}

/** Whether a debugger can attach: --inspect, inspector.open(). */
function listens() {
  return Boolean(process.features.inspector && require('node:inspector').url());
}

function hasKeys(root) {
  return ((root.value === 'new' || root.value === 'old') && root.kind === 'name' && root.keys.length > 0) || root.parts.some(hasKeys);
}

/** Functions of watches that have ended. */
function sweep() {
  if (functions.size < swept) return;
  for (const handle of functions.keys()) if (!native.isArmed(handle)) functions.delete(handle);
  swept = Math.max(16, 2 * functions.size);
}

/** Conditions of the session for all variables, or, as 'order.*: new < 0', for some. One that doesn't fit isn't judged of this. */
function bySession(variable, { when: conditions, then: chosen }) {
  const then = chosen === 'raise' ? 'dump' : chosen;
  if (conditions.length && then !== chosen) sayOnce(`${refused(chosen).message}. Here it prints the stack`);
  for (const text of conditions) {
    const [name, when] = parted(text);
    if (name !== undefined && !fits(name, variable.name)) continue;
    try {
      arm(variable, { when, then, sql: names(read(when)).has('statement') });
    } catch (error) {
      if (!(error instanceof ConditionError)) throw error;
      sayOnce(`when=${repr(when)} isn't judged of ${variable.name}: ${error.why}`);
    }
  }
}

function sayOnce(line) {
  if (told.has(line)) return;
  told.add(line);
  say(line);
}

/** As fnmatch has it, but for brackets, which are themselves. */
function fits(pattern, name) {
  const source = pattern.replace(/[\\^$.+()[\]{}|]/g, '\\$&').replaceAll('*', '[^]*').replaceAll('?', '[^]');
  return new RegExp(`^${source}$`, 'u').test(name);
}

// ---- when one is met -----------------------------------------------------------------------------------------------

/** In a microtask, in the loop, or at the exit. */
function deliver() {
  call(native.takeHits());
}

/** What a function throws, this throws; the others are called nonetheless. */
function call(hits) {
  native.acting(true);
  try {
    for (let hit; (hit = hits.shift());) {
      const of = functions.get(hit[0]);
      if (of) Reflect.apply(of.then, undefined, [hitOf(hit, of)]);
    }
  } finally {
    native.acting(false);
    if (hits.length) queueMicrotask(() => call(hits));
  }
}

function hitOf([, index, offset, old, next, time, more, file, line, name, thread, tid, how, changed], { variable, kind, when, secret }) {
  const value = (bytes) => (bytes && index >= 0 ? numberOf(bytes, kind) : bytes);
  return Object.freeze({
    variable,
    path: index >= 0 ? `${variable}[${index}]` : variable,
    index: index >= 0 ? index : undefined,
    offset,
    old: value(old),
    new: value(next),
    changed,
    thread,
    tid,
    site: file === undefined ? undefined : Object.freeze({ file, line, function: name }),
    origin: ORIGINS[how],
    when,
    time,
    more,
    secret,
  });
}

function numberOf(bytes, kind) {
  const type = kind === 'Buffer' ? Uint8Array : globalThis[kind];
  return new type(new Uint8Array(bytes).buffer)[0];
}

module.exports = { arm, asked, bySession, prepare };
