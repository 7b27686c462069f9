// A server of a web framework, set up as its documentation shows, over a pool: every request writes after statements of its
// own. argv: the framework; the driver (pg, mysql2); how many clients at once; how many requests of each; where the clients are:
// another process or this one. Prints what is in force at each write: { noted: [[number, names in its statement or null, label]], troubles }.
'use strict';
const { watch } = require('@memwatch/node');
const { AsyncLocalStorage } = require('node:async_hooks');

const [framework, driver, clients, requests, where] = process.argv.slice(2);
const x = watch(new Int32Array(1), { trackSQL: true, name: 'x' });
const config = JSON.parse(process.env.DATABASE);
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const own = new AsyncLocalStorage(); // as programs that log have one: the request's number
const CALLBACK = "driver's callback"; // there pg and mysql2 lose the storage by themselves
const noted = [], troubles = [], working = [];

// `names`: the last statement of the request has one of them in it; null among them: there may be none in force.
function note(i, label, ...names) {
  if (label !== CALLBACK && own.getStore() !== undefined && own.getStore() !== i) troubles.push(`${label}: the storage of ${own.getStore()} in ${i}`);
  noted.push([noted.length + 1, names, label]);
  x[0] = noted.length;
}

const pool = driver === 'pg' ? new (require('pg').Pool)({ ...config, max: 10 }) : require('mysql2').createPool({ ...config, connectionLimit: 10 });
const db = driver === 'pg' ? pool : pool.promise();
const connect = () => (driver === 'pg' ? db.connect() : db.getConnection());
const one = (name) => `SELECT 1 AS ${name}`;
const insert = (i, name) => `INSERT INTO items SELECT ${i} AS ${name}`;

async function repository(name) {
  const client = await connect();
  try { return await client.query(one(name)); } finally { client.release(); }
}

async function service(i, name) {
  await sleep(i % 3);
  return repository(name);
}

async function transaction(f) {
  const client = await connect();
  try {
    await client.query('BEGIN');
    await f(client);
    await client.query('COMMIT');
  } catch {
    await client.query('ROLLBACK');
  } finally { client.release(); }
}

const ROUTES = {
  async works(i) {
    note(i, 'handler', `auth_${i}`);
    await db.query(one(`a_${i}`)); note(i, 'query', `a_${i}`);
    await sleep(i % 4); note(i, 'timer', `a_${i}`);
    await repository(`b_${i}`); note(i, 'repository', `b_${i}`);
    await new Promise((done) => setTimeout(() => { note(i, "timer's callback", `b_${i}`); done(); }, i % 5));
    note(i, 'after it', `b_${i}`);
    await Promise.all([service(i, `c_${i}`), sleep(i % 3)]); note(i, 'Promise.all', `c_${i}`);
    await new Promise((done) => setImmediate(done)); note(i, 'setImmediate', `c_${i}`);
    await new Promise((done) => pool.query(one(`d_${i}`), () => { note(i, CALLBACK, `d_${i}`); done(); }));
    note(i, 'after it', `d_${i}`);
    return i;
  },
  async rolls(i) {
    await transaction(async (client) => {
      note(i, 'in the transaction', 'BEGIN');
      await client.query(insert(i, `e_${i}`)); note(i, 'in the transaction', `e_${i}`);
      await sleep(i % 4); note(i, 'timer in the transaction', `e_${i}`);
      await client.query(insert(i, `twice_${i}`)); // is refused
    });
    note(i, 'rolled back');
    await sleep(i % 3); note(i, 'timer after ROLLBACK');
    await transaction(async (client) => {
      await client.query(insert(i, `f_${i}`)); note(i, 'in the transaction', `f_${i}`);
    });
    note(i, 'committed');
    await repository(`last_${i}`); note(i, 'repository', `last_${i}`);
    return i;
  },
  async throws(i) {
    await repository(`last_${i}`);
    await sleep(i % 3); note(i, 'timer', `last_${i}`);
    throw new Error(String(i));
  },
  async reads(i) { // no statement at all
    note(i, 'handler');
    await sleep(i % 5); note(i, 'timer');
    await new Promise((done) => setTimeout(() => { note(i, "timer's callback"); setImmediate(done); }, 1)); note(i, 'after it');
    return i;
  },
  async answers(i) { // and goes on
    working.push((async () => {
      await sleep(2); note(i, 'timer after the response', `auth_${i}`);
      await repository(`last_${i}`);
      await sleep(i % 5); note(i, 'timer after the response', `last_${i}`);
    })());
    return i;
  },
};
const NAMES = Object.keys(ROUTES);
const LAST = { works: 'd', rolls: 'last', throws: 'last', answers: 'auth' };
/** What is in force once the handler has ended. */
const last = (name, i) => (LAST[name] ? [`${LAST[name]}_${i}`] : []);

