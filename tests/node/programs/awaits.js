// Ways to await what ran a statement, in every shape: writes a number to `x` and notes which statement it is to be blamed on.
// argv: the driver; how many flows go on at once. Prints [[number, statements that are right, null for none]].
'use strict';
const { watch } = require('@memwatch/node');
const path = require('node:path');
const { EventEmitter, once } = require('node:events');
const { AsyncLocalStorage, AsyncResource } = require('node:async_hooks');
const { Readable, Writable } = require('node:stream');
const { pipeline } = require('node:stream/promises');
const timers = require('node:timers/promises');
const util = require('node:util');

const driver = process.argv[2], flows = Number(process.argv[3]);
const x = watch(new Int32Array(1), { trackSQL: true, name: 'x' });
const { tracer } = require(path.join(path.dirname(require.resolve('@memwatch/node')), 'sql', 'drivers.js'));
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const text = (name) => `SELECT 1 AS ${name}`, seen = (name) => name && `SELECT ? AS ${name}`;
const noted = [];

/** What is written here is to be blamed on one of the statements; null: on none. */
const noting = (label) => (...names) => {
  noted.push([noted.length + 1, names.map(seen), label]);
  x[0] = noted.length;
};

// ---- drivers: query(name) returns a promise, callback(name, done) calls back --------------------------------------------

const drivers = {
  async tracer() { // what a driver publishes, without one
    const connection = {};
    const callback = (name, done) => {
      const token = tracer.begin({ driver: 'dbx', statement: text(name), connection, dialect: 'postgresql' });
      tracer.outside(() => setImmediate(() => {
        tracer.end(token, { inTransaction: false });
        tracer.run(token, done, null);
      }));
    };
    return { callback, query: (name) => new Promise((done) => callback(name, done)), end() {} };
  },
  async pg() {
    const pool = new (require('pg').Pool)({ ...JSON.parse(process.env.DATABASE), max: 2 });
    return { query: (name) => pool.query(text(name)), callback: (name, done) => pool.query(text(name), done), end: () => pool.end() };
  },
  async mysql2() {
    const pool = require('mysql2').createPool({ ...JSON.parse(process.env.DATABASE), connectionLimit: 2 });
    const promises = pool.promise();
    return { query: (name) => promises.query(text(name)), callback: (name, done) => pool.query(text(name), done), end: () => promises.end() };
  },
  async 'better-sqlite3'() {
    const database = new (require('better-sqlite3'))(':memory:');
    const query = async (name) => { await null; return database.prepare(text(name)).all(); };
    return { query, callback: (name, done) => { database.prepare(text(name)).all(); done(null); }, end() {} };
  },
};

// ---- ways: f() is a function that runs a statement; what is returned is awaited -----------------------------------------

const thenable = (f) => ({ then(done, failed) { f().then(done, failed); } });

function coroutine(generator) { // what generators were before async functions
  return new Promise((done, failed) => {
    const step = (value) => {
      const next = generator.next(value);
      if (next.done) done(next.value);
      else next.value.then(step, failed);
    };
    step();
  });
}

class Builder { // a query builder: it runs when it is awaited
  constructor(f) { this.f = f; }
  where() { return this; }
  then(done, failed) { return this.f().then(done, failed); }
}

