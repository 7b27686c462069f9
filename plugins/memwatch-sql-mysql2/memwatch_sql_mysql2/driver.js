// Traces mysql2: publishes what its connections and pools do. The promise interface calls the same functions, in the
// program's flow.
//
// A command runs on a connection, packet by packet, and calls back or emits events. Its callback is wrapped to publish
// the end; without a callback, its events are used.
'use strict';

const DRIVER = 'mysql2', DIALECT = 'mysql';
const IN_TRANSACTION = 1; // in the status that the server sends
const DEADLOCK = 1213; // its victim loses the whole transaction
const statuses = new WeakMap(); // connection -> last status of the server
const SEEN = Symbol('memwatch.seen'); // of a command: its state

/** The two entries, and what they have in common. */
const FILES = {
  'index.js': installEntry,
  'promise.js': installEntry,
  'lib/connection.js': installConnection,
  'lib/pool.js': installPool,
  'lib/pool_cluster.js': installCluster,
};

/** @type {import('@memwatch/node/sql').DriverPlugin['install']} */
function install(exported, tools, file) {
  FILES[file](exported, tools);
}

/** Connections outlive the statement that is in force where they are made. */
function installEntry(exported, { tracer, replace }) {
  for (const name of ['createConnection', 'connect']) {
    replace(exported, name, (create) => function () {
      return tracer.outside(() => Reflect.apply(create, this, arguments));
    });
  }
}

function installConnection(Connection, { tracer, replace, owner, peek, fresh }) {
  /** Begins a statement, calls the original with wrapped callbacks, and follows the command. */
  function traced(connection, describe, call) {
    const token = tracer.begin(() => describe(where(connection)));
    if (!token) return call((callback) => callback);
    const seen = { token, connection, command: null, called: false };
    tracer.guard(() => attend(connection));
    try {
      seen.command = call((callback) => {
        seen.called ||= typeof callback === 'function';
        return typeof callback === 'function' ? back(seen, callback) : callback;
      });
    } catch (error) {
      tracer.end(token, { error });
      throw error;
    }
    tracer.guard(() => listen(seen));
    return seen.command;
  }

  function back(seen, callback) {
    return function (error, result) {
      tracer.guard(() => (error ? failed(seen, error) : ended(seen, result)));
      return tracer.run(seen.token, () => Reflect.apply(callback, this, arguments));
    };
  }

  function failed({ token, connection }, error) {
    const deadlock = error.errno === DEADLOCK;
    const status = statuses.get(connection);
    const inTransaction = deadlock ? false : status === undefined ? undefined : Boolean(status & IN_TRANSACTION);
    if (deadlock) statuses.set(connection, (status ?? 0) & ~IN_TRANSACTION);
    tracer.end(token, { error, inTransaction, rolledBack: deadlock });
  }

  function ended({ token, connection, command }, result) {
    const results = command?._resultIndex > 0 && Array.isArray(result) ? result : [result];
    for (const each of results) if (isHeader(each)) statuses.set(connection, each.serverStatus);
    const status = statuses.get(connection);
    const counts = results.map((each) => (Array.isArray(each) ? each.length : each?.affectedRows ?? 0));
    tracer.end(token, {
      rows: counts.reduce((sum, count) => sum + count, 0),
      inTransaction: status === undefined ? undefined : Boolean(status & IN_TRANSACTION),
    });
  }

  /** Follows a command: notes statuses, and publishes the events of a command without a callback. */
  function listen(seen) {
    const { token, connection, command, called } = seen;
    if (!command) return;
    define(command, SEEN, seen);
    noteStatuses(owner(command, 'execute'), tracer, replace);
    if (called) return;
    const { emit } = command;
    define(command, 'emit', function (event, value) {
      tracer.guard(() => {
        if (event === 'error') failed(seen, value);
        else if (event === 'end') ended(seen, null);
        else if (event === 'result' && isHeader(value)) statuses.set(connection, value.serverStatus);
        else if (event === 'result') tracer.fetched(token, 1);
      });
      return tracer.run(token, () => Reflect.apply(emit, this, arguments));
    });
  }

  /** Notes a new connection's first status, and its end. */
  function attend(connection) {
    if (statuses.has(connection)) return;
    statuses.set(connection, fresh ? connection._handshakePacket?.statusFlags : undefined);
    for (const event of ['end', 'close']) connection.stream?.prependOnceListener(event, () => tracer.transactionEnds(connection, 'closed'));
  }

  replace(owner(Connection.prototype, 'query'), 'query', (query) => function (sql, values) {
    if (!sql) return Reflect.apply(query, this, arguments);
    const isCommand = typeof sql === 'object' && typeof peek(sql, 'execute') === 'function';
    const given = Array.from(arguments);
    return traced(this, (of) => ofQuery(of, sql, values, peek), (wrap) => {
      if (isCommand && typeof peek(sql, 'onResult') === 'function') sql.onResult = wrap(peek(sql, 'onResult'));
      return Reflect.apply(query, this, isCommand ? given : given.map(wrap));
    });
  });
  replace(owner(Connection.prototype, 'execute'), 'execute', (execute) => function (sql, values) {
    if (!sql) return Reflect.apply(execute, this, arguments);
    const given = Array.from(arguments);
    return traced(this, (of) => ofQuery(of, sql, values, peek), (wrap) => Reflect.apply(execute, this, given.map(wrap)));
  });
  replace(owner(Connection.prototype, 'prepare'), 'prepare', (prepare) => function (options, callback) {
    if (typeof callback !== 'function') return Reflect.apply(prepare, this, arguments);
    const bound = tracer.bind(callback);
    return Reflect.apply(prepare, this, [options, function (error, statement) {
      tracer.guard(() => statement && traceStatements(Object.getPrototypeOf(statement)));
      return Reflect.apply(bound, this, arguments);
    }]);
  });

  const known = new WeakSet(); // prototypes of prepared statements
  function traceStatements(prototype) {
    if (known.has(prototype)) return;
    known.add(prototype);
    replace(prototype, 'execute', (execute) => function (parameters) {
      const given = Array.from(arguments);
      const describe = (of) => described(of, this.query, typeof parameters === 'function' ? null : parameters);
      return traced(this._connection, describe, (wrap) => Reflect.apply(execute, this, given.map(wrap)));
    });
  }

  for (const name of ['ping', 'connect', 'end', 'changeUser', 'reset']) {
    const rollsBack = name === 'changeUser' || name === 'reset'; // the server does
    replace(owner(Connection.prototype, name), name, (original) => function () {
      const command = Reflect.apply(original, this, Array.from(arguments, (each) => tracer.bind(each)));
      if (rollsBack) tracer.guard(() => command?.once('end', () => tracer.transactionEnds(this, 'rolled back')));
      return command;
    });
  }
}

