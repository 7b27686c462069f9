// Traces pg (node-postgres): publishes what its clients and pools do.
//
// A query is an object whose handle... functions the client calls when messages arrive (a "submittable"): there, rows,
// the end and errors of a statement become known, and the program's callbacks are called. They are replaced where they
// are defined, in the object or its class, so cursors, streams and the program's own classes are traced in the same
// way.
'use strict';

const { types } = require('node:util');

const DRIVER = 'pg', DIALECT = 'postgresql';
const { Promise } = globalThis; // the program may replace it
const statuses = new WeakMap(); // client -> I, T or E: what the server said last
const STATEMENT = Symbol('memwatch.statement'); // of a query: what is known of it; a WeakMap of short-lived keys is dear to collect

/** @type {import('@memwatch/node/sql').DriverPlugin['install']} */
function install(pg, tools) {
  const { tracer, replace, peek, fresh } = tools;
  const { Client, Pool } = pg;
  replace(Client.prototype, 'query', (query) => function (config, values) {
    const token = config && this.connection ? tracer.begin(describe, this, config, values, peek) : null;
    if (!token) return Reflect.apply(query, this, arguments);
    let result;
    try {
      result = Reflect.apply(query, this, arguments);
    } catch (error) {
      tracer.end(token, { error });
      throw error;
    }
    tracer.guard(submitted, this, config, token, result);
    return result;
  });
  function submitted(client, config, token, result) {
    attend(client, tracer);
    const own = typeof config !== 'string' && typeof peek(config, 'submit') === 'function';
    const query = own ? config : latest(client);
    if (!query || types.isProxy(query) || query[STATEMENT]) return tracer.end(token, { error: new Error() }); // the client takes no more
    return follow(query, { token, client, own, settles: fresh && settles(client, result), rows: -1, fetched: 0, rolledBack: undefined }, tools);
  }
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
    server,
  };
}

const server = ({ host, port }) => (host?.startsWith('/') ? host : `${host}:${port}`);

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
  const isNew = (query) => query && (types.isProxy(query) || !query[STATEMENT]);
  const queued = (client._queryQueue ?? client.queryQueue)?.at(-1);
  if (isNew(queued)) return queued;
  const sent = client._sentQueryQueue?.at(-1);
  if (isNew(sent)) return sent;
  const active = '_activeQuery' in client ? client._activeQuery : client.activeQuery;
  return isNew(active) ? active : undefined;
}

/**
 * Whether the client made a promise because there is no callback of the program's: that is all that the query calls back to.
 * Asked only if nobody can have put functions of his own between ours and the client's.
 */
function settles(client, result) {
  return types.isPromise(result) && client._Promise === Promise && Object.getPrototypeOf(result) === Promise.prototype;
}

function inTransaction(client) {
  const status = statuses.get(client);
  return status === 'T' || status === 'E' ? true : status === 'I' ? false : undefined;
}

/** -1: there is none. */
function countAtTheEnd(text) {
  let at = text.length, count = 0;
  for (let place = 1; at > 0; place *= 10) {
    const digit = text.charCodeAt(at - 1) - 48;
    if (digit < 0 || digit > 9) break;
    count += digit * place;
    at--;
  }
  return at < text.length && text.charCodeAt(at - 1) === 32 ? count : -1;
}

const BEFORE = {
  handleCommandComplete(s, message) {
    const text = message?.text;
    if (typeof text !== 'string') return; // INSERT 0 1, UPDATE 3, BEGIN, CREATE TABLE
    const count = countAtTheEnd(text);
    if (count >= 0) s.rows = Math.max(s.rows, 0) + count;
    s.rolledBack ??= text.startsWith('ROLLBACK'); // the first: also the answer to a COMMIT where a statement had failed
  },
  handleReadyForQuery(s, _, query, tracer) {
    if (query._canceledDueToError) return; // handleError comes next
    tracer.end(s.token, { rows: s.fetched ? -1 : s.rows, inTransaction: inTransaction(s.client), rolledBack: s.rolledBack });
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
    const where = owner(query, name), ofOwn = before === OWN[name], callsBack = CALLS_BACK.has(name);
    if (!isNew(where, name)) continue;
    replace(where, name, (original) => function (message) {
      const s = this[STATEMENT];
      if (!s || (ofOwn && !s.own)) return Reflect.apply(original, this, arguments);
      tracer.guard(before, s, message, this, tracer);
      if (!s.own && !callsBack) return Reflect.apply(original, this, arguments); // none of the program's code
      if (s.settles) return tracer.settle(s.token, Reflect.apply, original, this, arguments);
      return tracer.run(s.token, Reflect.apply, original, this, arguments);
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
