// Traces postgres.js: publishes what its queries do.
//
// A query is a promise; handle() runs it when it is first awaited. It goes to any free connection, at once or later,
// which sets the query's `state` (an object of the connection's own) and `statement`: there the statement begins. The
// connection calls the query's resolve(), reject(), forEachFn() and cursorFn() from outside of the program's flows, so
// they are replaced in each query. Everything else is hidden in closures.
'use strict';

const { executionAsyncResource } = require('node:async_hooks');
const { Socket } = require('node:net');
const { types } = require('node:util');

const DRIVER = 'postgres', DIALECT = 'postgresql';
const FILES = ['src/query.js', 'cjs/src/query.js', 'cjs/src/connection.js'];
const STATEMENT = Symbol('memwatch.statement'); // of a query: what is known of it
const CALLED = ['resolve', 'reject', 'forEachFn', 'cursorFn'];
const transactions = new WeakMap(); // state of a connection -> whether it is in a transaction, by its statements
const attended = new WeakSet(); // connections
const ours = new WeakSet(); // functions
const settings = new WeakMap(); // query -> those of the connection that it went to
const servers = new WeakMap(); // state of a connection -> "host:port"

/** @type {import('@memwatch/node/sql').DriverPlugin['install']} */
function install(exported, tools, file, loaded) {
  if (file.endsWith('connection.js')) loaded.exports = noting(exported, tools);
  else installQuery(exported, tools);
}

/** Of the CommonJS build: notes what a query's connection was made with. */
function noting(Connection, { tracer, replace }) {
  return function (options) {
    const connection = Reflect.apply(Connection, this, arguments);
    for (const name of ['connect', 'execute']) {
      replace(connection, name, (original) => function (query) {
        tracer.guard(() => settings.set(query, options));
        return Reflect.apply(original, this, arguments);
      });
    }
    return connection;
  };
}

/** @returns {import('@memwatch/node/sql').StatementBegins} */
function described(query) {
  return {
    driver: DRIVER,
    dialect: DIALECT,
    statement: query.statement.string,
    parameters: query.parameters,
    connection: query.state,
    database: () => settings.get(query)?.database,
    server: () => serverOf(query),
  };
}

function serverOf(query) {
  const { path, host, port } = settings.get(query) ?? {};
  if (path) return path;
  if (host?.length === 1) return `${host[0]}:${port[0]}`; // else it is one of them
  return attendSocket(query.state);
}

/** The first statement of a connection is sent when its socket has brought something: that says where it leads. */
function attendSocket(state) {
  if (servers.has(state)) return servers.get(state);
  const resource = executionAsyncResource();
  const owners = Object.getOwnPropertySymbols(resource).map((symbol) => Object.getOwnPropertyDescriptor(resource, symbol)?.value);
  const socket = /** @type {any} */ (owners.find((owner) => owner instanceof Socket));
  const { host, port } = (socket?.host ? socket : socket?._parent) ?? {}; // the library sets them; below TLS
  if (host) servers.set(state, `${host}:${port}`);
  return servers.get(state);
}

