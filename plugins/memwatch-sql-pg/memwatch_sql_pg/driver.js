// Traces pg (node-postgres): publishes what its clients and pools do.
//
// A query is an object whose handle... functions the client calls when messages arrive (a "submittable"): there, rows,
// the end and errors of a statement become known, and the program's callbacks are called. They are replaced where they
// are defined, in the object or its class, so cursors, streams and the program's own classes are traced in the same
// way.
'use strict';

const { types } = require('node:util');

const DRIVER = 'pg', DIALECT = 'postgresql';
const statuses = new WeakMap(); // client -> I, T or E: last status of the server
const STATEMENT = Symbol('memwatch.statement'); // of a query: its state; a WeakMap with short-lived keys would be costly to collect

/** @type {import('@memwatch/node/sql').DriverPlugin['install']} */
function install(pg, tools) {
  const { tracer, replace, peek } = tools;
  const { Client, Pool } = pg;
  replace(Client.prototype, 'query', (query) => function (config, values) {
    const token = config && this.connection ? tracer.begin(() => describe(this, config, values, peek)) : null;
    if (!token) return Reflect.apply(query, this, arguments);
    let result;
    try {
      result = Reflect.apply(query, this, arguments);
    } catch (error) {
      tracer.end(token, { error });
      throw error;
    }
    tracer.guard(() => {
      attend(this, tracer);
      const submitted = typeof peek(config, 'submit') === 'function' ? config : latest(this);
      if (!submitted || types.isProxy(submitted) || submitted[STATEMENT]) tracer.end(token, { error: new Error() }); // the client takes no more
      else follow(submitted, { token, client: this, own: submitted === config, rows: undefined, fetched: 0, rolledBack: undefined }, tools);
    });
    return result;
  });
  replace(Client.prototype, 'connect', (connect) => around(tracer, connect));
  const pools = Object.getPrototypeOf(Pool ?? {})?.prototype; // pg-pool's: pg's own class is derived from it
  replace(pools, 'connect', (connect) => around(tracer, connect));
  replace(pools, 'query', (query) => function () {
    return tracer.within((own) => Reflect.apply(query, this, Array.from(arguments, own)));
  });
}

/** Wraps functions that make connections: these outlive the statement in force, and call back from another flow. */
function around(tracer, connect) {
  return function () {
    const args = Array.from(arguments, (each) => tracer.bind(each));
    return tracer.outside(() => Reflect.apply(connect, this, args));
  };
}

/** @returns {import('@memwatch/node/sql').StatementBegins} */
function describe(client, config, values, peek) {
  let statement = config, parameters = typeof values === 'function' ? null : values;
  if (typeof config !== 'string') { // the program's own object: none of its code is run
    const cursor = peek(config, 'cursor'), name = peek(config, 'name');
    statement = peek(config, 'text') ?? peek(cursor, 'text') ?? (typeof name === 'string' ? client.connection?.parsedStatements?.[name] : undefined);
    parameters ??= peek(config, 'values') ?? peek(cursor, 'values');
  }
  return {
    driver: DRIVER,
    dialect: DIALECT,
    statement,
    parameters,
    connection: client,
    database: client.database,
    server: () => (client.host?.startsWith('/') ? client.host : `${client.host}:${client.port}`),
  };
}

/** Notes a connection's transaction status, and its end. */
function attend(client, tracer) {
  if (statuses.has(client)) return;
  statuses.set(client, client._txStatus ?? client.getTransactionStatus?.() ?? undefined);
  client.connection.prependListener('readyForQuery', (message) => statuses.set(client, message?.status));
  client.connection.once('end', () => tracer.guard(() => tracer.transactionEnds(client, 'closed')));
  for (const event of ['notification', 'notice']) { // several may come at once
    for (const listener of client.connection.listeners(event)) {
      client.connection.off(event, listener);
      client.connection.on(event, function () {
        return tracer.outside(() => Reflect.apply(listener, this, arguments));
      });
    }
  }
}