async function auth(name, i) {
  if (name === 'reads') return;
  await sleep(i % 2);
  await db.query(one(`auth_${i}`));
}

// Each returns [server, close]. `/name/i`, with a body; what the frameworks call middleware, hooks, guards, interceptors and filters.
const FRAMEWORKS = {
  async express() {
    const express = require('express'), app = express();
    const of = (request) => [request.path.split('/')[1], Number(request.path.split('/')[2])];
    app.use(express.json());
    app.use((request, response, next) => own.run(of(request)[1], next));
    app.use(async (request, response, next) => {
      const [name, i] = of(request);
      response.on('finish', () => note(i, 'finish', ...last(name, i), `auth_${i}`, null));
      await auth(name, i);
      next();
    });
    for (const name of NAMES) app.post(`/${name}/:i`, async (request, response) => { response.json(await ROUTES[name](Number(request.params.i))); });
    app.use((error, request, response, _) => { // express counts four parameters
      const [name, i] = of(request);
      note(i, 'error handler', ...last(name, i));
      response.status(500).json(i);
    });
    const server = app.listen(0);
    return [server, () => server.close()];
  },
  async fastify() {
    const app = require('fastify')();
    const of = (request) => [request.url.split('/')[1], Number(request.url.split('/')[2])];
    app.addHook('preValidation', (request, reply, done) => own.run(of(request)[1], done));
    app.addHook('preHandler', (request) => auth(...of(request)));
    app.addHook('onSend', async (request, reply, payload) => { const [name, i] = of(request); note(i, 'onSend', ...last(name, i)); return payload; });
    app.addHook('onResponse', async (request) => { const [name, i] = of(request); note(i, 'onResponse', ...last(name, i), `auth_${i}`, null); });
    for (const name of NAMES) app.post(`/${name}/:i`, (request) => ROUTES[name](Number(request.params.i)));
    app.setErrorHandler((error, request, reply) => {
      const [name, i] = of(request);
      note(i, 'error handler', ...last(name, i));
      reply.code(500).send(i);
    });
    await app.listen({ port: 0 });
    return [app.server, () => app.close()];
  },
  async koa() {
    const Koa = require('koa'), app = new Koa();
    const of = (context) => [context.path.split('/')[1], Number(context.path.split('/')[2])];
    app.use((context, next) => own.run(of(context)[1], next));
    app.use(async (context, next) => {
      const [name, i] = of(context);
      try {
        await next();
        note(i, 'after next()', ...last(name, i));
      } catch {
        note(i, 'error handler', ...last(name, i));
        context.status = 500;
        context.body = String(i);
      }
    });
    app.use(async (context, next) => {
      for await (const chunk of context.req) if (!chunk.length) troubles.push('an empty chunk');
      await auth(...of(context));
      await next();
    });
    app.use(async (context) => { const [name, i] = of(context); context.body = String(await ROUTES[name](i)); });
    const server = app.listen(0);
    return [server, () => server.close()];
  },
  async nest() {
    const { NestFactory } = await import('@nestjs/core');
    const { Module, Controller, Post, Req, Inject } = await import('@nestjs/common');
    const { tap } = await import('rxjs');
    const of = (request) => [request.path.split('/')[1], Number(request.path.split('/')[2])];
    class Routes { constructor(routes) { this.routes = routes; } }
    for (const name of NAMES) { // what decorators are, without a compiler
      Routes.prototype[name] = async function (request) { return this.routes[name](of(request)[1]); };
      Req()(Routes.prototype, name, 0);
      Post(`${name}/:i`)(Routes.prototype, name, Object.getOwnPropertyDescriptor(Routes.prototype, name));
    }
    Inject('ROUTES')(Routes, undefined, 0);
    Controller()(Routes);
    class Application {}
    Module({ controllers: [Routes], providers: [{ provide: 'ROUTES', useValue: ROUTES }] })(Application);
    const app = await NestFactory.create(Application, { logger: false });
    app.use((request, response, next) => own.run(of(request)[1], next));
    app.useGlobalGuards({ canActivate: async (context) => { await auth(...of(context.switchToHttp().getRequest())); return true; } });
    app.useGlobalInterceptors({
      intercept(context, next) {
        const [name, i] = of(context.switchToHttp().getRequest());
        note(i, 'interceptor', ...(name === 'reads' ? [] : [`auth_${i}`]));
        return next.handle().pipe(tap(() => note(i, 'interceptor, after', ...last(name, i))));
      },
    });
    app.useGlobalFilters({
      catch(error, host) {
        const request = host.switchToHttp().getRequest(), [name, i] = of(request);
        note(i, 'filter', ...last(name, i));
        host.switchToHttp().getResponse().status(500).json(i);
      },
    });
    await app.listen(0);
    return [app.getHttpServer(), () => app.close()];
  },
};

