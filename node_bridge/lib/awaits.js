// What ran in what is awaited comes into force where it is awaited.
//
// A promise keeps the context that was in force where it was settled. A job of a promise - the rest of an async function
// after `await p`, a callback of p.then() - belongs to a promise that V8 makes with p as its parent; before the job runs,
// the flow takes p's context over if that came into force later than its own.
//
// Promises may be settled by anybody: a semaphore by the flow that leaves it. Then the context there has nothing to do with
// the promise. So code is followed by pieces: what runs in one go, between two awaits. A promise that resolve functions can
// settle believes only a flow that began in the piece which made the promise, after that and before the promise was
// awaited: `await new Promise((done) => begin(done))`. Another's context isn't taken over; if it came into force while the
// promise was pending, nobody knows what the promise stands for, and that (Unknown) goes up as a context does. The same
// where the promise that is awaited was made in a piece that neither led to this one nor came from it, or led to it by a
// callback: a lock that is a chain of promises, a batch for several flows, what a server made when it started.
'use strict';

const { types } = require('node:util');
const { promiseHooks } = require('node:v8');
const classes = require('./sql/classes');
const { replace } = require('./sql/patches');

const { queueMicrotask, Promise } = globalThis; // the program may replace them
const SHORTEN = 64, LONGEST = 256, SEARCHED = 1000; // pieces
const BY_V8 = -1, BY_ANYBODY = -2; // who settles a promise that is pending
const ADOPTS = -3; // V8, for a promise that is resolved with the parent
const NEVER = -1;
const NOWHERE = {};

let flows; // of contexts.js: current(); of a promise: made() and of(), in init and in before, and take(). `tells`: it
// calls before() and after() by itself, as it hears of all that runs: V8 takes 0.1 µs an await for telling of that again
let clock = 0; // of contexts that come into force, and of promises

/** Nobody knows which context: none is in force, and that is newer than what was. */
class Unknown {
  id = 0;
  /** @type {Piece | undefined} */
  up = undefined;
  at = 0;
  constructor(stamp) {
    this.stamp = stamp;
  }
}

/** What runs in one go: the job of a promise, or a callback. */
class Piece {
  open = 0; // promises that it made, anybody may settle, and are pending: without any, nobody asks for it
  constructor(up, at, called) {
    this.up = up; // the piece that it branched off
    this.at = at; // when
    this.called = called; // it is a callback
    this.depth = up === undefined ? 0 : up.depth + 1;
    if (this.depth > 0 && this.depth % SHORTEN === 0) shorten(this);
  }
}

/** Of a chain, the last pieces stay, and those that somebody may ask for: an endless loop is one chain. */
function shorten(piece) {
  let at = piece, n = 0;
  for (; at.up; n++) {
    if (n >= SHORTEN) {
      while (at.up && !at.up.open) {
        at.at = at.up.at;
        at.called ||= at.up.called;
        at.up = at.up.up;
      }
    }
    if (at.up) at = at.up;
  }
  piece.depth = n;
  if (n > LONGEST) { // promises that are never settled
    piece.up = undefined;
    piece.depth = 0;
  }
}

const ANY = new Piece(undefined, 0, true); // made the promises that are everybody's
const STRANGER = new Piece(undefined, 0, true);

/** What is known of a promise. */
class State {
  constructor(from, maker, at, context, stamp) {
    this.from = from; // state of the parent, until the job begins; of Promise.all: states of what it waits for
    this.maker = maker; // the piece that made it
    this.at = at; // when
    this.context = context; // in force where it was made (BY_ANYBODY), or where it was settled
    this.stamp = stamp; // BY_V8, BY_ANYBODY, ADOPTS; settled: when the context came into force, 0: none did
    this.awaited = 0; // when first; NEVER: of an async function, which V8 alone settles
  }
}

const UNSEEN = new State(undefined, ANY, 0, undefined, 0); // made before we were there

