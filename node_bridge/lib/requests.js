// On whose behalf the program stores: the label in force, and OpenTelemetry's span.
//
// Both are what an AsyncLocalStorage holds: ours a Label, that of OpenTelemetry's context manager a context. What each
// says is told to the core once (tellRequest), which looks at the store for what is held then:
//   - From Node 24 on, AsyncLocalStorage lies in V8's continuation-preserved data, and the core looks there (pullRequests).
//   - Before, an async hook copies the numbers of what is held into words that the core reads (requestSlots), as soon as
//     something is watched.
'use strict';

const { AsyncLocalStorage, createHook, executionAsyncId } = require('node:async_hooks');
const { types } = require('node:util');
const native = require('./native');
const { say } = require('./printed');
const { API } = require('./spans');
const { peek } = require('./sql/patches');

const SPAN = 0, LABEL = 1, EXECUTING = 2; // enum kind of src/requests.h
const LONGEST = 200, AROUND = 8; // characters of a label; labels around one
const ROOM = 400, ROOM_OF_ALL = 880, LEAST = 64; // bytes of JSON
const PLAIN = /^[ !#-[\]-~]*$/; // is as it is in JSON
const IN_CONTEXT = Symbol.for('OpenTelemetry Context Key SPAN');
const { get } = Map.prototype, { toString } = Function.prototype, { toLowerCase } = String.prototype; // the program may replace them
const OWN = /^(?:function\s*)?(?:spanContext\s*)?\(\)\s*\{\s*return this\._spanContext;?\s*\}$/; // of OpenTelemetry's spans
let known; // such a method

/** What the storage holds where a label is in force. */
class Label {
  number = 0;
  /** @param {string[]} texts its own, and of those around it, the innermost first: not these themselves, which would be kept */
  constructor(texts) {
    this.texts = texts;
  }
}

/** A private field on OpenTelemetry's contexts: no WeakMap, and invisible to the program. */
class Told extends /** @type {any} */ (function (context) { return context; }) {
  #number;
  constructor(context, number) {
    super(context);
    this.#number = number;
  }
  static of(context) {
    return #number in context ? context.#number : undefined;
  }
}

class Requests {
  labels = new AsyncLocalStorage();
  /** @type {AsyncLocalStorage<any> | undefined} */
  spans = undefined; // OpenTelemetry's storage
  /** @type {Uint32Array | undefined} */
  slots = undefined; // where the numbers are mirrored
  #known = new WeakSet(); // managers and storages whose methods are ours
  #blind = 0; // id of a callback in which a context is left unseen: it was entered before its manager was followed

  constructor() {
    const probe = {};
    const pulls = this.labels.run(probe, () => native.pullRequests(this.labels, probe));
    if (pulls === false) say(`where Node.js ${process.versions.node} keeps what an AsyncLocalStorage holds isn't known: no label and no span is told. A later version of @memwatch/node may know it`);
    if (pulls !== undefined) return;
    const slots = this.slots = /** @type {Uint32Array} */ (native.requestSlots(executing()));
    native.common.whenWatching(() => this.#mirror(slots));
  }

  /** @param {string[]} texts */
  label(texts, f, args) {
    const { labels, slots } = this, outer = labels.getStore();
    const label = new Label(outer ? [...texts, ...outer.texts.slice(0, AROUND)] : texts);
    label.number = native.tellRequest(label, labelled(label.texts));
    if (!slots) return labels.run(label, f, ...args);
    slots[LABEL] = label.number;
    try {
      return labels.run(label, f, ...args);
    } finally {
      slots[LABEL] = labels.getStore()?.number ?? 0;
    }
  }

  /** From now on, spans are those of the contexts that this context manager of OpenTelemetry holds. */
  follow(manager) {
    const spans = storageOf(manager);
    if (!spans) return this.#leave();
    if (spans === this.spans) return;
    if (!this.#known.has(manager)) {
      intercept(manager, 'disable', (call) => { // what goes on may have its contexts still
        if (this.spans === spans) this.#leave();
        return call();
      });
      this.#known.add(manager);
    }
    this.spans = spans;
    const { slots } = this, first = !this.#known.has(spans);
    this.#known.add(spans);
    if (!slots) {
      native.followSpans(spans);
      if (first) intercept(spans, 'enterWith', (call, context) => { // the other methods call it
        this.#resume(spans);
        tell(context);
        return call();
      });
      tell(spans.getStore());
      return;
    }
    const reads = () => { if (this.spans === spans) slots[SPAN] = this.#span(executionAsyncId()); };
    if (first) {
      const within = (number) => (call) => {
        if (this.spans === spans) slots[SPAN] = number;
        try {
          return call();
        } finally {
          reads();
        }
      };
      intercept(spans, 'run', (call, context) => {
        this.#resume(spans);
        return within(tell(context))(call);
      });
      for (const name of ['exit', 'enterWith', 'disable']) intercept(spans, name, within(0));
      if (spans.getStore() !== undefined) this.#blind = executionAsyncId();
    }
    reads();
  }

  /** No manager is followed. */
  #leave() {
    this.spans = undefined;
    if (this.slots) this.slots[SPAN] = 0;
    else native.followSpans(undefined);
  }

  /** A manager that was only disabled is used again. */
  #resume(spans) {
    if (this.spans) return;
    const manager = peek(peek(globalThis, API), 'context');
    if (storageOf(manager) === spans) this.follow(manager);
  }

  #mirror(slots) {
    const { labels } = this;
    const running = []; // of each callback: its id, and the numbers outside
    const reads = (id) => {
      slots[EXECUTING] = id;
      slots[LABEL] = labels.getStore()?.number ?? 0;
      slots[SPAN] = this.#span(id);
    };
    createHook({
      before: (id) => {
        running.push(id, slots[LABEL], slots[SPAN], slots[EXECUTING]);
        reads(id);
      },
      after: (id) => {
        if (id === this.#blind) this.#blind = 0;
        let began, label = 0, span = 0, executing = 0; // of a callback that began before us
        while (began !== id && running.length) {
          executing = running.pop();
          span = running.pop();
          label = running.pop();
          began = running.pop();
        }
        slots[LABEL] = label;
        slots[SPAN] = span;
        slots[EXECUTING] = executing;
      },
    }).enable();
    reads(executionAsyncId());
  }

  #span(id) {
    return id === this.#blind ? 0 : tell(this.spans?.getStore());
  }
}

