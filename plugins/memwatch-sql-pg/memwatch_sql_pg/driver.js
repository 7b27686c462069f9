// Traces pg (node-postgres): publishes what its clients and pools do.
//
// A query is an object that the client calls when messages arrive (a "submittable"): its handle... functions are where
// rows, the end and errors of a statement become known, and where the program's callbacks are called from. They are
// replaced on the object itself, so cursors, streams and classes of the program's own are traced in the same way.
'use strict';

const DRIVER = 'pg', DIALECT = 'postgresql';
const statuses = new WeakMap(); // client -> I, T or E: what the server said last
const followed = new WeakSet(); // queries

function install(pg, { tracer, replace }) {
  const { Client, Pool } = pg;
  replace(Client.prototype, 'query', (query) => function (config, values) {
    const token = config && this.connection ? tracer.begin(() => describe(this, config, values)) : null;
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
      const submitted = typeof config.submit === 'function' ? config : latest(this);
      if (!submitted || followed.has(submitted)) tracer.end(token, { error: new Error() }); // the client takes no more
      else follow(tracer, token, this, submitted, submitted === config);
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

/** What makes connections: they outlive the statement in force, and call back out of another flow. */
function around(tracer, connect) {
  return function () {
    const args = Array.from(arguments, (each) => tracer.bind(each));
    return tracer.outside(() => Reflect.apply(connect, this, args));
  };
}

function describe(client, config, values) {
  const query = typeof config === 'string' ? { text: config } : config;
  const { name, text = query.cursor?.text } = query;
  return {
    driver: DRIVER,
    dialect: DIALECT,
    statement: text ?? client.connection?.parsedStatements?.[name],
    parameters: (typeof values === 'function' ? null : values) ?? query.values ?? query.cursor?.values,
    connection: client,
    database: client.database,
    server: () => (client.host?.startsWith('/') ? client.host : `${client.host}:${client.port}`),
  };
}

/** Notes what a connection says of its transaction, and its end. */
function attend(client, tracer) {
  if (statuses.has(client)) return;
  statuses.set(client, client._txStatus ?? client.getTransactionStatus?.() ?? undefined);
  client.connection.prependListener('readyForQuery', (message) => statuses.set(client, message?.status));
  client.connection.once('end', () => tracer.guard(() => tracer.transactionEnds(client, 'closed')));
}

/** The query that the client has made of a text: the last one that it hasn't finished. */
function latest(client) {
  const queue = client._queryQueue ?? client.queryQueue;
  const active = '_activeQuery' in client ? client._activeQuery : client.activeQuery;
  return [queue?.at(-1), client._sentQueryQueue?.at(-1), active].find((query) => query && !followed.has(query));
}

const inTransaction = (client) => ({ I: false, T: true, E: true })[statuses.get(client)];

function follow(tracer, token, client, query, own) {
  let rows, fetched = 0, rolledBack = false;
  followed.add(query);
  const before = {
    handleCommandComplete({ text } = {}) {
      const [command, count] = /^(\w+)(?: .*?)??(?: (\d+))?$/.exec(text)?.slice(1) ?? [];
      if (count !== undefined) rows = (rows ?? 0) + Number(count);
      rolledBack ||= command === 'ROLLBACK'; // also the answer to a COMMIT where a statement had failed
    },
    handleReadyForQuery() {
      if (query._canceledDueToError) return; // handleError comes next
      tracer.end(token, { rows: own && fetched ? undefined : rows, inTransaction: inTransaction(client), rolledBack });
      if (own && fetched) tracer.fetched(token, 0, { exhausted: true });
    },
    handleError(error) {
      tracer.end(token, { error, inTransaction: inTransaction(client) });
    },
    handleDataRow() {
      fetched++;
      tracer.fetched(token, 1);
    },
  };
  // One that the client has made is nobody else's: rows and events of it matter to no one.
  const names = own ? Object.keys(before).concat(HANDLED.filter((name) => !(name in before))) : ['handleCommandComplete', 'handleReadyForQuery', 'handleError'];
  for (const name of names) {
    const original = query[name];
    if (typeof original !== 'function') continue;
    define(query, name, function () {
      tracer.guard(() => before[name]?.(...arguments));
      return tracer.run(token, () => Reflect.apply(original, this, arguments));
    });
  }
  if (own && typeof query.read === 'function' && typeof query.pipe !== 'function') { // a cursor: its rows are fetched
    const { read } = query;
    define(query, 'read', function () {
      tracer.fetched(token, 0, { enter: true });
      return Reflect.apply(read, this, arguments);
    });
  }
}

const HANDLED = ['handleRowDescription', 'handlePortalSuspended', 'handleEmptyQuery', 'handleCopyInResponse', 'handleCopyData'];

function define(object, name, value) {
  Object.defineProperty(object, name, { value, writable: true, configurable: true, enumerable: false });
}

module.exports = { name: 'pg', target: 'pg', install };
