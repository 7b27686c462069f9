// Traces sequelize: a call of a model, an instance or an association is one statement: that of the underlying driver,
// under sequelize's name. The driver's own plugin publishes everything about it; this plugin only relates it to the
// call.
//
// Partial: if a call runs several statements, only the first is the call's; the others have the driver's name, and
// aren't in force when the call has returned.
'use strict';

const OF_SEQUELIZE = ['query', 'sync', 'drop', 'truncate', 'authenticate'];
const STATIC = [
  'findAll', 'findByPk', 'findOne', 'findOrBuild', 'findOrCreate', 'findCreateFind', 'findAndCountAll', 'count', 'aggregate',
  'max', 'min', 'sum', 'create', 'bulkCreate', 'upsert', 'update', 'increment', 'decrement', 'destroy', 'restore', 'truncate',
  'describe', 'sync', 'drop',
];
const OF_INSTANCES = ['save', 'reload', 'update', 'increment', 'decrement', 'destroy', 'restore'];
const OF_ASSOCIATIONS = ['get', 'count', 'has', 'set', 'add', 'remove', 'create'];

/** @type {import('@memwatch/node/sql').DriverPlugin['install']} */
function install(Sequelize, { tracer, replace }) {
  const { Model, Association, Transaction } = Sequelize;
  const followed = new WeakSet(); // prototypes of dialects, and SQLite connections

  const whole = (original) => function () {
    return tracer.within((own) => Reflect.apply(original, this, Array.from(arguments, own)), { driver: 'sequelize' });
  };
  const apart = (original) => function () {
    return tracer.outside(() => Reflect.apply(original, this, arguments));
  };
  const following = (sequelize, make) => (original) => {
    const replacement = make(original);
    return function () {
      tracer.guard(() => follow(sequelize(this)));
      return Reflect.apply(replacement, this, arguments);
    };
  };

  /** Connections outlive the statement, and are prepared by their own statements. */
  function follow(sequelize) {
    for (const each of prototypes(sequelize?.connectionManager)) replace(each, 'getConnection', apart);
    const { name, Query, queryInterface } = sequelize?.dialect ?? {};
    for (const each of prototypes(queryInterface)) {
      for (const method of Object.getOwnPropertyNames(each)) {
        if (each[method]?.constructor.name === 'AsyncFunction') replace(each, method, whole);
      }
    }
    if (name === 'sqlite' && first(Query)) {
      replace(Query.prototype, 'run', (run) => function () {
        tracer.guard(() => followConnection(this.connection));
        return Reflect.apply(run, this, arguments);
      });
    }
  }

  /** For SQLite, the types of columns are queried before a SELECT, by another statement. */
  function followConnection(connection) {
    if (!first(connection)) return;
    const { all } = connection;
    const value = function (sql) {
      const call = () => Reflect.apply(all, this, arguments);
      return typeof sql === 'string' && sql.startsWith('PRAGMA table_info(') ? tracer.outside(call) : call();
    };
    Object.defineProperty(connection, 'all', { value, writable: true, configurable: true });
  }

  function first(object) {
    if (!object || followed.has(object)) return false;
    followed.add(object);
    return true;
  }

  /** The prototypes of an object, from its class upwards, that weren't seen before. */
  function prototypes(object) {
    const found = [];
    for (let at = object && Object.getPrototypeOf(object); at && at !== Object.prototype; at = Object.getPrototypeOf(at)) {
      if (first(at)) found.push(at);
    }
    return found;
  }

  for (const name of OF_SEQUELIZE) replace(Sequelize.prototype, name, following((sequelize) => sequelize, whole));
  replace(Sequelize.prototype, 'getQueryInterface', following((sequelize) => sequelize, (original) => original));
  for (const name of STATIC) replace(Model, name, whole);
  for (const name of OF_INSTANCES) replace(Model.prototype, name, whole);
  for (const kind of Object.values(Association)) {
    for (const name of OF_ASSOCIATIONS) replace(kind?.prototype, name, whole);
  }
  for (const name of ['prepareEnvironment', 'commit', 'rollback']) { // BEGIN and COMMIT don't belong to a call
    replace(Transaction.prototype, name, following((transaction) => transaction.sequelize, apart));
  }
}

module.exports = { name: 'sequelize', target: 'sequelize', install };
