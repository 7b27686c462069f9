// Traces sqlite3 (node-sqlite3): publishes what its databases and statements do.
//
// A database's run(), get() ... prepare a statement and call its method of the same name, which begins the statement.
// It runs on a thread of the pool, and the addon calls back without a flow: the program's callbacks are run in the
// statement's flow. If the program gives no callback, ours emits the error, as the addon would.
'use strict';

const DRIVER = 'node-sqlite3', DIALECT = 'sqlite';
const databases = new WeakMap(); // prepared statement -> its database
const bound = new WeakMap(); // prepared statement -> what bind() was given
const transactions = new WeakMap(); // database -> whether it is in one, by its statements: the addon doesn't say

/** @type {import('@memwatch/node/sql').DriverPlugin['install']} */
function install({ Database, Statement }, { tracer, replace, fresh, following }) {
  let call; // of a method of a database that is going on: {database, token}

  function begin(database, statement, given) {
    if (database && !transactions.has(database)) transactions.set(database, following(DIALECT, fresh ? false : undefined));
    const several = given.length === 1 && typeof given[0] === 'object' && given[0] !== null && !ArrayBuffer.isView(given[0]);
    return tracer.begin({
      driver: DRIVER, dialect: DIALECT, statement, parameters: several ? given[0] : given, connection: database,
      database: database?.filename,
    });
  }

  function end(token, database, statement, error, rows) {
    const known = transactions.get(database), text = typeof statement === 'string' ? statement : '';
    const inTransaction = error ? known?.failed(text) : known?.after(text);
    tracer.end(token, { error: error ?? undefined, rows, inTransaction });
  }

  /** The callback, preceded by `before`, in the flow of the statement that `token` returns. */
  function told(token, callback, before) {
    return function () {
      tracer.guard(() => Reflect.apply(before, this, arguments));
      return callback && tracer.run(token(), () => Reflect.apply(callback, this, arguments));
    };
  }

  for (const name of ['run', 'get', 'all', 'each', 'map']) {
    replace(Database.prototype, name, (original) => function (...args) {
      const before = call, mine = { database: this, token: null };
      const failed = (error) => error && tracer.end(mine.token, { error }); // it couldn't be prepared
      if (typeof args.at(-1) === 'function') args.push(told(() => mine.token, args.pop(), failed));
      call = mine;
      try {
        return Reflect.apply(original, this, args);
      } finally {
        call = before;
      }
    });
  }

  for (const name of ['run', 'get', 'all', 'each']) {
    replace(Statement.prototype, name, (original) => function (...args) {
      const database = call?.database ?? databases.get(this);
      const [callback, complete] = functionsAtEnd(args, name === 'each' ? 2 : 1);
      const token = begin(database, this.sql, args.length ? args : bound.get(this) ?? []);
      if (call) call.token = token;
      const done = function (error, result) {
        if (!error && name === 'all') tracer.fetched(token, result?.length ?? 0);
        if (!error && name === 'get' && result !== undefined) tracer.fetched(token, 1);
        end(token, database, this.sql, error, name === 'run' ? this.changes : undefined);
      };
      const row = (error) => (error ? end(token, database, this.sql, error) : tracer.fetched(token, 1));
      const callbacks = name === 'each' ? [[callback ?? emitting, row], [complete, done]] : [[callback ?? emitting, done]];
      return Reflect.apply(original, this, [...args, ...callbacks.map(([each, before]) => told(() => token, each, before))]);
    });
  }
  replace(Statement.prototype, 'bind', (original) => function (...args) {
    const result = Reflect.apply(original, this, args);
    functionsAtEnd(args, 1);
    bound.set(this, args);
    return result;
  });

  if (!fresh) { // others may have been opened before
    replace(Database.prototype, 'emit', (original) => function (event) {
      if (event === 'open') tracer.guard(() => transactions.set(this, following(DIALECT, false)));
      return Reflect.apply(original, this, arguments);
    });
  }

  replace(Database.prototype, 'prepare', (original) => function () {
    const statement = Reflect.apply(original, this, arguments);
    databases.set(statement, this);
    return statement;
  });
  replace(Database.prototype, 'exec', (original) => function (script, ...args) {
    const [callback = emitting] = functionsAtEnd(args, 1);
    const token = begin(this, script, []);
    return Reflect.apply(original, this, [script, ...args, told(() => token, callback, (error) => end(token, this, script, error))]);
  });
  replace(Database.prototype, 'close', (original) => function (...args) {
    const [callback = emitting] = functionsAtEnd(args, 1);
    const closed = (error) => error || tracer.transactionEnds(this, 'closed');
    return Reflect.apply(original, this, [...args, told(() => null, callback, closed)]);
  });
}

function emitting(error) {
  if (error) this.emit('error', error);
}

/** Removes and returns the functions at the end of the arguments, at most so many. */
function functionsAtEnd(args, most) {
  let from = args.length;
  while (from && args.length - from < most && typeof args[from - 1] === 'function') from--;
  return args.splice(from);
}

module.exports = { name: DRIVER, target: 'sqlite3', install };
