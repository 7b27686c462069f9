// What benchmarks/awaits.py times: one `await f()` of an async function that awaits once itself. argv: "ours", with the folder
// of the package: a statement is in force; "hooks": empty promise hooks, and an AsyncLocalStorage; "storage": that alone.
'use strict';
const { AsyncLocalStorage } = require('node:async_hooks');
const path = require('node:path');
const [who, folder] = process.argv.slice(2);
const ROUNDS = 30_000;

function begin() {
  if (who === 'ours') {
    const { tracer } = require(path.join(folder, 'lib/sql/drivers.js'));
    tracer.end(tracer.begin({ driver: 'dbx', statement: 'SELECT 1', connection: begin, dialect: 'sqlite' }), { inTransaction: false });
    return;
  }
  new AsyncLocalStorage().enterWith({});
  if (who === 'hooks') require('node:v8').promiseHooks.createHook({ init() {}, before() {}, after() {}, settled() {} });
}

async function leaf() { await null; }

async function timed() {
  const start = process.cpuUsage();
  for (let i = 0; i < ROUNDS; i++) await leaf();
  const { user, system } = process.cpuUsage(start);
  return (user + system) * 1e3 / ROUNDS;
}

(async () => {
  begin();
  for (let i = 0; i < 5; i++) await timed(); // warm
  for await (const _ of require('node:readline').createInterface({ input: process.stdin })) console.log(await timed());
})();