const WAYS = {
  await: (f) => f(),
  async 'return without await'(f) { await null; return f(); },
  async 'layers of functions'(f) { await null; await (async () => { await sleep(0); await (async () => f())(); })(); await null; },
  then: (f) => f().then((rows) => rows).then(() => 1),
  'then, with another promise': (f) => Promise.resolve().then(() => f()),
  catch: (f) => f().then(() => { throw new Error('theirs'); }).catch(() => 1),
  finally: (f) => f().finally(() => sleep(1)),
  'Promise.all': (f) => Promise.all([f(), sleep(1), 1]),
  'Promise.all, not the last': (f) => Promise.all([f(), f().then(() => sleep(5))]),
  'Promise.all of a set': (f) => Promise.all(new Set([sleep(1), f()])),
  'Promise.allSettled': (f) => Promise.allSettled([f(), Promise.reject(new Error('theirs'))]),
  'Promise.race': (f) => Promise.race([f(), new Promise(() => {})]),
  'Promise.any': (f) => Promise.any([Promise.reject(new Error('theirs')), f()]),
  'Promise.withResolvers'(f) {
    let resolve;
    const promise = new Promise((done) => { resolve = done; });
    f().then(resolve);
    return promise;
  },
  thenable,
  'thenable in Promise.all': (f) => Promise.all([thenable(f)]),
  'Promise.resolve of a thenable': (f) => Promise.resolve(thenable(f)),
  'thenable that waits': (f) => ({ then(done, failed) { sleep(1).then(f).then(done, failed); } }),
  'query builder': (f) => new Builder(f).where(),
  'new Promise': (f) => new Promise((done, failed) => { f().then(done, failed); }),
  'new Promise, an async function in it': (f) => new Promise((done) => { (async () => { await sleep(1); await f(); done(); })(); }),
  'callback of the driver': (f, name, { callback }) => new Promise((done) => callback(name, done)),
  'callback in a callback': (f, name, { callback }) => new Promise((done) => callback(`${name}_first`, () => callback(name, done))),
  promisify: (f, name, { callback }) => util.promisify(callback)(name),
  'started before it is awaited'(f) { const started = f(); return sleep(1).then(() => started); },
  async 'async generator'(f) { for await (const _ of (async function* () { await sleep(0); yield f(); })()); },
  async 'async generator in another'(f) {
    async function* inner() { await f(); yield 1; }
    for await (const _ of (async function* () { yield* inner(); })());
  },
  generator: (f) => coroutine((function* () { yield sleep(0); yield f(); return 1; })()),
  async stream(f) {
    for await (const _ of Readable.from((async function* () { yield 1; await f(); yield 2; })()));
  },
  pipeline: (f) => pipeline(Readable.from([1, 2]), async function* (rows) { for await (const row of rows) yield row; }, async (rows) => { for await (const _ of rows) await f(); }),
  emitter(f) {
    const emitter = new EventEmitter(), done = once(emitter, 'done');
    f().then(() => emitter.emit('done'));
    return done;
  },
  'AsyncLocalStorage': (f) => new AsyncLocalStorage().run('theirs', async () => { await sleep(0); await f(); }),
  'AsyncResource': (f) => new AsyncResource('theirs').runInAsyncScope(f),
  async 'timers before'(f) { await timers.setTimeout(1); await new Promise(setImmediate); await f(); },
  async 'timers after'(f) { await f(); await sleep(1); await timers.setImmediate(); },
  async 'nextTick after'(f) { await f(); await new Promise(process.nextTick); await new Promise((done) => queueMicrotask(done)); },
};

/** Who goes on can't be known, as neither a driver nor a promise calls: the statement or none, but no other. */
const MAYBE = {
  'new Promise, a timer in it': (f) => new Promise((done) => setTimeout(() => f().then(done), 1)),
  'new Promise, nextTick in it': (f) => new Promise((done) => process.nextTick(() => f().then(done))),
  'new Promise, a microtask in it': (f) => new Promise((done) => queueMicrotask(() => f().then(done))),
  'a subclass of Promise': (f) => (class Theirs extends Promise {}).resolve().then(() => f()),
  'bound callback': (f) => new Promise((done) => setImmediate(AsyncResource.bind(() => f().then(done)))),
};

/** What ends in an older flow than it ran in: the statement, none, or the flow's own before it. */
const OLDER = {
  'pipeline into a stream': (f) => pipeline(Readable.from([1, 2]), new Writable({ objectMode: true, write(_, encoding, done) { f().then(() => done(), done); } })),
  async 'for await over promises'(f) { for await (const _ of [f(), f()]); },
};

// ---- shapes: where a way is used ---------------------------------------------------------------------------------------

const SHAPES = {
  async alone(way, name, query, note) {
    await way(name);
    note(name);
  },
  async 'after another statement'(way, name, query, note) {
    await query(`${name}_older`);
    note(`${name}_older`);
    await way(name);
    note(name);
    await null;
    note(name);
  },
  async nested(way, name, query, note) {
    await query(`${name}_older`);
    await (async () => { await sleep(0); await (async () => { await way(name); note(name); })(); note(name); })();
    note(name);
  },
  async 'one after the other'(way, name, query, note) {
    for (const each of ['a', 'b', 'c']) {
      await way(`${name}_${each}`);
      note(`${name}_${each}`);
    }
    await query(`${name}_own`);
    note(`${name}_own`);
  },
};

// ---- what flows wait for each other with -------------------------------------------------------------------------------

