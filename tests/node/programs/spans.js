// A server, each of whose requests has a span and a label of its own: node spans.js FRAMEWORK AT_ONCE TIMES
'use strict';

const { AsyncLocalStorage } = require('node:async_hooks');
const { once } = require('node:events');
const fs = require('node:fs');
const http = require('node:http');
const { setTimeout: sleep } = require('node:timers/promises');
const { context, trace } = require('@opentelemetry/api');
const { AsyncLocalStorageContextManager } = require('@opentelemetry/context-async-hooks');
const { BasicTracerProvider } = require('@opentelemetry/sdk-trace-base');
const { watch, label } = require('@memwatch/node');

const [, , framework, atOnce, times] = process.argv;
const x = watch(new Int32Array(1)), mine = new AsyncLocalStorage(), told = { x: [] };
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
trace.setGlobalTracerProvider(new BasicTracerProvider());
const tracer = trace.getTracer('test');

function store() {
  const span = trace.getActiveSpan()?.spanContext();
  told.x.push([mine.getStore() ?? [], span?.traceId ?? '', span?.spanId ?? '']);
  x[0]++;
}

/** What comes before the handler of a request. */
function around(request, go) {
  store();
  const text = `order ${request.url.slice(1)}`;
  return tracer.startActiveSpan(text, () => label(text, () => mine.run([text], go)));
}

async function handle(request, end) {
  store();
  await sleep(Number(request.url.slice(1)) % 5);
  store();
  await tracer.startActiveSpan('part', async (span) => {
    await null;
    store();
    span.end();
  });
  setTimeout(store);
  request.on?.('close', store);
  end(request.url);
}

const SERVERS = {
  http: () => http.createServer((request, response) => around(request, () => handle(request, (body) => response.end(body)))).listen(0),
  express() {
    const app = require('express')();
    app.use((request, response, next) => around(request, next));
    app.get('/:id', (request, response) => handle(request, (body) => response.send(body)));
    return app.listen(0);
  },
  fastify() {
    const app = require('fastify')();
    app.addHook('onRequest', (request, reply, done) => around(request, done));
    app.get('/:id', (request, reply) => handle(request, (body) => reply.send(body)));
    app.listen({ port: 0 });
    return app.server;
  },
};

async function main() {
  const server = SERVERS[framework]();
  await once(server, 'listening');
  const agent = new http.Agent({ keepAlive: true, maxSockets: Number(atOnce) / 2 }), { port } = server.address();
  for (let time = 0; time < times; time++) {
    await Promise.all(Array.from({ length: Number(atOnce) }, (_, i) => new Promise((done, failed) => {
      http.get({ port, agent, path: `/${time}${i}` }, (response) => response.resume().on('end', done)).on('error', failed);
    })));
  }
  await sleep(20);
  fs.writeFileSync('told.json', JSON.stringify(told));
  process.exit();
}

main();
