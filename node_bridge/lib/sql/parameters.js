// How a statement's parameters are recorded: as keyed hashes, as values, or not at all. Within a session, a value has
// the same hash in Python (memwatch_core/adapter/parameters.py defines the hashed forms), so it can be followed across
// programs.
//
// No code of the program is called: getters and proxies aren't inspected, and of an object of an unknown class only the
// class's name is recorded, as <Name>.
'use strict';

const { types } = require('node:util');
const native = require('../native');
const { keyed, digest } = require('./hashes');

const MOST = 64; // parameters recorded for one statement
const MOST_ROWS = 8; // rows recorded for one bulk statement
const LONGEST = 200; // characters recorded of one value, with "full"
const SHORT = 4096;
const END = 1 << 20;
const CHUNK = 16;

/** The key of parameters' hashes. */
function secretOf(key) {
  return keyed(key, 'parameter', '').subarray(0, 16);
}

/** The function (parameters, many) -> strings, one for each parameter or row; null: not recorded. */
function keeper(keep, key) {
  if (keep === 'none') return null;
  if (keep === 'full') return (parameters, many) => kept(parameters, many, shown);
  const secret = secretOf(key);
  const word = (value) => {
    const known = typeof value === 'string' ? native.hashText(secret, value) : typeof value === 'number' && native.hashNumber(secret, value);
    if (known) return known;
    const form = canonical(value);
    return form === null ? typeName(value) : native.hash(secret, form);
  };
  return (parameters, many) => kept(parameters, many, word);
}

/** Whether they are none, or a list of nothing but values that beginStatement() can hash. */
function hashable(parameters) {
  if (parameters === null || parameters === undefined) return true;
  if (!isList(parameters) || parameters.length > MOST) return false;
  for (let i = 0; i < parameters.length; i++) {
    const value = own(parameters, i), type = typeof value;
    if (type !== 'string' && type !== 'number' && value !== null && type !== 'boolean' && type !== 'undefined') return false;
    if (type === 'undefined' && !Object.hasOwn(parameters, i)) return false; // it would be looked for in prototypes
  }
  return true;
}

function kept(parameters, many, word) {
  if (parameters === null || parameters === undefined) return [];
  if (!many) return row(parameters, word);
  if (!isList(parameters)) return [typeName(parameters)];
  return cut(parameters, MOST_ROWS, (each) => row(each, word).join(' '), ' more rows');
}

function row(parameters, word) {
  if (parameters === null || parameters === undefined) return [];
  if (isList(parameters)) return cut(parameters, MOST, word, ' more');
  if (!isPlain(parameters)) return [typeName(parameters)];
  const names = Object.keys(parameters);
  return cut(names, MOST, (name) => `${wellFormed(name).slice(0, LONGEST)}=${word(own(parameters, name))}`, ' more');
}

function cut(list, most, word, what) {
  const found = [];
  for (let i = 0; i < list.length && i < most; i++) found.push(word(own(list, i)));
  if (list.length > most) found.push(`… ${list.length - most}${what}`);
  return found;
}

// ---- the program's objects, without running its code -----------------------------------------------------------------

const GETTER = Symbol('getter');

function own(object, name) {
  const property = Object.getOwnPropertyDescriptor(object, name);
  return property && !('value' in property) ? GETTER : property?.value;
}

function isList(value) {
  return !types.isProxy(value) && Array.isArray(value);
}

function isPlain(value) {
  if (typeof value !== 'object' || types.isProxy(value)) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype;
}

function typeName(value) {
  if (value === GETTER) return '<getter>';
  return `<${typeof value !== 'object' || value === null ? typeof value : className(value) ?? 'Object'}>`;
}

/** Undefined if unknown. */
function className(value) {
  if (types.isProxy(value)) return 'Proxy';
  for (let at = value; at && !types.isProxy(at); at = Object.getPrototypeOf(at)) {
    const constructor = own(at, 'constructor');
    if (typeof constructor !== 'function' || types.isProxy(constructor)) continue;
    const name = own(constructor, 'name');
    if (typeof name === 'string' && name) return wellFormed(name).slice(0, LONGEST);
  }
  return undefined;
}

function wellFormed(text) {
  return text.replace(/\p{Surrogate}/gu, '?');
}

/** The built-in getter of a property: a class of the program's may override it. */
function builtin(prototype, name) {
  const { get } = /** @type {any} */ (Object.getOwnPropertyDescriptor(prototype, name));
  return (value) => Reflect.apply(get, value, []);
}

const GETTERS = [Object.getPrototypeOf(Uint8Array.prototype), DataView.prototype].map((prototype) =>
  ['buffer', 'byteOffset', 'byteLength'].map((name) => builtin(prototype, name)));

function bytesOf(value) {
  if (types.isProxy(value)) return null;
  if (types.isAnyArrayBuffer(value)) return bytesIn(value, 0);
  if (!ArrayBuffer.isView(value)) return null;
  const [buffer, byteOffset, byteLength] = GETTERS[types.isDataView(value) ? 1 : 0].map((get) => get(value));
  return bytesIn(buffer, byteOffset, byteLength);
}