function installQuery({ Query }, { tracer, replace, peek, fresh, following }) {
  replace(Query.prototype, 'handle', (handle) => function () {
    const first = peek(this, 'executed') === false;
    if (first) {
      tracer.guard(() => {
        const own = typeof peek(this, 'canceller') !== 'function';
        expect(this, !own && !this.onlyDescribe, own);
      });
    }
    if (this?.[STATEMENT]) tracer.guard(() => attach(this, this[STATEMENT]));
    const call = () => Reflect.apply(handle, this, arguments);
    return first ? tracer.outside(call) : call(); // it may connect: a connection outlives the statement
  });

  /** Undefined: a transaction may have been begun before anybody saw it. */
  function follow(state) {
    const known = transactions.get(state);
    if (known) return known;
    const begun = following(DIALECT, fresh ? false : undefined);
    if (state) transactions.set(state, begun); // none, of a query that has found no connection
    return begun;
  }

  /**
   * Called before a query runs. Without `traced`, the query is only described, or is one of the library's `own`,
   * which starts a connection.
   */
  function expect(query, traced, own) {
    const { options, options: { onexecute } } = query;
    options.onexecute = function (connection) {
      tracer.guard(() => {
        attend(connection, query.state);
        attendSocket(query.state);
      });
      if (own) follow(query.state).open = false;
      return onexecute ? Reflect.apply(onexecute, this, arguments) : true;
    };
    if (!traced) return;
    const s = { token: /** @type {import('@memwatch/node/sql').Token} */ (null), fetched: 0 };
    Object.defineProperty(query, STATEMENT, { value: s });
    tracer.within(() => {
      const begin = tracer.bind(() => tracer.begin(() => described(query)));
      Object.defineProperty(query, 'statement', {
        configurable: true,
        enumerable: true,
        get: () => null,
        set(value) {
          Object.defineProperty(query, 'statement', { value, writable: true });
          tracer.guard(() => { s.token = begin(); });
        },
      });
    });
  }

  /** What the connection will call. An iteration over a cursor has other functions for each step. */
  function attach(query, s) {
    for (const name of CALLED) {
      const original = query[name];
      if (typeof original !== 'function' || ours.has(original)) continue;
      if (name === 'cursorFn') tracer.fetched(s.token, 0, { enter: true });
      query[name] = function (value) {
        tracer.guard(() => told[name](query, s, value));
        return tracer.run(s.token, () => Reflect.apply(original, this, arguments));
      };
      ours.add(query[name]);
    }
  }

  const told = {
    resolve(query, s, value) {
      if (typeof value?.pipe === 'function') return stream(value, s); // COPY: it goes on
      const results = Array.isArray(value) && !Object.hasOwn(value, 'command') ? value : [value];
      const counts = results.map((each) => each?.count).filter(Number.isInteger);
      tracer.end(s.token, {
        rows: s.fetched || !counts.length ? undefined : counts.reduce((sum, count) => sum + count),
        inTransaction: follow(query.state).after(textOf(query)),
        rolledBack: results[0]?.command === 'ROLLBACK', // also the answer to a COMMIT where a statement had failed
      });
      if (s.fetched) tracer.fetched(s.token, 0, { exhausted: true });
    },
    reject(query, s, error) {
      tracer.end(s.token, { error: error ?? new Error(), inTransaction: follow(query.state).failed(textOf(query), true) });
    },
    forEachFn(query, s) {
      s.fetched++;
      tracer.fetched(s.token, 1);
    },
    cursorFn(query, s, rows) {
      s.fetched += rows.length;
      tracer.fetched(s.token, rows.length);
    },
  };

  /** Its events come from the connection's flow. */
  function stream(of, { token }) {
    const { emit } = of;
    const value = function () {
      return tracer.run(token, () => Reflect.apply(emit, this, arguments));
    };
    Object.defineProperty(of, 'emit', { value, writable: true, configurable: true });
  }

  /** sql.begin() sets a connection's `onclose`, to be called when it is lost. */
  function attend(connection, state) {
    if (attended.has(connection) || types.isProxy(connection)) return;
    attended.add(connection);
    let { onclose } = connection;
    Object.defineProperty(connection, 'onclose', {
      configurable: true,
      enumerable: true,
      set: (value) => { onclose = value; },
      get: () => function () {
        follow(state).open = false; // the next one's
        tracer.transactionEnds(state, 'closed');
        return typeof onclose === 'function' ? Reflect.apply(onclose, this, arguments) : undefined;
      },
    });
  }
}

function textOf({ statement }) {
  return typeof statement?.string === 'string' ? statement.string : ''; // an object of the program's, given to unsafe(), isn't converted
}

module.exports = { name: DRIVER, target: 'postgres', files: FILES, replacesExports: true, install };
