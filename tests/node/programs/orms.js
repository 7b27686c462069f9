// ORMs and query builders, used as their documentation shows, over a pool of 2: flows that each write after a statement of
// their own. argv: the driver (pg, mysql2, better-sqlite3, sqlite3); how many flows; which libraries. Prints [[number, name in its statement or null, label]].
'use strict';
const { watch } = require('@memwatch/node');
require('reflect-metadata');

const [driver, flows, ...chosen] = process.argv.slice(2);
const x = watch(new Int32Array(1), { trackSQL: true, name: 'x' });
const config = JSON.parse(process.env.DATABASE), { host, port, user, password, database } = config;
const pg = driver === 'pg', sqlite = driver.endsWith('sqlite3');
const knexed = { client: driver, ...(sqlite ? { connection: { filename: config.file }, useNullAsDefault: true } : { connection: config, pool: { min: 0, max: 2 } }) };
const noted = [];
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

// Each returns one(name), which is awaited and runs a statement that has the name in it; transaction(f), of which the library
// says that f runs in a transaction, with one(name) of it; close(); told: what all its
// statements have in them instead.
const LIBRARIES = {
  knex() {
    const knex = require('knex')(knexed);
    return {
      one: (name) => knex(`items as ${name}`).where(`${name}.id`, '<', 10),
      transaction: (f) => knex.transaction((trx) => f((name) => trx.from(`items as ${name}`).select('*'))),
      close: () => knex.destroy(),
    };
  },
  'knex.raw'() {
    const knex = require('knex')(knexed);
    return { one: (name) => knex.raw(`SELECT ? AS ${name}`, [1]), close: () => knex.destroy() };
  },
  objection() {
    const { Model } = require('objection');
    const knex = require('knex')(knexed);
    class Item extends Model { static tableName = 'items'; }
    Item.knex(knex);
    return {
      one: (name) => Item.query().alias(name).where(`${name}.id`, '<', 10),
      transaction: (f) => Item.transaction((trx) => f((name) => Item.query(trx).alias(name))),
      close: () => knex.destroy(),
    };
  },
  drizzle() {
    const { lt } = require('drizzle-orm');
    if (sqlite) { // its transactions are synchronous
      const { drizzle } = require('drizzle-orm/better-sqlite3'), { sqliteTable, integer, alias } = require('drizzle-orm/sqlite-core');
      const items = sqliteTable('items', { id: integer('id').primaryKey() }), client = new (require('better-sqlite3'))(config.file);
      const db = drizzle({ client });
      return { one: async (name) => { const item = alias(items, name); return db.select().from(item).where(lt(item.id, 10)); }, close: () => client.close() };
    }
    const pool = pg ? new (require('pg').Pool)({ ...config, max: 2 }) : require('mysql2/promise').createPool({ ...config, connectionLimit: 2 });
    const { drizzle } = require(pg ? 'drizzle-orm/node-postgres' : 'drizzle-orm/mysql2');
    const core = require(pg ? 'drizzle-orm/pg-core' : 'drizzle-orm/mysql-core');
    const items = (pg ? core.pgTable : core.mysqlTable)('items', { id: core[pg ? 'integer' : 'int']('id').primaryKey() });
    const db = drizzle({ client: pool });
    const one = (on) => (name) => { const item = core.alias(items, name); return on.select().from(item).where(lt(item.id, 10)); };
    return { one: one(db), transaction: (f) => db.transaction((tx) => f(one(tx))), close: () => pool.end() };
  },
  kysely() {
    const { Kysely, PostgresDialect, MysqlDialect, SqliteDialect } = require('kysely');
    const dialects = {
      pg: () => new PostgresDialect({ pool: new (require('pg').Pool)({ ...config, max: 2 }) }),
      mysql2: () => new MysqlDialect({ pool: require('mysql2').createPool({ ...config, connectionLimit: 2 }) }),
      'better-sqlite3': () => new SqliteDialect({ database: new (require('better-sqlite3'))(config.file) }),
    };
    const db = new Kysely({ dialect: dialects[driver]() });
    const one = (on) => (name) => on.selectFrom(`items as ${name}`).selectAll().where(`${name}.id`, '<', 10).execute();
    return { one: one(db), transaction: (f) => db.transaction().execute((trx) => f(one(trx))), close: () => db.destroy() };
  },
  async typeorm() {
    const { DataSource, EntitySchema } = require('typeorm');
    const Item = new EntitySchema({ name: 'items', columns: { id: { type: Number, primary: true } } });
    const source = new DataSource({
      entities: [Item],
      ...(sqlite ? { type: driver, database: config.file } : { type: pg ? 'postgres' : 'mysql', host, port, username: user, password, database, poolSize: 2 }),
    });
    await source.initialize();
    return {
      one: (name) => source.getRepository(Item).createQueryBuilder(name).where(`${name}.id < :id`, { id: 10 }).getMany(),
      transaction: (f) => source.transaction((manager) => f((name) => manager.createQueryBuilder(Item, name).getMany())),
      close: () => source.destroy(),
    };
  },
  sequelize() {
    const { Sequelize, DataTypes } = require('sequelize');
    const sequelize = new Sequelize(database, user, password, { host, port, dialect: pg ? 'postgres' : 'mysql', logging: false, pool: { max: 2 } });
    const Item = sequelize.define('items', { id: { type: DataTypes.INTEGER, primaryKey: true } }, { timestamps: false });
    return {
      one: (name) => Item.findAll({ attributes: [['id', name]] }),
      transaction: (f) => sequelize.transaction((transaction) => f((name) => Item.findAll({ attributes: [['id', name]], transaction }))),
      close: () => sequelize.close(),
    };
  },
};
/** Sequelize 7, with a package for each dialect; SQLite's pool has one connection, which a transaction holds. */
function sequelize7(dialect, options) {
  const { Sequelize, DataTypes } = require('@sequelize/core');
  const sequelize = new Sequelize({ dialect, logging: false, ...options });
  const Item = sequelize.define('items', { id: { type: DataTypes.INTEGER, primaryKey: true } }, { timestamps: false });
  return {
    one: (name) => Item.findAll({ attributes: [['id', name]] }),
    transaction: (f) => sequelize.transaction((transaction) => f((name) => Item.findAll({ attributes: [['id', name]], transaction }))),
    close: () => sequelize.close(),
  };
}
/** Prisma 7, with a driver adapter; the test has generated the client. It is asked for rows, or for the text that is given. */
async function prisma(one, told) {
  const { PrismaClient } = await import(`${process.cwd()}/generated/client.${process.features.typescript ? 'ts' : 'js'}`);
  const adapter = pg ? new (require('@prisma/adapter-pg').PrismaPg)({ ...config, max: 2 })
    : new (require('@prisma/adapter-better-sqlite3').PrismaBetterSqlite3)({ url: config.file });
  const client = new PrismaClient({ adapter });
  return { told, one: one(client), transaction: (f) => client.$transaction((tx) => f(one(tx))), close: () => client.$disconnect() };
}
const PRISMA = {
  prisma: () => prisma((client) => () => client.item.findMany({ where: { id: { lt: 10 } } }), 'items'), // its names are its own
  'prisma.$queryRaw': () => prisma((client) => (name) => client.$queryRawUnsafe(`SELECT 1 AS ${name}`)),
};
const POSTGRESQL = { // these know no other
  'pg-promise'() {
    const db = require('pg-promise')()({ ...config, max: 2 });
    const one = (on) => (name) => on.any('SELECT id AS $1:name FROM items WHERE id < $2', [name, 10]);
    return { one: one(db), transaction: (f) => db.tx((t) => f(one(t))), close: () => db.$pool.end() };
  },
  async 'mikro-orm'() {
    const { MikroORM, EntitySchema } = await import('@mikro-orm/postgresql');
    const Item = new EntitySchema({ name: 'Item', tableName: 'items', properties: { id: { type: 'number', primary: true } } });
    const orm = await MikroORM.init({ entities: [Item], host, port, user, password, dbName: database, pool: { min: 0, max: 2 } });
    const one = (em) => (name) => em.createQueryBuilder('Item', name).select('*').where({ id: { $lt: 10 } }).getResultList();
    return {
      one: (name) => one(orm.em.fork())(name),
      transaction: (f) => orm.em.fork().transactional((em) => f(one(em))),
      close: () => orm.close(true),
    };
  },
  'sequelize 7': () => sequelize7(require('@sequelize/postgres').PostgresDialect, { host, port, user, password, database, pool: { max: 2 } }),
  async 'drizzle over postgres.js'() { // drizzle-orm's own ECMAScript module imports that of postgres.js
    const { lt } = await import('drizzle-orm'), { drizzle } = await import('drizzle-orm/postgres-js'), core = await import('drizzle-orm/pg-core');
    const client = (await import('postgres')).default({ ...config, max: 2 });
    const db = drizzle({ client }), items = core.pgTable('items', { id: core.integer('id').primaryKey() });
    const one = (on) => (name) => { const item = core.alias(items, name); return on.select().from(item).where(lt(item.id, 10)); };
    return { one: one(db), transaction: (f) => db.transaction((tx) => f(one(tx))), close: () => client.end() };
  },
};
const SQLITE3 = { // over the package of this name
  'sequelize 7': () => sequelize7(require('@sequelize/sqlite3').SqliteDialect, { storage: config.file }),
};