/** Not by Buffer.from(), which reads the buffer's length. */
function bytesIn(buffer, ...range) {
  return Object.setPrototypeOf(new Uint8Array(buffer, ...range), Buffer.prototype);
}

// ---- canonical forms -------------------------------------------------------------------------------------------------

/**
 * The same bytes for equal values; null for a value of an unknown class. At most a few KiB, whatever the value's size.
 */
function canonical(value, depth = 3) {
  switch (typeof value) {
    case 'undefined': return Buffer.from('0');
    case 'boolean': return Buffer.from(value ? 'n1' : 'n0');
    case 'number': return ofNumber(value);
    case 'bigint': return ofInteger(value);
    case 'string': return ofString(value);
    case 'object': break;
    default: return null;
  }
  if (value === null) return Buffer.from('0');
  const bytes = bytesOf(value);
  if (bytes) return long('b', bytes);
  if (types.isProxy(value)) return null;
  if (types.isDate(value)) return ofDate(value);
  if (!depth) return null;
  if (isList(value)) {
    return several('l', Array.from({ length: Math.min(value.length, CHUNK) }, (_, i) => own(value, i)), value.length, depth);
  }
  if (!isPlain(value)) return null;
  const names = Object.keys(value), first = names.slice(0, CHUNK);
  return several('m', [...first, ...first.map((name) => own(value, name))], names.length, depth);
}

function several(kind, values, length, depth) {
  const parts = [Buffer.from(`${kind}${length}`)];
  for (const value of values) {
    const part = canonical(value, depth - 1);
    if (!part) return null;
    parts.push(Buffer.from(`,${part.length}:`), part);
  }
  return Buffer.concat(parts);
}

function ofNumber(value) {
  if (Number.isInteger(value)) return Number.isSafeInteger(value) ? Buffer.from(`n${value}`) : ofInteger(BigInt(value));
  if (!Number.isFinite(value)) return Buffer.from(Number.isNaN(value) ? 'nnan' : value > 0 ? 'ninf' : 'n-inf');
  const bytes = Buffer.alloc(9, 'f');
  bytes.writeDoubleLE(value, 1);
  return bytes;
}

function ofInteger(value) {
  const magnitude = value < 0n ? -value : value;
  return magnitude >> 64n ? long('n', Buffer.from(value.toString(16))) : Buffer.from(`n${value}`);
}

function ofString(value) {
  if (/\p{Surrogate}/u.test(value)) return long('w', Buffer.from(value, 'utf16le')); // a lone surrogate, which UTF-8 can't encode
  return long('s', Buffer.from(value));
}

/** Replaces 4 KiB and more by a digest; of more than 2 MiB, only the two ends are digested. */
function long(kind, data) {
  if (data.length < SHORT) return Buffer.concat([Buffer.from(kind), data]);
  const ends = data.length <= 2 * END ? data : Buffer.concat([data.subarray(0, END), data.subarray(data.length - END)]);
  return Buffer.concat([Buffer.from(`${kind}${data.length}/`), digest(ends)]);
}

const { getTime, toISOString } = Date.prototype;

/** A moment in UTC as Python writes it: 2026-11-24T12:00:00+00:00, with microseconds if there are any. */
function ofDate(value) {
  const ms = getTime.call(value);
  if (Number.isNaN(ms)) return null;
  const [seconds, fraction] = toISOString.call(value).slice(0, -1).split('.');
  return Buffer.from(`d${seconds}${fraction === '000' ? '' : `.${fraction}000`}+00:00`);
}

// ---- values, if they are asked for -----------------------------------------------------------------------------------

function shown(value, depth = 3) {
  if (value === null || value === undefined) return String(value);
  if (typeof value === 'string') return JSON.stringify(wellFormed(value.slice(0, LONGEST))) + (value.length > LONGEST ? '…' : '');
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (typeof value === 'bigint') return String(value).slice(0, LONGEST);
  if (typeof value !== 'object' || types.isProxy(value)) return typeName(value);
  const bytes = bytesOf(value);
  if (bytes) return `0x${bytes.toString('hex', 0, LONGEST / 2)}${bytes.length > LONGEST / 2 ? '…' : ''}`;
  if (types.isDate(value)) return ofDate(value)?.toString('latin1', 1) ?? '<Date>';
  if (depth && isList(value)) {
    return `[${Array.from({ length: Math.min(value.length, CHUNK) }, (_, i) => shown(own(value, i), depth - 1)).join(', ')}]`.slice(0, LONGEST);
  }
  if (depth && isPlain(value)) {
    const pairs = Object.keys(value).slice(0, CHUNK).map((name) => `${shown(name)}: ${shown(own(value, name), depth - 1)}`);
    return `{${pairs.join(', ')}}`.slice(0, LONGEST);
  }
  return typeName(value);
}

module.exports = { keeper, secretOf, hashable, canonical, className };
