// Holds records of statements back while nothing is watched: nobody needs them yet, and a program that never watches
// leaves no journal. At the thread's first watch() or receive(), statements that may still be in force are written as
// if they had been all along; those that were garbage-collected are dropped.
'use strict';

const { common } = require('../native');

const MOST = 100_000; // statements: while a program never comes to rest, V8 doesn't report which ones were collected

class Untold {
  #tell; // (records): writes them; later ones are written at once
  #records = new Map(); // Statement -> {begin, end: the last one}
  #scopes = []; // of transactions
  #most = 64; // length at which #scopes is next pruned
  #last = 0;

  /** Undefined if something is already watched. */
  static unlessWatched(tell) {
    return common.watching ? undefined : new Untold(tell);
  }

  constructor(tell) {
    this.#tell = tell;
    common.untold.add(new WeakRef(this));
  }

  /** Adds a record, {id, text}; without `statement`: the end of a transaction, or its rollback to a savepoint. */
  add(record, statement) {
    record.order = ++this.#last;
    if (!statement) return this.#scope(record);
    const kept = this.#records.get(statement);
    if (kept) kept.end = record;
    else if (this.#records.set(statement, { begin: record, end: undefined }).size >= MOST) this.tell();
  }

  #scope(record) {
    if (this.#scopes.push(record) < this.#most) return;
    const alive = new Set(Array.from(this.#records.keys(), (statement) => statement.transaction));
    this.#scopes = this.#scopes.filter(({ id }) => alive.has(id));
    this.#most = 2 * this.#scopes.length + 64;
  }

  forget(statement) {
    this.#records.delete(statement);
  }

  tell() {
    const known = this.#scopes;
    for (const { begin, end } of this.#records.values()) known.push(begin, ...(end ? [end] : []));
    this.#tell(known.sort((a, b) => a.order - b.order));
  }
}

module.exports = { Untold };