/** A private field of promises: no WeakMap, nothing that the program could see. */
class Mark extends /** @type {any} */ (function (promise) { return promise; }) {
  #state;
  constructor(promise, state) {
    super(promise);
    this.#state = state;
  }
  static of(promise) {
    return #state in promise ? promise.#state : undefined;
  }
}

// The piece that runs: a promise's job, as long as it is in its own flow; or a callback, which branched off where its
// context came into force.
let jobContext = NOWHERE, jobBegan = NOWHERE; // now; at first, as it is again when the scope of an AsyncResource ends
let jobPiece; // made when it is needed, of:
let jobUp, jobAt = 0;
let jobAdopts = false; // of a promise that is resolved with another one, or with a thenable
let joining; // the states of promises that Promise.all makes
let settling; // the context of what settle() calls
const callbacks = new Map(); // context -> piece

/** The piece that runs, in the flow of that context. */
function here(context) {
  if (context === jobContext || context === jobBegan) return jobPiece ??= new Piece(jobUp, jobAt, false);
  let piece = callbacks.get(context);
  if (piece === undefined) {
    if (!callbacks.size && jobContext === NOWHERE) queueMicrotask(forget);
    callbacks.set(context, piece = new Piece(context?.up, context?.at ?? 0, true));
  }
  return piece;
}

function forget() {
  callbacks.clear();
}

/** Of what is inside of a call that runs a statement: the statement. Nothing is newer than such a context. */
function plain(context) {
  return context !== undefined && context.stamp === Infinity ? context.token : context;
}

function init(promise, parent) {
  const context = plain(flows.made(promise)), piece = here(context);
  if (parent === undefined) {
    piece.open++;
    new Mark(promise, new State(undefined, piece, ++clock, context, BY_ANYBODY));
    classes.look(promise);
    return;
  }
  const from = Mark.of(parent) ?? UNSEEN;
  if (from.awaited === 0) from.awaited = ++clock;
  const state = new State(from, piece, ++clock, undefined, BY_V8);
  if (jobAdopts && piece === jobPiece) {
    if (from.at > jobAt || related(from.maker, jobUp)) state.stamp = ADOPTS; // one that is newer was made for it
    else state.maker = STRANGER;
  }
  joining?.push(state);
  new Mark(promise, state);
}

/** A job begins, if it is a promise's that we know: then true. */
function before(promise) {
  const state = flows === undefined ? undefined : Mark.of(promise);
  if (state === undefined) return false;
  let context = flows.of(promise);
  if (callbacks.size) forget();
  jobPiece = undefined;
  jobUp = state.maker;
  jobAt = state.at;
  const { from } = state;
  jobAdopts = true;
  if (from === undefined || state.stamp === BY_ANYBODY) {
    if (state.stamp === BY_ANYBODY && isSubclass(promise) && context?.stamp !== Infinity) {
      flows.take(promise, context = unknown(++clock)); // V8 doesn't tell its parent
    }
  } else if (from.stamp < 0) { // of an async function that awaits a thenable: this is what its then() is to settle
    from.awaited = NEVER;
    state.stamp = BY_ANYBODY;
    state.context = plain(context);
    state.maker.open++;
  } else {
    jobAdopts = false;
    if (from.stamp > 0 && !(context?.stamp >= from.stamp)) {
      const known = from.context.id && (state.stamp === ADOPTS || related(from.maker, state.maker));
      flows.take(promise, context = known ? from.context : unknown(from.stamp));
    }
  }
  state.from = undefined;
  jobBegan = jobContext = plain(context);
  return true;
}

function after() {
  if (callbacks.size) forget();
  jobContext = jobBegan = NOWHERE;
  jobPiece = jobUp = undefined;
  jobAdopts = false;
}

function settled(promise) {
  const state = Mark.of(promise);
  if (state === undefined || state.stamp >= 0) return;
  let context = settling ?? plain(flows.current());
  if (state.stamp === BY_ANYBODY) {
    state.maker.open--;
    if (context !== undefined && context !== state.context && !began(context, state)) {
      context = context.stamp > state.at ? new Unknown(context.stamp) : undefined;
    }
    if (state.from !== undefined) {
      for (let i = 0; i < state.from.length; i++) {
        const each = state.from[i];
        if (each.stamp > (context?.stamp ?? 0)) ({ context } = each);
      }
      state.from = undefined;
    }
  } else if (state.from !== undefined) { // `await 1`: its parent is the promise of the async function
    state.from.awaited = NEVER;
    state.from = undefined;
  }
  state.context = context;
  state.stamp = context?.stamp ?? 0;
}

