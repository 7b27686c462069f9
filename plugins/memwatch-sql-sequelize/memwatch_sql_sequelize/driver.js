// Traces sequelize: a call of the program's to a model, an instance or an association is one statement, that of the driver
// below, under sequelize's name. The driver's own plugin says all about it; here is only which call it belongs to.
//
// Partial: of a call that runs several statements, the first is the call's; the others go by the driver's name, and aren't
// in force when the call has returned.
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
  const followed = new WeakSet(); // what belongs to dialects: prototypes, and connections of SQLite

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

  /** Connections outlive the statement, and are prepared by statements of their own. */
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

  /** SQLite's types of columns are asked for before a SELECT, by another statement. */
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

  /** Of an object, from its class upwards, those that are seen for the first time. */
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
  for (const name of ['prepareEnvironment', 'commit', 'rollback']) { // BEGIN and COMMIT are no call's statement
    replace(Transaction.prototype, name, following((transaction) => transaction.sequelize, apart));
  }
}

module.exports = { name: 'sequelize', target: 'sequelize', install };
