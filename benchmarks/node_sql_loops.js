// What benchmarks/node_sql.py times: statements of one driver, one after the other, in a transaction. argv: the driver; who
// traces it, "plain" (nobody), "memwatch" (a value is watched) or "opentelemetry" (its exporter does nothing); how to connect.
'use strict';
const [driver, who, config] = process.argv.slice(2);
const STATEMENTS = 1000;
const WARM = 20; // times as many, until V8 has compiled what runs hot

const SUBJECTS = {
  plain() {},
  memwatch() {
    require('@memwatch/node').watch(new Int32Array(1), { trackSQL: true, name: 'x' });
  },
  opentelemetry() {
    const { trace, context } = require('@opentelemetry/api');
    const { AsyncLocalStorageContextManager } = require('@opentelemetry/context-async-hooks');
    const { BasicTracerProvider, SimpleSpanProcessor } = require('@opentelemetry/sdk-trace-base');
    const { registerInstrumentations } = require('@opentelemetry/instrumentation');
    const exporter = { export(spans, done) { done({ code: 0 }); }, async shutdown() {}, async forceFlush() {} };
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
    trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }));
    const { [{ pg: 'PgInstrumentation', mysql2: 'MySQL2Instrumentation' }[driver]]: Instrumentation } = require(`@opentelemetry/instrumentation-${driver}`);
    registerInstrumentations({ instrumentations: [new Instrumentation()] });
  },
};

const DRIVERS = {
  async pg(connect) {
    const client = new (require('pg').Client)(connect);
    await client.connect();
    return { ask: (text, values) => client.query(text, values), mark: (n) => `$${n}` };
  },
  async mysql2(connect) {
    const client = await require('mysql2/promise').createConnection(connect);
    return { ask: (text, values) => client.query(text, values), mark: () => '?' };
  },
};

(async () => {
  SUBJECTS[who]();
  const { ask, mark } = await DRIVERS[driver](JSON.parse(config));
  await ask('CREATE TEMPORARY TABLE bench (a INTEGER, b VARCHAR(10))');
  await ask('BEGIN');
  const insert = `INSERT INTO bench VALUES (${mark(1)}, ${mark(2)})`;
  async function timed() {
    const start = process.cpuUsage();
    for (let i = 0; i < STATEMENTS; i++) await ask(insert, [i, 'name']);
    const { user, system } = process.cpuUsage(start);
    return (user + system) / STATEMENTS;
  }
  for (let i = 0; i < WARM; i++) await timed();
  for await (const _ of require('node:readline').createInterface({ input: process.stdin })) console.log(await timed());
  process.exit();
})();