async function run(label, { one, transaction, close, told }) {
  const note = (name) => {
    noted.push([noted.length + 1, name && (told ?? name), label]);
    x[0] = noted.length;
  };
  const prefix = label.replace(/\W/g, '_');
  const repository = async (name) => { const rows = await one(name); await null; return rows; };
  await one(`${prefix}_first`).then(() => note(`${prefix}_first`));
  await repository(`${prefix}_second`);
  note(`${prefix}_second`);
  await Promise.all([one(`${prefix}_a`), repository(`${prefix}_a`)]);
  note(`${prefix}_a`);
  await Promise.all(Array.from({ length: Number(flows) }, async (_, i) => {
    await sleep(i % 3);
    for (let k = 0; k < 3; k++) {
      const name = `${prefix}_f${i}_${k}`;
      await (k === 1 ? repository : one)(name);
      note(name);
      await sleep((i + k) % 3);
      note(name);
    }
  }));
  if (transaction) {
    const name = `${prefix}_inside`;
    await transaction(async (inside) => {
      await inside(`${name}_1`);
      note(`${name}_1`);
      await (async () => { await inside(`${name}_2`); })();
      note(`${name}_2`);
    });
    note(null); // it is over
  }
  await close();
}

async function prepare() {
  if (sqlite) {
    const script = 'CREATE TABLE items (id int PRIMARY KEY); INSERT INTO items VALUES (1), (2)';
    if (driver === 'better-sqlite3') new (require(driver))(config.file).exec(script).close();
    else await new Promise((done) => new (require(driver).Database)(config.file).exec(script).close(done));
    return;
  }
  const client = pg ? new (require('pg').Client)(config) : require('mysql2').createConnection(config).promise();
  if (pg) await client.connect();
  await client.query('CREATE TABLE IF NOT EXISTS items (id int PRIMARY KEY)');
  await client.query('INSERT INTO items VALUES (1), (2)');
  await client.end();
}

(async () => {
  await prepare();
  const all = chosen[0] in PRISMA ? PRISMA : driver === 'sqlite3' ? SQLITE3 : pg ? { ...LIBRARIES, ...POSTGRESQL } : LIBRARIES;
  for (const label of chosen.length ? chosen : Object.keys(all)) await run(label, await all[label]());
  console.log(JSON.stringify(noted));
})();
