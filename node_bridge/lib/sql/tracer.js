// What SQL drivers publish, given its meaning: statements of connections, in force in execution flows, written to the
// journal. The rules are those of Python's tracer (memwatch_core/records.py: SqlTracer, memwatch_core/python/sql), but
// for what a flow is: AsyncLocalStorage tells flows apart, and an async function that goes on after its first `await` has
// one of its own.
//
// Lifetimes: the token of a statement is held by the flows that it is in force in and by the driver, as long as rows may
// come; what is to be written about it is held by its connection. When nobody holds the token any more, the statement
// ends.
//
// Nothing here throws: errors are counted, and the first is reported.
'use strict';

const awaits = require('../awaits');
const contexts = require('../contexts');
const native = require('../native');
const { say } = require('../printed');
const sessions = require('../session');
const { Heads } = require('./heads');
const { Token, Inside, Part, Statement, Connection } = require('./held');
const { keeper, secretOf, hashable } = require('./parameters');
const { describe, write, quoted, outcomeOf, FAILED, COMMITTED, ROLLED_BACK } = require('./records');
const t = require('./statements');
const { Transactions } = require('./transactions');
const { Untold } = require('./untold');

class Tracer {
  /** Errors that were swallowed. */
  troubles = 0;
  #connections = new WeakMap();
  #nowhere = new Connection(this, 0);
  #numbers = 0;
  #transactions = new Transactions(
    (statement, outcome) => this.#finish(statement, outcome),
    (record) => { if (!this.#closed) this.#record(record); },
  );
  #busy = new Set(); // connections that may have unfinished statements
  #settings; // of the session; known with the first statement
  #untold; // as long as nothing is watched
  #closed = false;
  #gone; // how many tokens nobody holds any more
  #collections = new FinalizationRegistry(() => this.#watchCollections());
  #lost = new FinalizationRegistry((connection) => this.#guard(() => this.#dropped(connection)));

  // ---- statements ----------------------------------------------------------------------------------------------------

  /**
   * Before a statement is run: returns its token (null: it isn't traced), and puts it in force in this flow.
   * `of`: {driver, statement, parameters, connection, database, server, dialect, many}. `statement`: its text;
   * `connection`: an object that lives as long as it; `database`, `server` (host:port, or a socket's path): strings, or
   * functions of it that return them, asked once for each connection; `dialect`: sqlite, postgresql, mysql; `many`: parameters
   * is an array of rows. Or a function that returns it, and its arguments.
   */
  begin(of, ...args) {
    try {
      return this.#begin(typeof of === 'function' ? of(...args) : of);
    } catch (error) {
      this.#swallow(error, true);
      return null;
    }
  }

  /**
   * Calls f, in which a statement will be run that is in force in this flow from now on, wherever in f it begins: for
   * pools, and for libraries on top of drivers. `driver`: the name that it goes by, if not the driver's. With `token`, of
   * a statement that has begun: whatever f runs is a part of it.
   */
  within(f, options) {
    const inside = this.#guard(() => {
      const { driver, token } = options ?? {};
      if (token instanceof Part || this.#closed || contexts.current() instanceof Inside) return null;
      const expected = token ?? new Token(contexts.reserve());
      expected.driver = driver;
      contexts.enter(expected);
      return new Inside(expected);
    }, null);
    const own = (callback) => (inside && typeof callback === 'function' ? contexts.bind(callback, inside.token) : callback);
    return inside ? contexts.run(inside, f, own) : f(own);
  }

  /** Calls f in the flow of a statement, as the driver calls the program's callbacks; before() told that it has ended. */
  run(token, f, ...args) {
    return token instanceof Token ? contexts.run(token, f, ...args) : f(...args);
  }

  /** The same, if f settles promises of the library's own and calls nothing of the program's. */
  settle(token, f, ...args) {
    return token instanceof Token ? contexts.settle(token, f, ...args) : f(...args);
  }

  /** Calls f where nothing is in force, nor afterwards what came into force in it: what makes connections, which outlive the statement. */
  outside(f) {
    const result = contexts.run(undefined, f);
    this.#guard(() => awaits.ignore(result));
    return result;
  }

  /** The promise, which others settle for several flows at once, as a batch does: each that awaits it gets its statement. */
  shared(promise) {
    this.#guard(() => awaits.share(promise));
    return promise;
  }

  /** The function, to be called in the flow in which bind() is: for callbacks of pools. */
  bind(f) {
    return typeof f === 'function' ? contexts.bind(f) : f;
  }

  /**
   * After a statement was run, also when it failed (`error`). `rows`: how many it changed; `inTransaction`: whether the
   * connection is in one now, if that is known; `rolledBack`: if that ended the transaction, then by a rollback;
   * `fetchable`: rows will still come.
   */
  end(token, ends) {
    try {
      const { rows, error, inTransaction, rolledBack = false, fetchable = false } = ends ?? {};
      if (token instanceof Part) {
        const { statement } = token.whole;
        Object.assign(statement, { inTransaction, rolledBack });
        if (rows >= 0) statement.changed = rows;
      } else if (token?.statement?.running) {
        this.#end(token.statement, rows, error, inTransaction, rolledBack, fetchable);
      }
    } catch (error) {
      this.#swallow(error, false);
    }
  }

