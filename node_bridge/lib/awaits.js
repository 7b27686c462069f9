// Carries SQL contexts through awaits: the context of awaited code comes into force where it is awaited.
//
// A settled promise keeps the context that was in force when it was settled. A promise job - the rest of an async
// function after `await p`, a callback of p.then() - belongs to a promise that V8 creates with p as its parent. Before
// the job runs, the flow takes over p's context if that came into force later than the flow's own.
//
// Anybody may settle a promise with resolve functions: a semaphore's is settled by the flow that leaves the semaphore,
// whose context has nothing to do with the promise. So code is divided into pieces: a piece runs without interruption,
// between two awaits. Such a promise accepts only the context of a flow that began in the piece that made the promise,
// after that and before the promise was awaited: `await new Promise((done) => begin(done))`. Any other context isn't
// taken over; if it came into force while the promise was pending, the promise's context is Unknown, and Unknown is
// handed up like a context. The same applies if the awaited promise was made in a piece that is unrelated to the
// awaiting one, or related only through a callback: a lock made of chained promises, a batch for several flows, a
// promise that a server made when it started.
'use strict';

const { types } = require('node:util');
const { promiseHooks } = require('node:v8');
const classes = require('./sql/classes');
const { replace } = require('./sql/patches');

const { queueMicrotask, Promise } = globalThis; // the program may replace them
const SHORTEN = 64, LONGEST = 256, SEARCHED = 1000; // pieces
const BY_V8 = -1, BY_ANYBODY = -2; // who settles a pending promise
const ADOPTS = -3; // V8, for a promise resolved with the parent
const NEVER = -1;
const NOWHERE = {};

let flows; // of contexts.js: current(); for promises: made() in init, of() in before, take(). If `tells`, contexts.js
// calls before() and after() itself, because its own hook runs anyway: V8 takes 0.1 µs an await for a second one
let clock = 0; // counts contexts that come into force, and promises

/** Stands for a context that nobody knows: none is in force, and that is newer than the last one. */
class Unknown {
  id = 0;
  /** @type {Piece | undefined} */
  up = undefined;
  at = 0;
  constructor(stamp) {
    this.stamp = stamp;
  }
}

/** Code that runs without interruption: a promise job, or a callback. */
class Piece {
  open = 0; // promises that it made, that anybody may settle, and that are pending: if 0, nobody will look for it
  constructor(up, at, called) {
    this.up = up; // the piece that it branched off from
    this.at = at; // when
    this.called = called; // whether it is a callback
    this.depth = up === undefined ? 0 : up.depth + 1;
    if (this.depth > 0 && this.depth % SHORTEN === 0) shorten(this);
  }
}

/** Shortens a chain to its last pieces, and those that somebody may look for: an endless loop is one chain. */
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
  if (n > LONGEST) { // by promises that are never settled
    piece.up = undefined;
    piece.depth = 0;
  }
}

const ANY = new Piece(undefined, 0, true); // made the promises that are everybody's
const STRANGER = new Piece(undefined, 0, true);

/** The known state of a promise. */
class State {
  constructor(from, maker, at, context, stamp) {
    this.from = from; // state of the parent, until the job begins; for Promise.all: states that it waits for
    this.maker = maker; // the piece that made it
    this.at = at; // when
    this.context = context; // in force when it was made (BY_ANYBODY), or when it was settled
    this.stamp = stamp; // BY_V8, BY_ANYBODY, ADOPTS; if settled: when the context came into force, 0: none
    this.awaited = 0; // when first awaited; NEVER: of an async function, settled only by V8
  }
}

const UNSEEN = new State(undefined, ANY, 0, undefined, 0); // for promises made before start()

/** A private field on promises: no WeakMap, and invisible to the program. */
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

// The running piece: a promise job, while it stays in its own flow; or a callback, which branched off where its context
// came into force.
let jobContext = NOWHERE, jobBegan = NOWHERE; // now; and at first, as again after an AsyncResource's scope
let jobPiece; // created on demand, from:
let jobUp, jobAt = 0;
let jobAdopts = false; // whether its promise is resolved with another promise, or with a thenable
let joining; // states of the promises that Promise.all is making
let settling; // the context of what settle() calls
const callbacks = new Map(); // context -> piece

/** The running piece, in the flow of a context. */
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

/** The statement instead of the context inside its run() call, which counts as newer than any other. */
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
    if (from.at > jobAt || related(from.maker, jobUp)) state.stamp = ADOPTS; // a newer one was made for it
    else state.maker = STRANGER;
  }
  joining?.push(state);
  new Mark(promise, state);
}

/** Called when a job begins; true if it is that of a known promise. */
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
      flows.take(promise, context = unknown(++clock)); // V8 doesn't report its parent
    }
  } else if (from.stamp < 0) { // of an async function that awaits a thenable: settled by the thenable's then()
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

/** Whether the running code began in the piece that made the promise, after that, and before it was awaited. */
function began(context, { maker, at, awaited }) {
  let piece = here(context);
  if (piece === maker) return true;
  for (let most = SEARCHED; most && piece.up; most--) {
    if (piece.up === maker) return piece.at >= at && (awaited <= 0 || piece.at < awaited);
    piece = piece.up;
  }
  return false;
}

/** Whether one piece branched off from the other: the promise was made in the same flow, or below it. */
function related(one, other) {
  return one === ANY || other === ANY || below(one, other) || below(other, one);
}

/** A callback isn't a branch: what a program makes at its start may be awaited by every request. */
function below(piece, top) {
  for (let most = SEARCHED; most && piece; most--, piece = piece.up) {
    if (piece === top) return true;
    if (piece.called) return false;
  }
  return false;
}

/** An Unknown context in the beginning job. */
function unknown(stamp) {
  const context = new Unknown(stamp);
  context.up = jobPiece = new Piece(jobUp, jobAt, false);
  context.at = ++clock;
  return context;
}

/** Whether a promise is of a subclass of Promise; Node's own promise classes aren't derived from it. */
function isSubclass(promise) {
  let at = Object.getPrototypeOf(promise);
  if (at === Promise.prototype) return false;
  for (; at !== null && !types.isProxy(at); at = Object.getPrototypeOf(at)) if (at === Promise.prototype) return true;
  return false;
}

/** Puts a context in force for the rest of this flow, by `put`; without one: an Unknown. */
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

/**
 * For a promise that several flows await, and that is settled for all of them: accepts the context of whoever settles
 * it.
 */
function share(promise) {
  const state = types.isPromise(promise) ? Mark.of(promise) : undefined;
  if (state === undefined) return;
  if (state.stamp === BY_ANYBODY) {
    state.maker.open--;
    state.stamp = BY_V8;
  }
  state.maker = ANY;
}

/** For a promise without a context, whoever settles it: that of a connection. */
function ignore(promise) {
  const state = types.isPromise(promise) ? Mark.of(promise) : undefined;
  if (state === undefined) return;
  if (state.stamp === BY_ANYBODY) state.maker.open--;
  state.context = undefined;
  state.stamp = 0;
}

/** Gives Promise.all and its like the newest context of all their promises, not that of the one settled last. */
function join(name) {
  replace(Promise, name, (original) => ({ method() { // not a constructor, as the original
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

/** Starts following promises. Earlier promises have no mark: call it with the first traced driver. */
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
