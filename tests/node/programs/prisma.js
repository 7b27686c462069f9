// Prisma's client, as many flows at once as told, over a pool of 2. argv: the driver (pg, better-sqlite3); how many flows. Prints
// [[number, [parameters or statement: one that it has; null: none is in force], label]].
'use strict';
const { watch } = require('@memwatch/node');

const [driver, flows] = process.argv.slice(2);
const x = watch(new Int32Array(1), { trackSQL: true, name: 'x' });
const config = JSON.parse(process.env.DATABASE);
const noted = [];
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const note = (label, ...of) => {
  noted.push([noted.length + 1, of, label]);
  x[0] = noted.length;
};
/** SQLite's adapter has one connection: another flow's COMMIT ends what was run on it meanwhile. */
const outside = (label, ...of) => note(label, ...of, ...(driver === 'pg' ? [] : [null]));

/** All of them go on at once. */
function barrier() {
  let here = 0, open;
  const gate = new Promise((done) => { open = done; });
  return () => {
    if (++here === Number(flows)) open();
    return gate;
  };
}
const gates = Array.from({ length: 3 }, barrier);

async function flow(client, i) {
  const id = i + 1, other = id + 1000;
  const unique = (on, id) => on.item.findUnique({ where: { id } }), many = (on, id) => on.item.findMany({ where: { id } });
  await sleep(i % 3);
  await unique(client, id); outside('unique', id);
  await client.$transaction(async (tx) => {
    note('begun', 'BEGIN');
    await unique(tx, id); note('unique in a transaction', id);
    await many(tx, other); note('many in a transaction', other);
    await sleep(i % 3); note('later', other);
    await (async () => { await null; await tx.item.create({ data: { id: other } }); })(); note('create', other);
    await tx.$queryRawUnsafe(driver === 'pg' ? 'SELECT $1::int' : 'SELECT ?', id); note('raw', id);
    await Promise.all([many(tx, id), unique(tx, other)]); note('two at once', id, other);
    await many(tx, id); note('again', id);
    await Promise.all([many(tx, id), many(tx, other)]); note('two of a kind at once', null);
    await many(tx, other); note('again', other);
    const each = async (id) => { await many(tx, id); note('each of two at once', null); };
    await Promise.all([each(id), each(other)]);
    await many(tx, id); note('and again', id);
    await tx.item.findUnique({ where: {} }).catch(() => note('refused', id));
  });
  outside('committed', null);
  await many(client, id); outside('many', id);
  await unique(client, other).then(() => outside('then', other));
  await gates[0]();
  await unique(client, id); outside('with the others', id);
  await gates[1]();
  await client.item.findUnique({ where: {} }).catch(() => {}); note('refused with the others', id, null);
  await client.$transaction([unique(client, id), many(client, other)]); outside('list', null);
  await many(client, id); outside('many after a list', id);
  await client.$transaction(async (tx) => {
    await unique(tx, other); note('to be rolled back', other);
    throw new Error('back');
  }).catch(() => outside('rolled back', null));
  const user = client.$extends({ query: { item: { async findUnique({ args, query }) { await many(client, other); outside('extension', other); return query(args); } } } });
  await gates[2]();
  await user.item.findUnique({ where: { id } }); outside('extended', id);
}

(async () => {
  const create = 'CREATE TABLE items (id int PRIMARY KEY)';
  if (driver === 'pg') {
    const setup = new (require('pg').Client)(config);
    await setup.connect(); await setup.query(create); await setup.end();
  } else {
    new (require('better-sqlite3'))(config.file).exec(create).close();
  }
  const { PrismaClient } = await import(`${process.cwd()}/generated/client.${process.features.typescript ? 'ts' : 'js'}`);
  const adapter = driver === 'pg' ? new (require('@prisma/adapter-pg').PrismaPg)({ ...config, max: 2 })
    : new (require('@prisma/adapter-better-sqlite3').PrismaBetterSqlite3)({ url: config.file });
  const client = new PrismaClient({ adapter, transactionOptions: { maxWait: 60_000, timeout: 60_000 } });
  await Promise.all(Array.from({ length: Number(flows) }, (_, i) => flow(client, i)));
  await client.$disconnect();
  console.log(JSON.stringify(noted));
})();