class Semaphore {
  #free = 2;
  #waiting = [];
  constructor(next, wait = (begin) => new Promise(begin)) {
    this.next = next;
    this.wait = wait;
  }
  async run(f) {
    if (this.#free) this.#free--;
    else await this.wait((done) => this.#waiting.push(done));
    try {
      return await f();
    } finally {
      const next = this.next(this.#waiting);
      if (next) next();
      else this.#free++;
    }
  }
}

const LOCKS = {
  semaphore: () => new Semaphore((waiting) => waiting.shift()),
  'semaphore, the last first': () => new Semaphore((waiting) => waiting.pop()),
  'semaphore of thenables': () => new Semaphore((waiting) => waiting.pop(), (begin) => ({ then: begin })),
  'semaphore of emitters': () => new Semaphore((waiting) => waiting.pop(), (begin) => {
    const emitter = new EventEmitter();
    begin(() => emitter.emit('free'));
    return once(emitter, 'free');
  }),
  'semaphore, waited for in a function': () => new Semaphore((waiting) => waiting.shift(), async (begin) => { await new Promise(begin); }),
  'semaphore, raced': () => new Semaphore((waiting) => waiting.shift(), (begin) => Promise.race([new Promise(begin), new Promise(() => {})])),
  'chain of promises, awaited'() {
    let tail = Promise.resolve();
    return { async run(f) {
      const before = tail;
      let free;
      tail = new Promise((done) => { free = done; });
      await before;
      try { return await f(); } finally { free(); }
    } };
  },
  'chain of promises, then'() {
    let tail = Promise.resolve();
    return { run: (f) => (tail = tail.then(f, f)) };
  },
  queue() { // p-limit, and pools of tasks: the function is run in another flow, and its promise resolves
    const waiting = [];
    let running = 0;
    const next = () => {
      if (running >= 2 || !waiting.length) return;
      running++;
      const { f, done } = waiting.shift();
      const result = (async () => f())();
      done(result);
      const free = () => { running--; next(); };
      result.then(free, free);
    };
    return { elsewhere: true, run: (f) => new Promise((done) => { waiting.push({ f, done }); next(); }) };
  },
  'queue that resolves with the value'() {
    const waiting = [];
    let running = 0;
    const next = async () => {
      if (running >= 2 || !waiting.length) return;
      running++;
      const { f, done } = waiting.shift();
      done(await f());
      running--;
      next();
    };
    return { elsewhere: true, run: (f) => new Promise((done) => { waiting.push({ f, done }); next(); }) };
  },
};

/** Whoever waits for another flow has its own statement, or none; never the other's. */
async function locked(lock, i, query, note) {
  const maybe = (name) => note(name, null);
  for (const each of ['a', 'b', 'c']) {
    await query(`${i}_own_${each}`);
    note(`${i}_own_${each}`);
    await lock.run(async () => {
      if (!lock.elsewhere) maybe(`${i}_own_${each}`);
      await query(`${i}_${each}`);
      note(`${i}_${each}`);
      await sleep(Number(i.replace(/\D/g, '')) % 3);
      note(`${i}_${each}`);
    });
    maybe(`${i}_${each}`);
  }
}

/** What several flows await: one has its statement, the others theirs or none. */
async function shared(i, query, get, note) {
  await query(`${i}_own`);
  await get(i);
  note(`${i}_own`, 'shared', null);
}

if (driver === 'better-sqlite3') { // so fast that the stream has asked for more before
  OLDER.stream = WAYS.stream;
  delete WAYS.stream;
}

(async () => {
  const database = await drivers[driver](), { query } = database;
  const numbers = Array.from({ length: flows }, (_, i) => i);
  const apart = (f) => tracer.outside(f); // as each request has a flow of its own
  const together = (f) => f(); // or all are branches of one
  const arriving = (f) => new Promise((done) => setImmediate(() => done(f()))); // or callbacks, with what was in force before
  const called = (way) => (name) => way(() => query(name), name, database);
  let n = 0;
  for (const [ways, others] of [[WAYS, () => []], [MAYBE, () => [null]], [OLDER, (name) => [null, `${name}_older`]]]) {
    for (const [label, way] of Object.entries(ways)) {
      for (const [shaped, shape] of Object.entries(SHAPES)) {
        const note = noting(`${label}, ${shaped}`), own = `w${++n}`;
        await apart(() => shape(called(way), own, query, (name) => note(name, ...others(own))));
      }
    }
  }
  for (const begin of [apart, together, arriving]) {
    await query('common'); // what they inherit
    if (begin !== arriving) await Promise.all(numbers.map((i) => begin(async () => {
      for (const [label, way] of Object.entries(WAYS)) {
        const name = `f${++n}`, note = noting(`${label}, at once, ${begin.name}`);
        await called(way)(name);
        note(name);
        await sleep(i % 3);
        note(name);
      }
    })));
    for (const [label, make] of Object.entries(LOCKS)) {
      const lock = make(), note = noting(`${label}, ${begin.name}`);
      await Promise.all(numbers.map((i) => begin(() => locked(lock, `l${++n}_${i}`, query, note))));
    }
    let started;
    const cached = () => started ??= (async () => { await sleep(3); await query('shared'); })();
    await Promise.all(numbers.map((i) => begin(() => shared(`s${++n}_${i}`, query, cached, noting(`shared, ${begin.name}`)))));
    const ready = (async () => { await sleep(20); await query('ready'); })(); // one that all wait for: no request has asked for it
    const right = begin === together ? ['ready'] : ['common', null];
    await Promise.all(numbers.map(() => begin(async () => {
      await null;
      await ready;
      noting(`made before, ${begin.name}`)(...right);
    })));
    const waiting = []; // for an event of another flow's
    const waits = Promise.all(numbers.map((i) => begin(async () => {
      await query(`e${n}_${i}`);
      await new Promise((done) => waiting.push(done));
      noting(`another's event, ${begin.name}`)(`e${n}_${i}`, null);
    })));
    while (waiting.length < flows) await sleep(1);
    await begin(async () => { await query('stranger'); for (const done of waiting) done(); });
    await waits;
  }
  await database.end();
  console.log(JSON.stringify({ noted, troubles: tracer.troubles }));
})();
