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
const { Promise } = globalThis; // the program may replace it
const ours = new WeakSet(); // what query() and execute() are replaced by
let promising = false; // one of them is called next, and calls back to settle a promise of mysql2's

/** The two entries, and what they have in common. */
const FILES = {
  'index.js': installEntry,
  'promise.js': installEntry,
  'lib/connection.js': installConnection,
  'lib/promise/connection.js': installPromises,
  'lib/pool.js': installPool,
  'lib/pool_cluster.js': installCluster,
};

/** A private field of commands: what is known of one. */
class Seen extends /** @type {any} */ (function (command) { return command; }) {
  #seen;
  constructor(command, seen) {
    super(command);
    this.#seen = seen;
  }
  static of(command) {
    return #seen in command ? command.#seen : undefined;
  }
}

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

function installConnection(Connection, tools) {
  const { tracer, replace, owner, peek, fresh } = tools;

  /** Calls the original, which runs the statement of the token, and follows the command. */
  function traced(token, connection, original, self, given, command) {
    const settles = promising;
    promising = false;
    if (!token) return Reflect.apply(original, self, given);
    const seen = { token, connection, command: null, called: false, settles };
    tracer.guard(attend, connection);
    try {
      if (!command) for (let i = 0; i < given.length; i++) given[i] = wrap(seen, given[i]);
      else if (typeof peek(command, 'onResult') === 'function') command.onResult = wrap(seen, peek(command, 'onResult'));
      seen.command = Reflect.apply(original, self, given);
    } catch (error) {
      tracer.end(token, { error });
      throw error;
    }
    tracer.guard(listen, seen);
    return seen.command;
  }

  function wrap(seen, callback) {
    if (typeof callback !== 'function') return callback;
    seen.called = true;
    return function (error, result) {
      tracer.guard(error ? failed : ended, seen, error || result);
      if (seen.settles && !error) return tracer.settle(seen.token, Reflect.apply, callback, this, arguments);
      return tracer.run(seen.token, Reflect.apply, callback, this, arguments);
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
    let rows = 0;
    if (command?._resultIndex > 0 && Array.isArray(result)) for (const each of result) rows += rowsOf(connection, each);
    else rows = rowsOf(connection, result);
    const status = statuses.get(connection);
    tracer.end(token, { rows, inTransaction: status === undefined ? undefined : Boolean(status & IN_TRANSACTION) });
  }

  function rowsOf(connection, result) {
    if (isHeader(result)) statuses.set(connection, result.serverStatus);
    return Array.isArray(result) ? result.length : result?.affectedRows ?? 0;
  }

  /** Follows a command: notes statuses, and publishes the events of a command without a callback. */
  function listen(seen) {
    const { token, connection, command, called } = seen;
    if (!command) return;
    new Seen(command, seen);
    noteStatuses(owner(command, 'execute'), tools);
    if (called) return;
    const { emit } = command;
    const value = function (event, value) {
      tracer.guard(() => {
        if (event === 'error') failed(seen, value);
        else if (event === 'end') ended(seen, null);
        else if (event === 'result' && isHeader(value)) statuses.set(connection, value.serverStatus);
        else if (event === 'result') tracer.fetched(token, 1);
      });
      return tracer.run(token, Reflect.apply, emit, this, arguments);
    };
    Object.defineProperty(command, 'emit', { value, writable: true, configurable: true, enumerable: false });
  }

  /** Notes a new connection's first status, and its end. */
  function attend(connection) {
    if (statuses.has(connection)) return;
    statuses.set(connection, fresh ? connection._handshakePacket?.statusFlags : undefined);
    for (const event of ['end', 'close']) connection.stream?.prependOnceListener(event, () => tracer.transactionEnds(connection, 'closed'));
  }

  for (const name of ['query', 'execute']) {
    replace(owner(Connection.prototype, name), name, (original) => {
      const replacement = function (...given) {
        const sql = given[0];
        if (!sql) return Reflect.apply(original, this, given);
        const isCommand = name === 'query' && typeof sql === 'object' && typeof peek(sql, 'execute') === 'function';
        return traced(tracer.begin(ofQuery, this, sql, given[1], peek), this, original, this, given, isCommand ? sql : null);
      };
      ours.add(replacement);
      return replacement;
    });
  }
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
    replace(prototype, 'execute', (execute) => function (...given) {
      const parameters = typeof given[0] === 'function' ? null : given[0];
      const token = tracer.begin(where, this._connection, this.query, parameters);
      return traced(token, this._connection, execute, this, given, null);
    });
  }

  installControls(Connection, tools);
}

/** Commands of a connection that run no statement. */
function installControls(Connection, { tracer, replace, owner }) {
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

/** Has the commands of a class note the status that comes at the end of rows. */
function noteStatuses(prototype, { tracer, replace }) {
  if (!prototype || noting.has(prototype)) return;
  noting.add(prototype);
  replace(prototype, 'execute', (execute) => function (packet) {
    const connection = packet && Seen.of(this)?.connection;
    if (connection) tracer.guard(noteStatus, connection, packet);
    return Reflect.apply(execute, this, arguments);
  });
}

function noteStatus(connection, packet) {
  if (packet.isEOF()) statuses.set(connection, packet.eofStatusFlags());
}

/** What a connection of promises has called back settles one, and that of no class of the program's. */
function installPromises(Connection, { replace, peek, fresh }) {
  if (!fresh) return; // the program may have put functions of its own in between
  for (const name of ['query', 'execute']) {
    replace(Connection.prototype, name, (original) => function () {
      promising = this.Promise === Promise && ours.has(peek(this.connection, name));
      try {
        return Reflect.apply(original, this, arguments);
      } finally {
        promising = false;
      }
    });
  }
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

function ofQuery(connection, sql, values, peek) {
  const given = typeof values === 'function' ? null : values;
  return typeof sql === 'object' ? where(connection, peek(sql, 'sql'), peek(sql, 'values') ?? given) : where(connection, sql, given);
}

function where(connection, statement, parameters) {
  return { driver: DRIVER, dialect: DIALECT, statement, parameters, connection, database, server };
}

const database = ({ config }) => config.database;
const server = ({ config }) => config.socketPath ?? `${config.host}:${config.port}`;

function isHeader(value) {
  return value?.constructor?.name === 'ResultSetHeader';
}

module.exports = { name: 'mysql2', target: 'mysql2', files: Object.keys(FILES), install };
