// SQL contexts for the core: writes their records, and makes the id of the one in force in this flow known to the core.
//
// A flow is what AsyncLocalStorage distinguishes. Its store is a context or a stand-in, an object with the context's
// `id`. The core needs the id at the moment of a write to memory, when no JavaScript can run:
//   - From Node 24 on, AsyncLocalStorage lives in V8's continuation-preserved data. The id is bound to that piece of data
//     (markContext), and the core looks up the current piece. Whatever makes a new piece binds the id again.
//   - Before Node 24, an async hook copies the id into a word that the core reads (contextSlot), whenever a callback
//     begins or ends.
'use strict';

const { AsyncLocalStorage, createHook, executionAsyncResource } = require('node:async_hooks');
const { types } = require('node:util');
const awaits = require('./awaits');
const native = require('./native');
const { foreign } = require('./loader');
const sessions = require('./session');

const storage = new AsyncLocalStorage();
let last = 0, ids = 0; // the id taken last; this thread's last id
let hook; // async hook of mirrored()
let follow; // makes an id known to the core; set by start()
let current = () => storage.getStore();
let within = inStorage; // run(), with its arguments in an array
let begun = put; // of enterAsBegun()

/**
 * Writes a context to the journal, and returns it: an object with its `id`. It isn't in force yet: see run() and
 * enter(). `fields` are those of memwatch_core.records.Context except id: driver, statement (normalised),
 * statement_hash, parameters, connection, database, transaction, thread, started (ns since 1970).
 */
function open(fields) {
  sessions.current();
  const id = reserve();
  native.openContext(id, json({ ...fields, id }));
  return { id };
}

/** Updates a context: any of outcome, rows, ended, transaction, scope (docs/journal-format.md). */
function update({ id }, fields) {
  native.updateContext(id, json(fields));
}

/** Calls f with the context in force, in f and all that it starts; without a context: none. */
function run(context, f, ...args) {
  start();
  return within(context || undefined, f, args);
}

/**
 * Puts the context in force for the rest of this flow, and of flows that await it; without one: ends the present one.
 */
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

/** f, wrapped to run with the present context: for callbacks that a driver calls from its connection. */
function bind(f, context = storage.getStore()) {
  return function bound(...args) {
    return run(context, () => Reflect.apply(f, this, args));
  };
}

/** An id for a context: unique in the journal, whichever thread opens it. The ids of one thread ascend. */
function reserve() {
  if (last === ids) {
    const first = native.contextIds();
    if (first === undefined) throw new RangeError('memwatch: this process has no more ids for contexts');
    [last, ids] = [first || 1, first + 0xffff]; // 0 is none
    return last;
  }
  return ++last;
}

/** From now on, contexts come back to whoever awaits them. */
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
    if (frame[0] === low && frame[1] === high && collected[0] === collections) return known; // in this order: getStore() may collect
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
 * A resource (promises are resources, too) has a property for the store of its callbacks. Sockets, intervals and ports
 * run repeatedly: a context that comes into force in one of their callbacks ends with it, as it does from Node 24 on.
 */
function mirrored() {
  const slot = native.contextSlot(), { kResourceStore: key } = /** @type {any} */ (storage);
  const running = []; // for each callback: id, its store at first, the slot's value outside, whether awaits.js was called
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
      let began, store, outside = 0, job = false; // of a callback that began before us
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
    made: (promise) => promise[key] ?? storage.getStore(), // Node's hook may run after ours
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