  /** Rows were handed to the program, in this flow; `exhausted`: no more will come. `enter`: it is in force here again. */
  fetched(token, count, options) {
    this.#guard(() => {
      const { exhausted = false, enter = false } = options ?? {};
      const { statement } = (token instanceof Part ? token.whole : token) ?? {};
      if (!statement || this.#settings.window === 'statement') return;
      if (count > 0) {
        statement.fetched = Math.max(statement.fetched, 0) + count;
        if (!this.#closed && statement.word !== FAILED) this.#again(statement);
      }
      if (enter && token instanceof Token && !statement.finished) contexts.enter(token);
      if (exhausted) statement.fetchable = false;
      if (exhausted && !statement.running && this.#settings.window === 'fetch') this.#finish(statement, 'ended');
    });
  }

  /** The program closed the cursor that ran the statement. Who has all rows, `allFetched`, uses them afterwards. */
  cursorClosed(token, allFetched = false) {
    this.#guard(() => {
      const { statement } = token ?? {};
      if (!(token instanceof Token) || !statement) return; // of a part: its whole goes on
      const all = allFetched === true || !statement.fetchable;
      statement.fetchable = false;
      if (statement.finished || statement.running) return;
      const { window } = this.#settings;
      const open = statement.transaction && statement.transaction === statement.where.transaction;
      const goesOn = (window === 'transaction' && open) || (all && (window === 'transaction' || window === 'until-next'));
      if (!goesOn) this.#finish(statement, 'closed');
    });
  }

  // ---- transactions --------------------------------------------------------------------------------------------------

  /** After commit, rollback or loss of a connection, other than by a statement: "committed", "rolled back", "closed". */
  transactionEnds(connection, outcome) {
    this.#guard(() => {
      const known = this.#connections.get(connection);
      if (!known) return;
      if (outcome === 'closed') this.#transactions.over(known, known.assumed ? '' : ROLLED_BACK, true);
      else this.#transactions.over(known, outcome === COMMITTED ? COMMITTED : ROLLED_BACK, false);
    });
  }

  /** After a savepoint was "set", "released" or "rolled back" to, other than by a statement. */
  savepoint(connection, name, what) {
    this.#guard(() => {
      const where = this.#connection(connection);
      const folded = t.fold(name, where.dialect);
      if (what === 'released') return this.#transactions.releaseSavepoint(where, folded);
      const since = contexts.reserve(); // what comes after it has a later one
      return what === 'set' ? this.#transactions.setSavepoint(where, folded, since, false) : this.#transactions.rollBackTo(where, folded, since);
    });
  }

  /** Ends every context, before the journal is closed. Drivers may go on publishing; nothing comes of it. */
  close() {
    this.#guard(() => {
      if (this.#closed) return;
      this.#closed = true;
      for (const connection of this.#busy) for (const statement of connection.unfinished()) this.#finish(statement, 'ended');
    });
  }

  // ---- what is behind ------------------------------------------------------------------------------------------------

  /** Calls f; what it throws is counted, and undefined returned: for whatever a driver does besides calling its target. */
  guard(f, ...args) {
    try {
      return f(...args);
    } catch (error) {
      this.#swallow(error, false);
      return undefined;
    }
  }

  /** Nobody can bring the statement into force any more. */
  collected(s) {
    try {
      this.#untold?.forget(s);
      if (!s.finished && !this.#closed) this.#finish(s, 'ended');
    } catch (error) {
      this.#swallow(error, false);
    }
  }

  #guard(f, otherwise, clear) {
    try {
      return f();
    } catch (error) {
      this.#swallow(error, clear);
      return otherwise;
    }
  }

  /** `clear`: rather no statement in force than the one before. */
  #swallow(error, clear) {
    if (native.opened()?.[1] === false) this.#closed = true; // the program has closed the session
    else this.trouble(error);
    if (clear) try { contexts.enter(undefined); } catch { /* it was said */ }
  }

  /** An error of tracing, the driver's or ours. Its message may hold the program's data, so it isn't shown. */
  trouble(error) {
    if (this.troubles++) return;
    const [line] = /^\s+at .*/m.exec(typeof error?.stack === 'string' ? error.stack : '') ?? [''];
    const name = typeof error?.name === 'string' ? error.name : 'error';
    const said = name === 'SessionError' ? `: ${error.message}` : ` (${name}${line && `, ${line.trim()}`})`;
    say(`tracing a SQL statement failed${said}; the program is unaffected, some events will lack their statement; `
      + 'further failures are only counted');
  }

  #start() {
    this.#closed = true; // unless all of this succeeds
    const { settings: { sql } } = sessions.current();
    const key = sessions.key();
    const secret = sql.parameters === 'hash' ? secretOf(key) : undefined;
    this.#settings = { window: sql.window, heads: new Heads(key), keep: keeper(sql.parameters, key), secret };
    this.#untold = Untold.unlessWatched((records) => {
      this.#untold = undefined;
      for (const record of records) this.guard(write, record);
    });
    process.on('exit', () => this.close());
    this.#gone = native.goneTokens();
    this.#watchCollections();
    this.#closed = false;
  }

  /** Of a program that runs no more statements, we hear after V8's next full collection. */
  #watchCollections() {
    this.#collections.register({}, undefined);
    if (this.#gone[0]) this.#collect();
  }

  /** Statements of this thread, also of other copies of this package. */
  #collect() {
    for (const statement of native.goneStatements()) statement.where.tracer.collected(statement);
  }

  #begin(of) {
    if (this.#closed) return null;
    const here = contexts.current();
    let token;
    if (here instanceof Inside) {
      if (!here.token.statement) token = here.token;
      else if (here.token.statement.running) return new Part(here.token);
    }
    if (!this.#settings) this.#start();
    if (this.#gone[0]) this.#collect();
    const fresh = !token;
    token ??= new Token(contexts.reserve());
    const where = this.#connection(of.connection, of);
    const head = this.#settings.heads.of(where, token.driver ?? of.driver, of.statement, of.dialect ?? '');
    const statement = new Statement(token.id, where, head); // what is to be written doesn't hold the token
    if (fresh) contexts.enterAsBegun(token);
    this.#recordBeginning(statement, of.parameters, of.many === true);
    token.statement = statement;
    this.#link(statement);
    native.followToken(token, statement);
    return token;
  }

  #recordBeginning(statement, parameters, many) {
    const { keep, secret } = this.#settings, { id, head: { bytes: head, text: said }, where: { known: where } } = statement;
    if (native.common.judged) native.contextSays(id, said);
    let rest = false;
    if (secret && !many && hashable(parameters)) rest = native.beginStatement(id, !this.#untold, head, where, secret, parameters);
    if (rest === false) {
      const list = keep?.(parameters, many);
      const text = list?.length ? `,"parameters":${JSON.stringify(list)}` : '';
      rest = native.beginStatement(id, !this.#untold, head, where, undefined, text);
    }
    this.#untold?.add({ id, head, where, rest }, statement);
  }

  #connection(object, of) {
    let known = object ? this.#connections.get(object) : this.#nowhere;
    if (!known) {
      known = new Connection(this, ++this.#numbers);
      this.#connections.set(object, known);
      this.#lost.register(object, known);
    }
    if (!known.known && of) {
      known.dialect = of.dialect ?? '';
      known.known = describe(known.number, object, of);
    }
    return known;
  }

  #end(s, rows, error, inTransaction, rolledBack, fetchable) {
    s.running = false;
    s.fetchable = fetchable;
    s.ended = native.now();
    if (rows >= 0) s.changed = Number(rows);
    const out = this.#transactions.settle(s, inTransaction ?? s.inTransaction, error, rolledBack || s.rolledBack);
    if (error) {
      s.word = FAILED;
      this.#finish(s, outcomeOf(error));
    } else if (!out && (this.#settings.window === 'statement' || (this.#settings.window === 'fetch' && !fetchable))) {
      this.#finish(s, 'ended');
    }
  }

  /** A connection was collected, which rolls back; but its last statement stays in force, as its rows live on. */
  #dropped(c) {
    for (const s of c.unfinished()) {
      if (c.transaction && s.transaction === c.transaction) continue;
      this.#unlink(s);
      s.where = this.#nowhere;
      this.#link(s);
    }
    this.#transactions.over(c, c.assumed ? '' : ROLLED_BACK, true);
    if (!c.first) this.#busy.delete(c);
  }

  #again(s) {
    if (!s.finished) return;
    this.#record({ id: s.id, text: '{"outcome":"open"}' }, s);
    s.finished = false;
    this.#link(s);
  }

  /** Writes a record, at once or once something is watched. `statement`: none, if it is of a transaction. */
  #record(record, statement) {
    if (this.#untold) this.#untold.add(record, statement);
    else write(record);
  }

  #link(s) {
    const { where } = s;
    if (!where.first) this.#busy.add(where);
    s.previous = where.last;
    s.next = undefined;
    if (where.last) where.last.next = s;
    else where.first = s;
    where.last = s;
  }

  #unlink(s) {
    const { where, previous, next } = s;
    if (previous) previous.next = next;
    else where.first = next;
    if (next) next.previous = previous;
    else where.last = previous;
    s.previous = s.next = undefined;
  }

  /** Writes the OUTCOME record. */
  #finish(s, outcome) {
    if (s.finished) return;
    s.finished = true;
    this.#unlink(s);
    const { id, where, transaction, word, ended, autocommit } = s;
    const said = word === COMMITTED || word === ROLLED_BACK ? word : outcome;
    if (transaction && transaction === where.transaction) where.told = true;
    const rows = s.fetched >= 0 ? s.fetched : s.changed;
    if (this.#untold) this.#untold.add({ id, outcome: quoted(said), rows, ended, transaction, autocommit }, s);
    else native.endStatement(id, quoted(said), rows, ended, transaction, autocommit);
  }
}

module.exports = { Tracer };