/** Whether what runs now began in the piece that made the promise, after that, and before it was awaited. */
function began(context, { maker, at, awaited }) {
  let piece = here(context);
  if (piece === maker) return true;
  for (let most = SEARCHED; most && piece.up; most--) {
    if (piece.up === maker) return piece.at >= at && (awaited <= 0 || piece.at < awaited);
    piece = piece.up;
  }
  return false;
}

/** Whether one piece is a branch of the other: a promise that was made in the same flow, or below it. */
function related(one, other) {
  return one === ANY || other === ANY || below(one, other) || below(other, one);
}

/** A callback is no branch: what a program makes when it starts may be awaited by every request. */
function below(piece, top) {
  for (let most = SEARCHED; most && piece; most--, piece = piece.up) {
    if (piece === top) return true;
    if (piece.called) return false;
  }
  return false;
}

/** In the job that begins. */
function unknown(stamp) {
  const context = new Unknown(stamp);
  context.up = jobPiece = new Piece(jobUp, jobAt, false);
  context.at = ++clock;
  return context;
}

/** Of Node's own classes of promises, none is derived from Promise. */
function isSubclass(promise) {
  let at = Object.getPrototypeOf(promise);
  if (at === Promise.prototype) return false;
  for (; at !== null && !types.isProxy(at); at = Object.getPrototypeOf(at)) if (at === Promise.prototype) return true;
  return false;
}

/** Puts the context in force for the rest of this flow, by `put`; without one: nobody's. */
function enter(context = new Unknown(0), put) {
  const before = plain(flows.current()), piece = here(before);
  if (!context.stamp) {
    context.up = piece;
    context.at = ++clock;
  }
  context.stamp = ++clock;
  put(context);
  if (jobContext === before) jobContext = context;
  else callbacks.set(context, piece);
}

/** Calls f, which settles promises of that context and does nothing else that a flow could be told by. */
function settle(context, f, ...args) {
  const outer = settling;
  settling = context;
  try {
    return f(...args);
  } finally {
    settling = outer;
  }
}

/** Promises of which several flows await one, and which others settle for all of them: whoever settles it is believed. */
function share(promise) {
  const state = types.isPromise(promise) ? Mark.of(promise) : undefined;
  if (state === undefined) return;
  if (state.stamp === BY_ANYBODY) {
    state.maker.open--;
    state.stamp = BY_V8;
  }
  state.maker = ANY;
}

/** A promise that stands for no context, whoever settles it: that of a connection. */
function ignore(promise) {
  const state = types.isPromise(promise) ? Mark.of(promise) : undefined;
  if (state === undefined) return;
  if (state.stamp === BY_ANYBODY) state.maker.open--;
  state.context = undefined;
  state.stamp = 0;
}

/** The newest of all, not that of the last one to be settled. */
function join(name) {
  replace(Promise, name, (original) => ({ method() { // no constructor, as the original
    const outer = joining, mine = joining = [];
    let result;
    try {
      result = Reflect.apply(original, this, arguments);
    } finally {
      joining = outer;
    }
    const state = types.isPromise(result) ? Mark.of(result) : undefined;
    if (state?.stamp === BY_ANYBODY) state.from = mine;
    return result;
  } }).method);
}

/** Promises that were made before have no mark: to be called with the first driver that is traced. */
function start(of) {
  flows = of;
  if (!of.made) return undefined;
  const stop = promiseHooks.createHook(of.tells ? { init, settled } : { init, before, after, settled });
  classes.handOver();
  join('all');
  join('allSettled');
  return stop;
}

module.exports = { start, before, after, enter, settle, share, ignore };