const noting = new WeakSet(); // prototypes of commands

/** Makes the commands of a class note the status at the end of rows. */
function noteStatuses(prototype, tracer, replace) {
  if (!prototype || noting.has(prototype)) return;
  noting.add(prototype);
  replace(prototype, 'execute', (execute) => function (packet) {
    const { connection } = this[SEEN] ?? {};
    if (connection && packet) tracer.guard(() => packet.isEOF() && statuses.set(connection, packet.eofStatusFlags()));
    return Reflect.apply(execute, this, arguments);
  });
}

function installPool(Pool, tools) {
  const { tracer, replace, owner } = tools;
  replace(owner(Pool.prototype, 'getConnection'), 'getConnection', (getConnection) => function () {
    const given = Array.from(arguments, (each) => tracer.bind(each));
    return tracer.outside(() => Reflect.apply(getConnection, this, given));
  });
  later(Pool.prototype, tools);
}

function installCluster(Cluster, tools) {
  const known = new WeakSet();
  tools.replace(Cluster.prototype, 'of', (of) => function () {
    const namespace = Reflect.apply(of, this, arguments);
    const prototype = Object.getPrototypeOf(namespace);
    if (!known.has(prototype)) later(prototype, tools);
    known.add(prototype);
    return namespace;
  });
}

/** query() and execute() of objects that must find a connection first. */
function later(prototype, { tracer, replace, owner }) {
  for (const name of ['query', 'execute']) {
    replace(owner(prototype, name), name, (original) => function () {
      return tracer.within((own) => Reflect.apply(original, this, Array.from(arguments, own)));
    });
  }
}

function ofQuery(of, sql, values, peek) {
  const given = typeof values === 'function' ? null : values;
  return typeof sql === 'object' ? described(of, peek(sql, 'sql'), peek(sql, 'values') ?? given) : described(of, sql, given);
}

function described(of, statement, parameters) {
  of.statement = statement;
  of.parameters = parameters;
  return of;
}

function where(connection) {
  return {
    driver: DRIVER,
    dialect: DIALECT,
    statement: undefined,
    parameters: undefined,
    connection,
    database: () => connection.config.database,
    server: () => connection.config.socketPath ?? `${connection.config.host}:${connection.config.port}`,
  };
}

function isHeader(value) {
  return value?.constructor?.name === 'ResultSetHeader';
}

function define(object, name, value) {
  Object.defineProperty(object, name, { value, writable: true, configurable: true, enumerable: false });
}

module.exports = { name: 'mysql2', target: 'mysql2', files: Object.keys(FILES), install };
