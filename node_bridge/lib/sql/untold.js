// What is to be written about statements while nothing is watched: nobody needs it yet, and a program that never watches
// leaves no journal. When the first watch() or receive() of the thread is called, statements that may still be in force
// somewhere are written as if they had been all along; those that nobody holds any more are forgotten.
'use strict';

const { common } = require('../native');

const MOST = 100_000; // statements: of a program that never comes to rest, V8 doesn't say which ones nobody holds

class Untold {
  #tell; // (records): writes them; from then on they are written at once
  #records = new Map(); // Statement -> {begin, end: the last one}
  #scopes = []; // of transactions
  #most = 64; // of those, before they are looked through
  #last = 0;

  /** Undefined if something is watched already. */
  static unlessWatched(tell) {
    return common.watching ? undefined : new Untold(tell);
  }

  constructor(tell) {
    this.#tell = tell;
    common.untold.add(new WeakRef(this));
  }

  /** A record, {id, text}; without `statement`, of how a transaction ended, or was rolled back to a savepoint. */
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