/** Where Node has the id of the callback that runs: without it, what the program's own hooks store may be mistaken. */
function executing() {
  const before = Object.getOwnPropertyDescriptor(process, 'noDeprecation');
  try {
    Object.defineProperty(process, 'noDeprecation', { value: true, writable: true, enumerable: true, configurable: true }); // with --pending-deprecation, it would warn of this
    const { async_id_fields: fields } = /** @type {any} */ (process).binding('async_wrap');
    return fields[0] === executionAsyncId() ? fields : undefined;
  } catch {
    return undefined; // --permission
  } finally {
    if (before) Object.defineProperty(process, 'noDeprecation', before);
    else delete (/** @type {any} */ (process)).noDeprecation;
  }
}

/** Has `f(call, argument)` called instead of a storage's method, which `call` calls. */
function intercept(storage, name, f) {
  const own = Object.getOwnPropertyDescriptor(storage, name)?.value, above = Object.getPrototypeOf(storage);
  const { [name]: value } = { [name](...args) { // the one above may be replaced later: contexts.js does
    return f(() => Reflect.apply(own ?? above[name], this, args), args[0]);
  } };
  Object.defineProperty(storage, name, { value, writable: true, configurable: true });
}

// ---- OpenTelemetry's contexts ----------------------------------------------------------------------------------------

