// Traces better-sqlite3: publishes what its databases and statements do. Everything in it is synchronous.
'use strict';

const DRIVER = 'better-sqlite3', DIALECT = 'sqlite';
const bound = new WeakMap(); // statement -> arguments of bind()
const iterating = new WeakMap(); // iterator -> its token
const followed = new WeakSet(); // prototypes of the addon's classes, which it doesn't export

/** @type {import('@memwatch/node/sql').DriverPlugin['install']} */
function install(Database, { tracer, replace }) {
  const { prototype } = Database;

  function describe(database, statement, parameters) {
    return { driver: DRIVER, dialect: DIALECT, statement, parameters, connection: database, database: () => database.name };
  }

  /** `told`: converts the result to arguments of end() and fetched(). */
  function traced(call, database, of, told) {
    const token = tracer.begin(of);
    let result;
    try {
      result = call();
    } catch (error) {
      tracer.guard(() => tracer.end(token, { error, inTransaction: database?.inTransaction }));
      throw error;
    }
    tracer.guard(() => {
      const { rows, ...fetched } = told?.(result, token) ?? {};
      tracer.end(token, { rows, inTransaction: database?.inTransaction, fetchable: 'count' in fetched });
      if ('count' in fetched) tracer.fetched(token, fetched.count, fetched);
    });
    return result;
  }

  const outcomes = {
    run: (result) => ({ rows: result.changes }),
    get: (row) => ({ count: row === undefined ? 0 : 1, exhausted: true }),
    all: (rows) => ({ count: rows.length, exhausted: true }),
    iterate(iterator, token) {
      iterating.set(iterator, token);
      followIterators(Object.getPrototypeOf(iterator));
      return { count: 0 };
    },
  };

  function followStatements(statement) {
    const statements = Object.getPrototypeOf(statement);
    if (followed.has(statements)) return;
    followed.add(statements);
    for (const [name, told] of Object.entries(outcomes)) {
      replace(statements, name, (original) => function () {
        if (!this?.database) return Reflect.apply(original, this, arguments); // it throws
        const given = arguments.length ? arguments : bound.get(this) ?? [];
        const of = () => describe(this.database, this.source, parametersOf(given));
        return traced(() => Reflect.apply(original, this, arguments), this.database, of, told);
      });
    }
    replace(statements, 'bind', (original) => function () {
      const result = Reflect.apply(original, this, arguments);
      bound.set(this, arguments);
      return result;
    });
  }

  function followIterators(iterators) {
    if (followed.has(iterators)) return;
    followed.add(iterators);
    replace(iterators, 'next', (original) => function () {
      const result = Reflect.apply(original, this, arguments);
      const token = iterating.get(this);
      if (token) tracer.fetched(token, result.done ? 0 : 1, result.done ? { exhausted: true } : { enter: true });
      return result;
    });
    replace(iterators, 'return', (original) => function () {
      const result = Reflect.apply(original, this, arguments);
      tracer.cursorClosed(iterating.get(this));
      return result;
    });
  }

  replace(prototype, 'prepare', (original) => function () {
    const statement = Reflect.apply(original, this, arguments);
    tracer.guard(() => followStatements(statement));
    return statement;
  });
  for (const name of ['transaction', 'pragma', 'explain']) { // they prepare statements without calling prepare()
    const { prepare } = prototype;
    replace(prototype, name, (original) => function () {
      if (this?.open) tracer.guard(() => Reflect.apply(prepare, this, ['COMMIT'])); // only to get a statement's prototype
      return Reflect.apply(original, this, arguments);
    });
  }
  replace(prototype, 'exec', (original) => function (source) {
    return traced(() => Reflect.apply(original, this, arguments), this, () => describe(this, source));
  });
  replace(prototype, 'close', (original) => function () {
    const result = Reflect.apply(original, this, arguments);
    tracer.transactionEnds(this, 'closed');
    return result;
  });
}

/** An object of named parameters, or a list. */
function parametersOf(given) {
  if (given.length !== 1) return Array.from(given);
  const [only] = given;
  const several = typeof only === 'object' && only !== null && !ArrayBuffer.isView(only);
  return several ? only : [only];
}

module.exports = { name: 'better-sqlite3', target: 'better-sqlite3', install };
