// SQL contexts, as far as the core is concerned: records in the journal, and which one is in force in this flow.
//
// A flow is what AsyncLocalStorage tells apart. The store's value is an object with the context's `id` (a context, or what
// stands for one), and the core must know that id at the moment of a store, when no JavaScript can be asked:
//   - From Node 24 on, AsyncLocalStorage lives in V8's continuation-preserved data: the id is bound to that piece of data
//     (markContext), and the core looks at which one is current. Whatever makes a new piece binds it again.
//   - before: a hook mirrors the id into a word that the core reads (contextSlot) whenever another callback begins or ends.
'use strict';

const { AsyncLocalStorage, createHook, executionAsyncResource } = require('node:async_hooks');
const { types } = require('node:util');
const awaits = require('./awaits');
const native = require('./native');
const { foreign } = require('./loader');
const sessions = require('./session');

const storage = new AsyncLocalStorage();
let last = 0, ids = 0; // the id that was taken last; the last one of this thread's
let hook; // of mirrored()
let follow; // makes the core know the id; set up with the first driver that is traced, or the first context
let current = () => storage.getStore();
let within = inStorage; // run(), with its arguments in an array
let begun = put; // of enterAsBegun()

/**
 * Writes a context to the journal: an object with its `id`. It is in force nowhere yet: see run() and enter().
 * `fields` are those of memwatch_core.records.Context but id: driver, statement (normalised), statement_hash,
 * parameters, connection, database, transaction, thread, started (ns since 1970).
 */
function open(fields) {
  sessions.current();
  const id = reserve();
  native.openContext(id, json({ ...fields, id }));
  return { id };
}

/** What is known since: any of outcome, rows, ended, transaction, scope (docs/journal-format.md). */
function update({ id }, fields) {
  native.updateContext(id, json(fields));
}

/** Calls f with the context in force, in it and in what it starts; without one: none. */
function run(context, f, ...args) {
  start();
  return within(context || undefined, f, args);
}

/** Puts the context in force for the rest of this flow, and of those that await it; without one: ends what is. */
function enter(context) {
  start();
  awaits.enter(context || undefined, put);
}

/** The same, if beginStatement() is called next in this flow, with the context's id. */
function enterAsBegun(context) {
  start();
  awaits.enter(context, begun);
}

function put(context) {
  storage.enterWith(context);
  follow(context?.id ?? 0);
}

/** f, to be called with the context that is in force now: for callbacks that a driver calls from its connection. */
function bind(f, context = storage.getStore()) {
  return function bound(...args) {
    return run(context, () => Reflect.apply(f, this, args));
  };
}

/** An id for a context: of one journal, also when several threads open contexts. Those of a thread ascend. */
function reserve() {
  if (last === ids) {
    const first = native.contextIds();
    if (first === undefined) throw new RangeError('memwatch: this process has no more ids for contexts');
    [last, ids] = [first || 1, first + 0xffff]; // 0 is none
    return last;
  }
  return ++last;
}

/** From here on, what comes into force comes back to whoever awaits it. */
function start() {
  if (follow) return;
  const flows = storage.run(1, () => native.markContext(0)) && native.pullContexts() ? pulled() : mirrored();
  current = flows?.current ?? current;
  const stop = awaits.start({ current, ...flows });
  if (foreign) native.common.followsHere(globalThis, () => { stop?.(); hook?.disable(); });
}

