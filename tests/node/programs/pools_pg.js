// What pools of pg go through, many flows at once (argv: how many), in the main thread and in two workers. Writes to
// `own`: under the statement that has the flow's number in it; `maybe`: under that or none; `none`: under none. Element 0 is
// 100000 * the case + 1000 * the write + the flow. Prints the names of the cases.
'use strict';
const { Worker, isMainThread } = require('node:worker_threads');
const { watch } = require('@memwatch/node');
const pg = require('pg');
const Cursor = require('pg-cursor'), QueryStream = require('pg-query-stream');

const config = JSON.parse(process.env.DATABASE), FLOWS = Number(process.argv[2]), LAST = FLOWS - 1;
const [own, maybe, none] = ['own', 'maybe', 'none'].map((name) => watch(new Int32Array(1), { trackSQL: true, name }));
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const event = (emitter, ...names) => new Promise((done) => names.forEach((name) => emitter.once(name, done)));
const code = (error) => error.code ?? error.message;

const opened = [];
function open(options) {
  opened.push(new pg.Pool(options));
  return opened.at(-1);
}

/** Each: (i, text(), note) => ..., where text() is a statement of the flow's own, and note(array) writes. */
const CASES = {
  async query_timeout() {
    const pool = open({ ...config, max: 5 });
    return async (i, text, note) => {
      await pool.query(text()); note(own);
      if (i % 5 === 0) await pool.query({ text: `${text()}, pg_sleep(0.05)`, query_timeout: 10 }).then(() => note(own), () => note(maybe));
      await pool.query(text()); note(own);
      await new Promise((done) => pool.query({ text: `${text()}, pg_sleep(${i % 7 ? 0 : 0.03})`, query_timeout: 15 }, () => { note(maybe); done(); }));
      await pool.query(text()); note(own);
    };
  },
  async cancelled() {
    const pool = open({ ...config, max: 8 }), killer = open({ ...config, max: 2 });
    return async (i, text, note) => {
      const client = await pool.connect();
      try {
        const { rows: [{ pid }] } = await client.query(`SELECT pg_backend_pid() AS pid, 1 AS f${i}_`); note(own);
        const slow = client.query(`${text()}, pg_sleep(60)`).catch((error) => { note(none); return code(error); });
        const waits = client.query(text()).then(() => note(own)); // behind it
        note(own);
        await sleep(5);
        await killer.query(`SELECT pg_cancel_backend($1), 1 AS f${i}_`, [pid]); note(own);
        while (await Promise.race([slow, sleep(20)]) !== '57014') await killer.query('SELECT pg_cancel_backend($1)', [pid]);
        await waits;
        await client.query(text()); note(own);
      } finally { client.release(); }
      note(own);
    };
  },
  async ended() {
    const pool = open({ ...config, max: 4 });
    let end;
    const over = new Promise((done) => { end = () => pool.end().then(done); });
    return async (i, text, note) => {
      await sleep(i % 4);
      const results = [1, 2, 3].map(() => pool.query(text()).then(() => note(own), () => note(maybe)));
      if (i === LAST) end();
      await Promise.race([Promise.all(results), over]); // who waits for a connection then waits for ever
      await over;
      await pool.query(text()).catch(() => note(maybe));
    };
  },
  async impatient() {
    const pool = open({ ...config, max: 1, connectionTimeoutMillis: 20 });
    return async (i, text, note) => {
      await sleep(i % 5);
      await pool.query(`${text()}, pg_sleep(0.01)`).then(() => note(own), () => note(none));
      const client = await pool.connect().catch(() => note(maybe));
      if (client) { await client.query(text()); note(own); client.release(); }
    };
  },
  async streams() {
    const pool = open({ ...config, max: 5 });
    return async (i, text, note) => {
      const rows = (more = '') => `SELECT n, 1 AS f${i}_${more} FROM generate_series(1, 20) n`;
      let client = await pool.connect();
      for await (const { n } of client.query(new QueryStream(rows(), [], { batchSize: 3 }))) { note(own); if (n === 7) break; }
      await client.query(text()); note(own);
      const stream = client.query(new QueryStream(rows(), [], { batchSize: 3, highWaterMark: 3 }));
      stream.on('data', () => note(own)); stream.once('data', () => stream.destroy());
      await event(stream, 'close');
      await client.query(text()); note(own);
      const failing = client.query(new QueryStream(rows(', 1 / (10 - n)'), [], { batchSize: 3 }));
      failing.on('data', () => note(own)); failing.on('error', () => note(none));
      await event(failing, 'close');
      await client.query(text()); note(own);
      const cursor = client.query(new Cursor(rows()));
      await cursor.read(3); note(own);
      await sleep(i % 3); note(own);
      await cursor.read(3); note(own);
      await new Promise((done) => cursor.read(3, () => { note(own); done(); }));
      await cursor.close(); note(maybe);
      client.release();
      client = await pool.connect();
      const lost = client.query(new Cursor(rows(', 1 / (10 - n)')));
      await lost.read(20).catch(() => note(none));
      await client.query(text()); note(own);
      client.release();
    };
  },
  async prepared() {
    const pool = open({ ...config, max: 3 });
    return async (i, text, note) => {
      for (let k = 0; k < 4; k++) { // each on another connection, where it may be prepared or not
        await pool.query({ name: `f${i}_`, text: `SELECT $1::int AS n, 1 AS f${i}_`, values: [k] }); note(own);
        await sleep((i + k) % 3); note(maybe); // a pool closes the connection of one that failed
        await pool.query({ name: `wrong${i}_`, text: `SELECT $1::int AS n, 1 AS f${i}_`, values: ['x'] }).catch(() => note(none));
      }
    };
  },
  async pipelined() {
    const client = new pg.Client({ ...config, pipeline: true });
    await client.connect();
    return async (i, text, note) => {
      await sleep(i % 3);
      const all = [client.query(text()).then(() => note(own)), client.query(`SELEC 1 AS f${i}_`).catch(() => note(none)), client.query(`SELECT $1::int, 1 AS f${i}_`, [i]).then(() => note(own))];
      note(own);
      await Promise.all(all);
      await new Promise((done) => client.query(text(), () => { note(own); client.query(text(), () => { note(own); done(); }); }));
      await client.query(text()); note(own);
      await client.query(new Cursor(text())).read(1).catch(() => note(maybe)); // not in a pipeline
      await client.query(text()); note(own);
    };
  },
  async submitted() {
    const client = new pg.Client(config);
    await client.connect();
    class Mine extends pg.Query { handleCommandComplete(...args) { this.note(own); return super.handleCommandComplete(...args); } }
    return async (i, text, note) => {
      const query = new pg.Query(text());
      query.on('row', () => note(own)).on('end', () => note(own));
      client.query(query); note(own);
      await event(query, 'end');
      const mine = new Mine(text()); mine.note = note;
      await new Promise((done) => client.query(mine, () => { note(own); done(); }));
      const bad = new pg.Query(`SELEC 1 AS f${i}_`);
      bad.on('error', () => note(none));
      client.query(bad); await event(bad, 'error');
      const never = new pg.Query(`SELECT $1, 1 AS f${i}_`, [{ toPostgres() { throw new Error('mine'); } }]);
      never.on('error', () => note(none));
      client.query(never); await event(never, 'error');
      await client.query(text()); note(own);
    };
  },
  async aborted() {
    const pool = open({ ...config, max: 5 });
    return async (i, text, note) => {
      await pool.query(text()); note(own);
      const signal = AbortSignal.timeout(3 + i % 5), gone = new Promise((_, no) => signal.addEventListener('abort', () => { note(maybe); no(signal.reason); }));
      await Promise.race([pool.query(`${text()}, pg_sleep(0.01)`), gone]).then(() => note(own), () => note(maybe));
      await pool.query(text()); note(own);
    };
  },
  async lost() {
    const pool = open({ ...config, max: 10 }), killer = open({ ...config, max: 2 });
    pool.on('error', () => note0(none));
    let note0;
    return async (i, text, note) => {
      note0 ??= note;
      const client = await pool.connect();
      client.on('error', () => note(none));
      const { rows: [{ pid }] } = await client.query(`SELECT pg_backend_pid() AS pid, 1 AS f${i}_`);
      await client.query('BEGIN');
      await client.query(text()); note(own);
      const gone = event(client, 'end');
      await killer.query(`SELECT pg_terminate_backend($1), 1 AS f${i}_`, [pid]); note(own);
      await client.query(text()).catch(() => note(maybe));
      await gone; note(maybe);
      client.release(true);
      await pool.query(text()); note(own);
    };
  },
  async handlers() { // of a pool, which connects and hands over out of any flow
    const pool = open({ ...config, max: 2, idleTimeoutMillis: 1 });
    pool.on('connect', (client) => client.query('SELECT 1 AS greeting'));
    pool.on('remove', () => {});
    return async (i, text, note) => {
      await sleep(i % 5);
      await pool.query(text()); note(own);
      await new Promise((done) => pool.connect((error, client, release) => {
        note(maybe); // still, unless its connection was idle for too long
        client.query(text(), () => { note(own); release(i % 7 === 0); note(own); done(); });
      }));
      note(maybe);
      await sleep(i % 4);
      const client = await pool.connect(); note(maybe);
      await client.query('BEGIN'); await client.query(text()); note(own);
      await client.query(i % 2 ? 'COMMIT' : 'ROLLBACK'); note(none);
      client.release(); note(none);
    };
  },
};

let at;
process.once('beforeExit', () => { console.error('nothing goes on any more in', at); process.exitCode = 1; });

async function run() {
  const names = Object.keys(CASES);
  for (const [number, name] of names.entries()) {
    at = name;
    const flow = await CASES[name]();
    await Promise.all(Array.from({ length: FLOWS }, (_, i) => {
      let k = 0;
      const note = (array) => { array[0] = 100_000 * (number + 1) + 1000 * k++ + i; };
      return (async () => { await null; await flow(i, () => `SELECT 1 AS f${i}_`, note); })();
    }));
    for (const each of opened.splice(0)) Promise.resolve(each.end()).catch(() => {}); // or it has ended
  }
  return names;
}

run().then((names) => {
  if (!isMainThread) process.exit(0);
  const workers = [1, 2].map(() => event(new Worker(__filename, { argv: [FLOWS] }), 'exit', 'error'));
  return Promise.all(workers).then((ends) => { console.log(JSON.stringify([names, ends])); process.exit(0); });
}).catch((error) => { console.error(error); process.exit(1); });