// Half of the clients use fetch, which shares its connections; each of the others keeps one. Any client begins with another route.
async function load(port, names, clients, requests, before, after) {
  const http = require('node:http');
  const agents = [];
  const ways = [
    async (path, body) => { const response = await fetch(`http://127.0.0.1:${port}${path}`, { method: 'POST', body, headers: { 'content-type': 'application/json' } }); return [response.status, await response.text()]; },
    (path, body, agent) => new Promise((done, failed) => {
      const request = http.request({ port, host: '127.0.0.1', path, agent, method: 'POST', headers: { 'content-type': 'application/json' } }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk) => { text += chunk; }).on('end', () => done([response.statusCode, text]));
      });
      request.on('error', failed).end(body);
    }),
  ];
  let wrong = 0;
  await Promise.all(Array.from({ length: clients }, async (_, client) => {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    agents.push(agent);
    for (let k = 0; k < requests; k++) {
      const i = client * requests + k, name = names[(client + k) % names.length];
      await before?.(i);
      const [status, text] = await ways[client % 2](`/${name}/${i}`, JSON.stringify({ i }), agent);
      after?.(i);
      wrong += (status === 500) !== (name === 'throws') || text !== String(i);
    }
  }));
  for (const agent of agents) agent.destroy();
  return wrong;
}

async function loadFromHere(port) {
  const first = clients * requests; // clients' own statements have other numbers
  return load(port, NAMES, Number(clients), Number(requests),
    async (i) => { await repository(`client_${first + i}`); note(first + i, 'client', `client_${first + i}`); },
    (i) => note(first + i, 'client, after the response', `client_${first + i}`, null));
}

async function loadFromElsewhere(port) {
  const source = `(${load})(${port}, ${JSON.stringify(NAMES)}, ${clients}, ${requests}).then((wrong) => console.log(wrong))`;
  const child = require('node:child_process').spawn(process.execPath, ['-e', source], { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  for await (const chunk of child.stdout) text += chunk;
  return text === '' ? 'the clients died' : Number(text);
}

(async () => {
  const [server, close] = await FRAMEWORKS[framework]();
  if (!server.listening) await new Promise((done) => server.once('listening', done));
  const wrong = await (where === 'here' ? loadFromHere : loadFromElsewhere)(server.address().port);
  if (wrong) troubles.push(`${wrong} answers are wrong`);
  await Promise.all(working);
  await sleep(20); // what follows the last response
  await close();
  server.closeAllConnections();
  await db.end();
  console.log(JSON.stringify({ noted, troubles: troubles.slice(0, 20) }));
})();