/** What a context manager keeps its contexts in; undefined: it is another kind of manager. */
function storageOf(manager) {
  const spans = peek(manager, '_asyncLocalStorage');
  return !types.isProxy(spans) && spans instanceof AsyncLocalStorage ? spans : undefined;
}

/** Tells the core which span an OpenTelemetry context has; returns the number of what was told, 0: it has none. */
function tell(context) {
  if (context === null || typeof context !== 'object') return 0;
  let number = Told.of(context);
  if (number === undefined) {
    const json = spanned(context);
    number = json ? native.tellRequest(context, json) : 0;
    new Told(context, number);
  }
  return number;
}

/** Its span's ids, without running the program's code. They never change. */
function spanned(context) {
  const values = peek(context, '_currentContext');
  if (!types.isMap(values)) return undefined;
  const of = Reflect.apply(get, values, [IN_CONTEXT]), method = peek(of, 'spanContext');
  if (typeof method !== 'function' || types.isProxy(method)) return undefined;
  if (method !== known && !OWN.test(Reflect.apply(toString, method, []))) return undefined;
  known = method;
  const ids = peek(of, '_spanContext');
  const trace = peek(ids, 'traceId'), span = peek(ids, 'spanId');
  return isId(trace, 32) && isId(span, 16) ? Reflect.apply(toLowerCase, `"trace_id":"${trace}","span_id":"${span}"`, []) : undefined;
}

function isId(id, length) {
  return typeof id === 'string' && id.length === length && /^[\da-f]+$/i.test(id) && /[^0]/.test(id);
}

// ---- labels ----------------------------------------------------------------------------------------------------------

/** As members of a JSON object. Those around the label that there is no room for are left out. */
function labelled(/** @type {string[]} */ [text, ...outer]) {
  let json = `"label":${quoted(text, ROOM)}`, room = ROOM_OF_ALL - Buffer.byteLength(json), before = ',"outer":[';
  for (const each of outer) {
    if (room < LEAST) break;
    const next = before + quoted(each, room - LEAST / 4);
    room -= Buffer.byteLength(next);
    json += next;
    before = ',';
  }
  return before === ',' ? `${json}]` : json;
}

/** As JSON, cut off if it takes more bytes. */
function quoted(text, room) {
  if (text.length + 2 <= room && PLAIN.test(text)) return `"${text}"`;
  const characters = Array.from(text);
  let cut = '';
  for (;;) {
    const json = JSON.stringify(characters.join('') + cut);
    if (Buffer.byteLength(json) <= room) return json;
    characters.length--;
    cut = '…';
  }
}

/** A text as it is told, not longer than may be. */
function shortened(text) {
  if (text.length <= LONGEST && PLAIN.test(text)) return text;
  const characters = Array.from(text.slice(0, 2 * LONGEST + 2), (c) => (/^\p{Surrogate}$/u.test(c) ? '?' : c));
  return characters.length <= LONGEST ? characters.join('') : `${characters.slice(0, LONGEST - 1).join('')}…`;
}

function kindOf(value) {
  if (value === null || value === undefined) return String(value);
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}

/** Calls f with the label in force, in f and all that it starts. */
function label(text, f, ...args) {
  if (typeof text !== 'string') throw new TypeError(`label(text, f): text is a string, not ${kindOf(text)}: label(String(value), f)`);
  if (!text) throw new RangeError('label(text, f): text is empty');
  if (typeof f !== 'function') throw new TypeError(`label(text, f): f is a function, which is called with the label in force, not ${kindOf(f)}: label(text, () => …)`);
  if (types.isGeneratorFunction(f)) throw new TypeError('label(text, f): f is a generator function, whose code runs where it is iterated over, outside of the label: label what iterates, or call label() in it');
  return requests().label([shortened(text)], f, args);
}

/** One for all copies of this package in this thread. */
function requests() {
  return native.common.requests ??= new Requests();
}

module.exports = { label, follow: (manager) => requests().follow(manager) };
