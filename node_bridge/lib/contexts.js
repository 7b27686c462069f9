// SQL contexts, as far as the core is concerned: records in the journal, and which one is in force in this flow.
//
// A flow is what AsyncLocalStorage tells apart. The store's value is an object with the context's `id` (a context, or what
// stands for one), and the core must know that id at the moment of a store, when no JavaScript can be asked:
//   - From Node 24 on, AsyncLocalStorage lives in V8's continuation-preserved data: the id is bound to that piece of data
//     (markContext), and the core looks at which one is current. Whatever makes a new piece binds it again.
//   - before: a hook mirrors the id into a word that the core reads (contextSlot) whenever another callback begins.
'use strict';

const { AsyncLocalStorage, createHook } = require('node:async_hooks');
const native = require('./native');
const sessions = require('./session');

const storage = new AsyncLocalStorage();
let last = 0, ids = 0; // the id that was taken last; the last one of this thread's
let follow; // makes the core know the id; set up with the first context

/** What is in force in this flow: the object that was entered, or undefined. */
function current() {
  return storage.getStore();
}

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
  follow ??= follower();
  const before = storage.getStore();
  try {
    if (before === (context || undefined)) return f(...args);
    return storage.run(context || undefined, () => {
      follow(context?.id ?? 0);
      return f(...args);
    });
  } finally {
    if (storage.getStore() !== before) enter(before); // f has entered another one
    else follow(before?.id ?? 0);
  }
}

/** Puts the context in force for the rest of this flow; without one: ends what is. */
function enter(context) {
  follow ??= follower();
  storage.enterWith(context || undefined);
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

function follower() {
  if (storage.run(1, () => native.markContext(0)) && native.pullContexts()) {
    derive('run');
    derive('enterWith');
    return native.markContext;
  }
  const slot = native.contextSlot();
  createHook({ before() { slot[0] = storage.getStore()?.id ?? 0; } }).enable();
  return (id) => { slot[0] = id; };
}

/** Another AsyncLocalStorage makes a new piece of data, in which ours is the same. */
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
}

function json(fields) {
  return JSON.stringify(fields, (_, value) => (typeof value === 'bigint' ? JSON.rawJSON?.(value) ?? Number(value) : value));
}

module.exports = { open, update, current, run, enter, bind, reserve };