function pulled() {
  derive('run');
  Object.defineProperty(storage, 'enterWith', { value: derive('enterWith') });
  follow = native.markContext;
  begun = (context) => storage.enterWith(context); // beginStatement() marks the piece
  // Asking takes 20 ns; the piece of data is the same as long as it lies where it lay and nothing was collected.
  const [frame, collected] = native.contextFrame();
  let low = 0, high = 0, collections = -1, known;
  function current() {
    if (frame[0] === low && frame[1] === high && collected[0] === collections) return known; // in this order: asking may collect
    collections = collected[0];
    high = frame[1];
    low = frame[0];
    return known = storage.getStore();
  }

  /** A new piece of data for f, but none for what comes after it: AsyncLocalStorage makes two. */
  within = (context, f, args) => {
    const before = current();
    if (before === context) {
      try {
        return f(...args);
      } finally {
        if (current() !== before) put(before);
      }
    }
    const outer = native.currentFrame();
    put(context);
    const x = frame[0], y = frame[1], n = collected[0];
    try {
      return f(...args);
    } finally {
      if (outer !== null && frame[0] === x && frame[1] === y && collected[0] === n) native.restoreFrame(outer);
      else put(before); // f has entered something, of ours or of others, or a collection has moved the piece
    }
  };
  return { current, made: current, of: current, take: (_, context) => put(context) };
}

/**
 * A resource, which a promise is too, has a property for what is in force where it runs. A socket, an interval, a port run
 * again and again: what comes into force in one of their callbacks ends with it, as it does from Node 24 on.
 */
function mirrored() {
  const slot = native.contextSlot(), { kResourceStore: key } = /** @type {any} */ (storage);
  const running = []; // of each callback: id, its store at first, slot's outside, whether awaits.js has been told
  const known = storage.run(storage, () => executionAsyncResource()[key] === storage);
  follow = (id) => { slot[0] = id; };
  hook = createHook({
    before(id) {
      const resource = executionAsyncResource(), job = known && awaits.before(resource);
      const store = known ? resource[key] : storage.getStore();
      running.push(id, store, slot[0], job);
      slot[0] = store?.id ?? 0;
    },
    after(id) {
      let began, store, outside = 0, job = false; // of one that began before us
      while (began !== id && running.length) {
        job = running.pop();
        outside = running.pop();
        store = running.pop();
        began = running.pop();
      }
      slot[0] = outside;
      if (job) return awaits.after();
      const resource = executionAsyncResource();
      if (known && resource[key] !== store && !types.isPromise(resource)) Reflect.set(resource, key, store);
    },
  });
  hook.enable();
  if (!known) return null;
  return {
    current: () => storage.getStore(),
    made: (promise) => promise[key] ?? storage.getStore(), // Node may hear of it after us
    of: (promise) => promise[key],
    take: (promise, context) => Reflect.set(promise, key, context), // a frozen one keeps its own
    tells: true,
  };
}

function inStorage(context, f, args) {
  const before = storage.getStore();
  try {
    if (before === context) return f(...args);
    return storage.run(context, () => {
      follow(context?.id ?? 0);
      return f(...args);
    });
  } finally {
    if (storage.getStore() !== before) put(before); // f has entered another one
    else follow(before?.id ?? 0);
  }
}

/**
 * Another AsyncLocalStorage makes a new piece of data, in which ours is the same. Returns what it replaces.
 * @param {"run" | "enterWith"} name
 */
function derive(name) {
  const original = AsyncLocalStorage.prototype[name];
  const { [name]: replacement } = name === 'run'
    ? {
      run(store, f, ...args) {
        if (this === storage) return Reflect.apply(original, this, [store, f, ...args]);
        return Reflect.apply(original, this, [store, (...given) => {
          native.markContext(storage.getStore()?.id ?? 0);
          return f(...given);
        }, ...args]);
      },
    }
    : {
      enterWith(store) {
        Reflect.apply(original, this, [store]);
        if (this !== storage) native.markContext(storage.getStore()?.id ?? 0);
      },
    };
  Object.defineProperty(AsyncLocalStorage.prototype, name, { value: replacement, writable: true, configurable: true });
  return original;
}

function json(fields) {
  return JSON.stringify(fields, (_, value) => (typeof value === 'bigint' ? /** @type {any} */ (JSON).rawJSON?.(value) ?? Number(value) : value));
}

module.exports = { start, open, update, current: () => current(), run, enter, enterAsBegun, bind, reserve, settle: awaits.settle };
