// What pools of mysql2 go through, many flows at once (argv: how many), in the main thread and in two workers. Writes to
// `own`: under the statement that has the flow's number in it; `maybe`: under that or none; `none`: under none. Element 0 is
// 100000 * the case + 1000 * the write + the flow. Prints the names of the cases.
'use strict';
const { Worker, isMainThread } = require('node:worker_threads');
const { watch } = require('@memwatch/node');
const mysql = require('mysql2'), promise = require('mysql2/promise');

const config = JSON.parse(process.env.DATABASE), FLOWS = Number(process.argv[2]), LAST = FLOWS - 1;
const [own, maybe, none] = ['own', 'maybe', 'none'].map((name) => watch(new Int32Array(1), { trackSQL: true, name }));
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const event = (emitter, ...names) => new Promise((done) => names.forEach((name) => emitter.once(name, done)));
const code = (error) => error.code ?? error.message;

const opened = [];
function open({ createPool }, options) {
  opened.push(createPool(options));
  return opened.at(-1);
}

/** Each: (i, text(), note) => ..., where text() is a statement of the flow's own, and note(array) writes. */
const CASES = {
  async timeout() {
    const pool = open(promise, { ...config, connectionLimit: 5 });
    return async (i, text, note) => {
      await pool.query(text()); note(own);
      if (i % 5 === 0) await pool.query({ sql: `${text()}, SLEEP(0.05)`, timeout: 10 }).then(() => note(own), () => note(none));
      await pool.query(text()).catch(() => {}); note(maybe);
      await new Promise((done) => pool.pool.query({ sql: `${text()}, SLEEP(${i % 7 ? 0 : 0.03})`, timeout: 15 }, () => { note(maybe); done(); }));
      await pool.execute({ sql: text(), timeout: 1000 }).then(() => note(own), () => note(none));
    };
  },
  async cancelled() {
    const pool = open(promise, { ...config, connectionLimit: 8 }), killer = open(promise, { ...config, connectionLimit: 2 });
    return async (i, text, note) => {
      const c = await pool.getConnection();
      const [[{ id }]] = await c.query(`SELECT CONNECTION_ID() AS id, 1 AS f${i}_`); note(own);
      const slow = c.query(`${text()}, SLEEP(60) FROM (SELECT 1 UNION SELECT 2) t`).then(() => note(own), (error) => { note(none); return code(error); });
      const waits = c.execute(text()).then(() => note(own)); // behind it
      note(own);
      await sleep(5);
      let over = false;
      slow.then(() => { over = true; });
      await killer.query(`KILL QUERY ${id}`);
      while (!over) { await killer.query(`KILL QUERY ${id}`).catch(() => {}); await sleep(5); }
      await waits.catch(() => note(maybe));
      await c.query(text()).catch(() => c.query(text())); note(own);
      c.release();
      note(own);
    };
  },
  async ended() {
    const pool = open(promise, { ...config, connectionLimit: 4 });
    return async (i, text, note) => {
      await sleep(i % 4);
      const results = Promise.all([1, 2, 3].map(() => pool.query(text()).then(() => note(own), () => note(maybe))));
      if (i === LAST) await pool.end();
      await Promise.race([results, sleep(300)]);
      await pool.query(text()).catch(() => note(maybe));
    };
  },
  async full() {
    const impatient = open(promise, { ...config, connectionLimit: 1, waitForConnections: false });
    const short = open(mysql, { ...config, connectionLimit: 1, queueLimit: 3 });
    return async (i, text, note) => {
      await impatient.query(text()).then(() => note(own), () => note(maybe));
      await new Promise((done) => short.query(text(), (error) => { note(error ? maybe : own); done(); }));
      await new Promise((done) => short.getConnection((error, c) => {
        note(maybe);
        if (error) return done();
        c.query(text(), () => { note(own); c.release(); note(own); done(); });
      }));
    };
  },
  async streams() {
    const pool = open(mysql, { ...config, connectionLimit: 5 });
    const connect = () => new Promise((done, no) => pool.getConnection((error, c) => (error ? no(error) : done(c))));
    return async (i, text, note) => {
      const rows = `SELECT seq AS n, 1 AS f${i}_ FROM seq_1_to_20`;
      const c = await connect();
      for await (const { n } of c.query(rows).stream({ highWaterMark: 2 })) { note(own); if (n === 20) break; }
      await c.promise().query(text()); note(own);
      const stream = c.execute(rows).stream({ highWaterMark: 3 });
      stream.on('data', () => note(own));
      await event(stream, 'end');
      const failing = c.query(`SELECT 1 AS f${i}_, n FROM missing`).stream();
      failing.on('error', () => note(none)); failing.on('data', () => {});
      await event(failing, 'close', 'end');
      await c.promise().query(text()); note(own);
      const query = c.query(rows);
      query.on('fields', () => note(own)).on('result', () => { note(own); c.pause(); setTimeout(() => c.resume(), 0); });
      await event(query, 'end');
      await new Promise((done) => c.query(text(), () => { note(own); c.query(rows).on('result', () => note(own)).on('end', () => { note(own); done(); }); }));
      c.release();
    };
  },
  async prepared() {
    const pool = open(promise, { ...config, connectionLimit: 3, maxPreparedStatements: 4 });
    return async (i, text, note) => {
      for (let k = 0; k < 4; k++) {
        await pool.execute(`SELECT ? AS n, 1 AS f${i}_`, [k]); note(own);
        await sleep((i + k) % 3); note(own);
        await pool.execute(`SELECT ? AS n, 1 AS f${i}_ FROM missing`, [k]).catch(() => note(none));
      }
      const c = await pool.getConnection();
      const statement = await c.prepare(`SELECT ? AS n, 1 AS f${i}_`);
      const both = [statement.execute([1]).then(() => note(own)), statement.execute([2]).then(() => note(own))];
      note(own);
      await Promise.all(both);
      await statement.close();
      await c.query(text()); note(own);
      c.unprepare(`SELECT ? AS n, 1 AS f${i}_`);
      c.release();
    };
  },
  async scripts() {
    const pool = open(promise, { ...config, connectionLimit: 4, multipleStatements: true });
    return async (i, text, note) => {
      await pool.query(`${text()}; ${text()}; ${text()}`); note(own);
      await pool.query(`${text()}; SELEC 1; ${text()}`).catch(() => note(none));
      await pool.query(text()); note(own);
      await pool.query({ sql: `SELECT seq AS n, 1 AS f${i}_ FROM seq_1_to_3`, typeCast(field, next) { note(maybe); return next(); } }); note(own);
    };
  },
  async submitted() {
    const c = mysql.createConnection(config);
    return async (i, text, note) => {
      const command = mysql.createQuery(text(), [], undefined, c.config);
      command.on('result', () => note(own)).on('end', () => note(own));
      c.query(command); note(own);
      await event(command, 'end');
      await new Promise((done) => c.query(mysql.createQuery(text(), [], () => { note(own); done(); }, c.config)));
      await new Promise((done) => c.query(mysql.createQuery(`SELEC 1 AS f${i}_`, [], () => { note(none); done(); }, c.config)));
      await new Promise((done) => c.query(text(), () => { note(own); c.ping(() => { note(own); done(); }); }));
      await new Promise((done) => c.prepare(text(), (error, statement) => { note(own); statement.execute([], () => { note(own); done(); }); }));
    };
  },
  async lost() {
    const pool = open(promise, { ...config, connectionLimit: 10 }), killer = open(promise, { ...config, connectionLimit: 2 });
    return async (i, text, note) => {
      const c = await pool.getConnection();
      c.connection.on('error', () => note(none));
      const [[{ id }]] = await c.query(`SELECT CONNECTION_ID() AS id, 1 AS f${i}_`);
      await c.beginTransaction();
      await c.query(text()); note(own);
      const gone = event(c.connection.stream, 'close');
      await killer.query(`KILL ${id} /* f */`);
      await c.query(text()).catch(() => note(maybe));
      await gone; note(maybe);
      c.destroy();
      await pool.query(text()); note(own);
    };
  },
  async reset() {
    const pool = open(promise, { ...config, connectionLimit: 3, resetOnRelease: true });
    pool.pool.on('connection', (c) => c.query('SELECT 1 AS greeting'));
    return async (i, text, note) => {
      const c = await pool.getConnection();
      await c.query(text()); note(own);
      await c.beginTransaction(); await c.query(text()); note(own);
      if (i % 3 === 0) { await c.commit(); note(none); } else if (i % 3 === 1) { await c.rollback(); note(none); }
      c.release(); note(i % 3 === 2 ? maybe : none);
      await sleep(i % 4); note(maybe);
      await pool.query(text()); note(own);
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
    for (const each of opened.splice(0)) (each.pool ?? each).end(() => {});
  }
  return names;
}

run().then((names) => {
  if (!isMainThread) process.exit(0);
  const workers = [1, 2].map(() => event(new Worker(__filename, { argv: [FLOWS] }), 'exit', 'error'));
  return Promise.all(workers).then((ends) => { console.log(JSON.stringify([names, ends])); process.exit(0); });
}).catch((error) => { console.error(error); process.exit(1); });
