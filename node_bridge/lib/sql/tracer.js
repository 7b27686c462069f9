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
const { keyed } = require('./hashes');
const { keeper, secretOf, hashable, className } = require('./parameters');
const t = require('./statements');
const { Untold } = require('./untold');

const MOST_HEADS = 512;
const MOST_TEXT = 2 * t.LIMIT + 2; // UTF-16 units of a statement that are looked at
const FAILED = 'failed', COMMITTED = 'committed', ROLLED_BACK = 'rolled back';

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

class Tracer {
  /** Errors that were swallowed. */
  troubles = 0;
  #connections = new WeakMap();
  #nowhere = new Connection(this, 0);
  #numbers = 0;
  #heads = new Map(); // driver -> dialect -> statement -> head
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
      if (outcome === 'closed') this.#over(known, known.assumed ? '' : ROLLED_BACK, true);
      else this.#over(known, outcome === COMMITTED ? COMMITTED : ROLLED_BACK, false);
    });
  }

  /** After a savepoint was "set", "released" or "rolled back" to, other than by a statement. */
  savepoint(connection, name, what) {
    this.#guard(() => {
      const where = this.#connection(connection);
      const folded = t.fold(name, where.dialect);
      if (what === 'released') return this.#releaseSavepoint(where, folded);
      const since = contexts.reserve(); // what comes after it has a later one
      return what === 'set' ? this.#setSavepoint(where, folded, since, false) : this.#rollBackTo(where, folded, since);
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
    this.#settings = { window: sql.window, key, keep: keeper(sql.parameters, key), secret };
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
    const head = this.#head(where, token.driver ?? of.driver, of.statement, of.dialect ?? '');
    const statement = new Statement(token.id, where, head); // what is to be written doesn't hold the token
    if (fresh) contexts.enterAsBegun(token);
    this.#recordBeginning(statement, of.parameters, of.many === true);
    token.statement = statement;
    this.#link(statement);
    native.followToken(token, statement);
    return token;
  }

  #recordBeginning(statement, parameters, many) {
    const { keep, secret } = this.#settings, { id, head: { bytes: head }, where: { known: where } } = statement;
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

  /** What is known of a statement before it is run; made once, as long as it is among the last few hundred. */
  #head(where, driver, statement, dialect) {
    const heads = where.driver === driver && where.dialect === dialect ? where.heads : this.#headsOf(where, driver, dialect);
    const given = typeof statement !== 'string' ? null : statement.length > MOST_TEXT ? statement.slice(0, MOST_TEXT) : statement;
    return heads.get(given) ?? this.#newHead(heads, driver, given, typeof statement, dialect);
  }

  #newHead(heads, driver, given, type, dialect) {
    const { text, action, does, savepoint } = given === null ? { text: `<${type}>`, action: t.NOTHING, does: 0, savepoint: '' } : t.read(given, dialect);
    const hash = keyed(this.#settings.key, 'statement', text).toString('hex', 0, 8);
    const bytes = Buffer.from(`{"driver":${JSON.stringify(driver)},"statement":${JSON.stringify(text)},"statement_hash":"${hash}"`);
    const head = { bytes, action, does, savepoint };
    if (heads.size >= MOST_HEADS) heads.clear();
    heads.set(given, head);
    return head;
  }

  #headsOf(where, driver, dialect) {
    let dialects = this.#heads.get(driver);
    if (!dialects) this.#heads.set(driver, dialects = new Map());
    let heads = dialects.get(dialect);
    if (!heads) dialects.set(dialect, heads = new Map());
    if (where.dialect === dialect) [where.driver, where.heads] = [driver, heads];
    return heads;
  }

  #end(s, rows, error, inTransaction, rolledBack, fetchable) {
    s.running = false;
    s.fetchable = fetchable;
    s.ended = native.now();
    if (rows >= 0) s.changed = Number(rows);
    const out = this.#settle(s, inTransaction ?? s.inTransaction, error, rolledBack || s.rolledBack);
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
    this.#over(c, c.assumed ? '' : ROLLED_BACK, true);
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

  /** It has been run: what that means for the transaction. True if the statement goes out of force with it. */
  // eslint-disable-next-line complexity -- one branch a case of transactions.js
  #settle(s, known, error, rolledBack) {
    const c = s.where;
    let { action } = s.head;
    const several = action === t.SEVERAL;
    if (several) {
      const out = this.#settleSeveral(s, known, error, rolledBack);
      if (out !== undefined) return out;
      action = t.NOTHING;
    }
    if (error && known && c.dialect === 'postgresql') c.failed = true;
    if (error && !(known === false && commitsBefore(action))) action = t.NOTHING; // it did nothing, as far as we know
    if (c.assumed && action === t.BEGINS) this.#begun(c);
    const begins = !c.transaction;
    if (c.transaction && commitsBefore(action)) {
      this.#over(c, COMMITTED, false, s);
    } else if (c.transaction && (known === false || endsTransaction(action))) {
      s.transaction = c.transaction;
      if (error) {
        s.word = FAILED;
        this.#finish(s, outcomeOf(error));
      }
      const back = error || rolledBack || action === t.ROLLS_BACK;
      // SQLite alone refuses a ROLLBACK of nothing.
      const unknown = action === t.PREPARES || (action === t.ROLLS_BACK && c.assumed && c.dialect !== 'sqlite');
      this.#over(c, unknown ? '' : back ? ROLLED_BACK : COMMITTED, false);
      return true;
    }
    if (known === false) {
      s.autocommit = !error;
      c.savepoints = [];
      return false;
    }
    // Unknown counts as open, unless the text says otherwise.
    if (!c.number || endsTransaction(action) || action === t.COMMITS_BEFORE) return false;
    if (known === undefined && !c.transaction && error) return false;
    if (begins) [c.transaction, c.assumed] = [s.id, known === undefined && action !== t.BEGINS && action !== t.COMMITS_AND_BEGINS];
    else if (known) c.assumed = false;
    s.transaction = c.transaction;
    if (action === t.SETS_SAVEPOINT) {
      this.#setSavepoint(c, s.head.savepoint, s.id + 1, begins && !c.assumed);
    } else if (action === t.ROLLS_BACK_TO) {
      this.#rollBackTo(c, s.head.savepoint, s.id + 1, s);
      this.#finish(s, 'ended');
      return true;
    } else if (action === t.RELEASES && this.#releaseSavepoint(c, s.head.savepoint) && !known) {
      this.#over(c, COMMITTED, false);
      return true;
    } else if (several && !error) {
      this.#settleSavepoints(s, t.operations(s.head).behind);
    }
    return false;
  }

  /**
   * Several statements in one text: what can't be known stays untold. Undefined: they are like any one, in the transaction
   * that is open then.
   */
  // eslint-disable-next-line complexity -- one branch a case of transactions
  #settleSeveral(s, known, error, rolledBack) {
    const c = s.where, { does, savepoint } = s.head, { first, inside, alone } = t.fates(s.head);
    if (!c.number) return undefined;
    const starts = does & t.LEAVES_OPEN && !(does & (t.BEGINS_BY_END | t.BEGINS_BY_WORK)) && c.dialect !== 'mysql';
    if (c.assumed && !error && starts) this.#begun(c);
    const before = c.transaction, { before: operations, behind } = t.operations(s.head);
    const ends = before && (does & t.ENDS || known === false || (error && savepoint.includes('<')));
    const might = c.assumed ? inside | alone : before ? inside : alone;
    let own = error ? 0 : might, word = '';
    if (ends) word = firstEnd(first, does & t.BEGINS_BY_END, known, error, rolledBack, c);
    if (before && !error) this.#settleSavepoints(s, operations);
    if (ends) {
      if (error) {
        s.word = FAILED;
        s.transaction = word ? before : 0;
        this.#finish(s, outcomeOf(error));
      }
      this.#over(c, word, false, s);
      if (error) return true;
    }
    if (!(own & ~t.GOES_ON) && (own || !ends)) return undefined;
    const open = own & t.GOES_ON && known !== false;
    if (own & t.GOES_ON && !open) own = (own & ~t.GOES_ON) | t.COMMITTED; // committed by itself
    s.word = own === 0 ? word : own === t.COMMITTED ? COMMITTED : own === t.ROLLED_BACK ? ROLLED_BACK : '';
    s.transaction = !s.word ? 0 : ends && s.word === word ? before : s.id;
    if (open) this.#settleSavepoints(s, behind);
    if (might & t.GOES_ON) return false;
    this.#finish(s, 'ended');
    return true;
  }

  #settleSavepoints(s, operations) {
    const c = s.where;
    for (const [sign, name] of operations) {
      if (sign === '+') this.#setSavepoint(c, name, s.id + 1, false);
      else if (sign === '-') this.#releaseSavepoint(c, name);
      else if (sign === '<') this.#rollBackTo(c, name, s.id, s);
      else for (const each of c.savepoints) if (each.since === s.id + 1) each.since = s.id; // what the text did goes, too
    }
  }

  /** The transaction is over, and its statements go out of force; with the connection, all of it. `but`: not this one. */
  #over(c, word, closed, but) {
    const { transaction, told } = c;
    c.transaction = 0;
    c.assumed = c.told = c.failed = false;
    c.savepoints = [];
    for (const s of c.unfinished()) {
      const inside = transaction && s.transaction === transaction;
      if (s.running || s === but || (!inside && !closed)) continue; // others are of flows that had the connection before
      if (inside && !s.word) s.word = word;
      this.#finish(s, closed ? 'closed' : 'ended');
    }
    if (told && word) this.#scope(word, transaction, '"transaction"');
  }

  /**
   * A transaction begins where nobody knew whether one was open: SQLite would have refused that. Statements from before stay
   * in force, in their flows.
   */
  #begun(c) {
    const word = c.dialect === 'sqlite' ? COMMITTED : '';
    for (const s of c.unfinished()) if (s.transaction === c.transaction) s.word ||= word;
    if (c.told && word) this.#scope(word, c.transaction, '"transaction"');
    c.transaction = 0;
    c.assumed = c.told = false;
    c.savepoints = [];
  }

  #scope(word, transaction, scope) {
    if (!this.#closed) this.#record({ id: transaction, text: `{"outcome":"${word}","scope":${scope}}` });
  }

  #setSavepoint(c, name, since, begins) {
    if (c.dialect === 'mysql') c.savepoints = c.savepoints.filter((each) => each.name !== name); // elsewhere it is only hidden
    c.savepoints.push({ name, since, begins: begins && c.dialect === 'sqlite' });
  }

  /** True if it began the transaction, which its release commits. */
  #releaseSavepoint(c, name) {
    const at = c.savepoints.findLastIndex((each) => each.name === name);
    return at >= 0 && c.savepoints.splice(at)[0].begins;
  }

  #rollBackTo(c, name, next, but) {
    const at = c.savepoints.findLastIndex((each) => each.name === name);
    c.failed = false;
    if (at < 0) return; // set where nobody told us: what came after it isn't known
    c.savepoints.length = at + 1; // itself, it stays
    const { since } = c.savepoints[at];
    c.savepoints[at].since = next;
    if (!c.transaction) return;
    for (const s of c.unfinished()) {
      if (s.transaction !== c.transaction || s.id < since || s.running || s === but) continue;
      s.word ||= ROLLED_BACK;
      this.#finish(s, 'ended');
    }
    this.#scope(ROLLED_BACK, c.transaction, `"savepoint","since":${since}`);
  }
}

