// What is held of statements that may still be in force: by flows and by the driver a token, by its connection what is to be
// written about it.
'use strict';

/** A statement in the driver's hands and in flows. `id` is what the core reads. */
class Token {
  up = undefined; // these are for awaits.js
  at = 0;
  stamp = 0;
  constructor(id) {
    this.id = id;
    this.statement = undefined; // once it has begun
    this.driver = undefined; // whose name it goes by, if not that of the driver that begins it
  }
}

/** The flow inside of a call that runs a statement by means of other drivers' functions. */
class Inside {
  stamp = Infinity; // for awaits.js: nothing takes its place
  constructor(token) {
    this.id = token.id;
    this.token = token;
  }
}

/** Token of a statement that is a part of another one. */
class Part {
  constructor(whole) {
    this.whole = whole;
  }
}

class Statement {
  running = true;
  fetchable = true; // rows may come
  finished = false;
  fetched = -1;
  changed = -1;
  ended = -1; // us since 1970
  transaction = 0;
  autocommit = false;
  word = ''; // the last one about it: what is told whenever it goes out of force again
  inTransaction = undefined; // as a part of it said
  rolledBack = false;
  /** @type {Statement | undefined} */
  next = undefined; // of those of its connection that are unfinished
  /** @type {Statement | undefined} */
  previous = undefined;

  constructor(id, where, head) {
    this.id = id;
    this.where = where;
    this.head = head;
  }
}

class Connection {
  /** @type {Statement | undefined} */
  first = undefined; // of its unfinished statements, as they began
  /** @type {Statement | undefined} */
  last = undefined;
  transaction = 0; // id of its first context, 0: none open
  assumed = false; // nobody knows whether it is open, or since when
  told = false; // a statement of the open transaction has its OUTCOME record already
  failed = false; // PostgreSQL: one of them has failed, so that COMMIT may roll back
  savepoints = []; // {name, since, begins}
  known = undefined; // what records say of it, and of this thread
  dialect = '';
  heads = undefined; // of the driver that was the last to use it
  driver = undefined;

  constructor(tracer, number) {
    this.tracer = tracer;
    this.number = number;
  }

  /** Its unfinished statements, now. */
  unfinished() {
    const all = [];
    for (let s = this.first; s; s = s.next) all.push(s);
    return all;
  }
}

module.exports = { Token, Inside, Part, Statement, Connection };