/** The query that the client made from a text: the last unfinished one. */
function latest(client) {
  const queue = client._queryQueue ?? client.queryQueue;
  const active = '_activeQuery' in client ? client._activeQuery : client.activeQuery;
  return [queue?.at(-1), client._sentQueryQueue?.at(-1), active].find((query) => query && (types.isProxy(query) || !query[STATEMENT]));
}

const inTransaction = (client) => ({ I: false, T: true, E: true })[statuses.get(client)];

const BEFORE = {
  handleCommandComplete(s, { text = '' } = {}) {
    if (typeof text !== 'string') return; // INSERT 0 1, UPDATE 3, BEGIN, CREATE TABLE
    const count = Number(text.slice(text.lastIndexOf(' ') + 1));
    if (count >= 0) s.rows = (s.rows ?? 0) + count;
    s.rolledBack ??= text.startsWith('ROLLBACK'); // the first: also the answer to a COMMIT where a statement had failed
  },
  handleReadyForQuery(s, _, query, tracer) {
    if (query._canceledDueToError) return; // handleError comes next
    tracer.end(s.token, { rows: s.fetched ? undefined : s.rows, inTransaction: inTransaction(s.client), rolledBack: s.rolledBack });
    if (s.fetched) tracer.fetched(s.token, 0, { exhausted: true });
  },
  handleError(s, error, _, tracer) {
    tracer.end(s.token, { error, inTransaction: inTransaction(s.client) });
  },
};
/** For a query object of the program's: these may run its code, and bring rows. */
const OWN = {
  handleDataRow(s, _, query, tracer) {
    s.fetched++;
    tracer.fetched(s.token, 1);
  },
  handleRowDescription() {}, handlePortalSuspended() {}, handleEmptyQuery() {}, handleCopyInResponse() {}, handleCopyData() {},
};
/** @type {[string, Function][]} */
const OF_CLIENT = Object.entries(BEFORE), OF_PROGRAM = [...OF_CLIENT, ...Object.entries(OWN)];
const CALLS_BACK = new Set(['handleReadyForQuery', 'handleError']); // for a query that the client made
const replaced = new WeakMap(); // object or prototype -> names
const ofClients = new WeakSet(); // prototypes of the clients' own queries, already replaced

function follow(query, statement, { tracer, replace, owner }) {
  if (statement.own) Object.defineProperty(query, STATEMENT, { value: statement });
  else query[STATEMENT] = statement; // nobody else sees it
  const prototype = Object.getPrototypeOf(query);
  if (!statement.own && ofClients.has(prototype)) return;
  for (const [name, before] of statement.own ? OF_PROGRAM : OF_CLIENT) {
    const where = owner(query, name);
    if (!isNew(where, name)) continue;
    replace(where, name, (original) => function (message) {
      const s = this[STATEMENT];
      if (!s || (before === OWN[name] && !s.own)) return Reflect.apply(original, this, arguments);
      tracer.guard(() => before(s, message, this, tracer));
      if (!s.own && !CALLS_BACK.has(name)) return Reflect.apply(original, this, arguments); // none of the program's code
      return tracer.run(s.token, () => Reflect.apply(original, this, arguments));
    });
  }
  if (!statement.own) ofClients.add(prototype);
  const reads = statement.own && typeof query.pipe !== 'function' && owner(query, 'read'); // a cursor: its rows are fetched
  if (!reads || !isNew(reads, 'read')) return;
  replace(reads, 'read', (read) => function () {
    tracer.fetched(this[STATEMENT]?.token, 0, { enter: true });
    return Reflect.apply(read, this, arguments);
  });
}

function isNew(where, name) {
  if (!where) return false;
  const names = replaced.get(where);
  if (names?.has(name)) return false;
  replaced.set(where, (names ?? new Set()).add(name));
  return true;
}

module.exports = { name: 'pg', target: 'pg', install };