const THREAD = JSON.stringify(native.threadLabel);
const QUOTED = { __proto__: null, ended: '"ended"', closed: '"closed"', [COMMITTED]: '"committed"', [ROLLED_BACK]: '"rolled back"' };

function quoted(outcome) {
  return QUOTED[outcome] ?? JSON.stringify(outcome);
}

/** What all records of a connection's statements say. */
function describe(number, connection, of) {
  let json = number ? `,"connection":${number}` : '';
  for (const member of number ? ['database', 'server'] : []) {
    const value = typeof of[member] === 'function' ? of[member](connection) : of[member];
    if (typeof value !== 'string' || !value) continue;
    const kept = /[=@]|:\/\//.test(value) ? '?' : value.slice(0, 200); // a connection string may hold a password
    json += `,"${member}":${JSON.stringify(kept)}`;
  }
  return Buffer.from(`${json},"thread":${THREAD}`);
}

/** A record of a beginning, of an end, or with a text of its own. */
function write({ id, head, where, rest, text, outcome, rows, ended, transaction, autocommit }) {
  if (head) native.openContext(id, `${head}${where}${rest}`);
  else if (text) native.updateContext(id, text);
  else native.endStatement(id, outcome, rows, ended, transaction, autocommit);
}

function commitsBefore(action) {
  return action === t.COMMITS_BEFORE || action === t.COMMITS_AND_BEGINS;
}

function endsTransaction(action) {
  return action === t.COMMITS || action === t.ROLLS_BACK || action === t.PREPARES;
}

/** How a text of several statements ended the transaction that was open before it; '': that can't be known. */
function firstEnd(first, byFirst, known, error, rolledBack, { assumed, dialect, failed }) {
  if (error && known !== false) return ''; // perhaps it goes on, perhaps it is another one
  if (!first) return error || rolledBack ? ROLLED_BACK : COMMITTED;
  if (first === t.ROLLED_BACK) return assumed && dialect !== 'sqlite' ? '' : ROLLED_BACK;
  return first === t.COMMITTED && !error && !(byFirst && (rolledBack || failed)) ? COMMITTED : '';
}

/** No message: it may hold the program's data. */
function outcomeOf(error) {
  return `failed: ${(error !== null && typeof error === 'object' && className(error)) || 'Error'}`;
}

module.exports = { Tracer };
