// SPDX-License-Identifier: Apache-2.0
//
// Requests of real servers, real frameworks and a real prom-client, with the shipped agent on a simulated
// machine. "The account" is what the agent's own answers say, taken beside the middleware's arithmetic.
import { spawnSync } from 'node:child_process';
import http from 'node:http';
import net from 'node:net';
import { connect } from '../../bindings/node/src/index.js';
import { requestEnergy } from '../../bindings/node/src/middleware.js';
import { assert, Machine, near, pause, run, Skip, until } from './harness.js';
import { peer } from './peers.js';

const MACHINE = 'node-24h'; // two packages and their DRAM, counters alone
const closing = [];

/** Figures of the requests, with the answers that they are made of. */
function energyOf(machine, options = {}) {
  const client = connect({ socket: machine.socket });
  const answers = [];
  const totals = client.totals.bind(client);
  client.totals = async (how) => {
    const doc = await totals(how);
    answers.push(doc);
    return doc;
  };
  const warnings = [];
  const energy = requestEnergy({ client, warn: (text) => warnings.push(text), ...options });
  closing.push(() => energy.close(), () => client.close());
  return { energy, client, answers, warnings };
}

async function listen(server) {
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  closing.push(() => {
    server.close();
    server.closeAllConnections();
  });
  return server.address().port;
}

/** One request; its status, or the error that ended it. */
function get(port, path, { method = 'GET', abortAfter, agent } = {}) {
  return new Promise((resolve) => {
    const req = http.request({ port, path, method, agent, host: '127.0.0.1' }, (res) => {
      res.resume();
      res.on('end', () => resolve(res.statusCode));
      res.on('error', resolve);
    });
    req.on('error', resolve);
    req.end();
    if (abortAfter)
      setTimeout(() => req.destroy(), abortAfter);
  });
}

/** The figures when n requests have ended: a client has an answer before its server knows that it is sent. */
async function settled(energy, n) {
  await until(`${n} requests`, () => energy.snapshot().requests === n);
  return energy.settle();
}

/** Values of a page: {'name{labels}': number}. */
async function page(registry) {
  const out = {};
  for (const line of (await registry.metrics()).split('\n'))
    if (line && !line.startsWith('#'))
      out[line.slice(0, line.lastIndexOf(' '))] = Number(line.slice(line.lastIndexOf(' ') + 1));
  return out;
}

const sumOf = (values, prefix) =>
  Object.entries(values).filter(([k]) => k.startsWith(prefix)).reduce((a, [, v]) => a + v, 0);

function accountOf(answers) {
  return Number(answers.at(-1).total.microjoules - answers[0].total.microjoules) / 1e6;
}

/** requests + non-request = the account over the same time. */
async function closes(energy, registry, answers, share = 1e-9) {
  const figures = await energy.settle();
  const values = await page(registry);
  const account = accountOf(answers);
  near(values.app_energy_joules_total, account, share, 'the total');
  near(sumOf(values, 'app_request_energy_joules_sum') + values.app_nonrequest_energy_joules_total +
    values.app_inflight_energy_joules, account, share, 'requests + non-request');
  return { figures, values, account };
}

/** Ends what a case opened, in reverse. */
function cases(list) {
  return Object.fromEntries(Object.entries(list).map(([name, fn]) => [name, async () => {
    try {
      await fn();
    } finally {
      for (const end of closing.splice(0).reverse())
        await end();
    }
  }]));
}

const work = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** The same routes by each framework: a port, and the labels that its routes have. */
const FRAMEWORKS = {
  express: (energy, name = 'express') => {
    const express = peer(name);
    const app = express();
    app.use(energy.express());
    app.use(energy.express()); // a second time by mistake
    app.get('/items/:id', async (req, res) => {
      await work(20);
      res.send('ok');
    });
    app.get('/fail', (_req, res) => res.status(503).send('no'));
    app.get('/slow', () => {}); // answers never
    const inner = express.Router();
    inner.get('/posts/:post', (_req, res) => res.send('ok'));
    const outer = express.Router();
    outer.use('/in', inner);
    app.use('/users/:user', outer);
    return listen(http.createServer(app));
  },
  express4: (energy) => FRAMEWORKS.express(energy, 'express4'),
  fastify: async (energy, name = 'fastify') => {
    if (name === 'fastify' && Number(process.versions.node.split('.')[0]) < 20)
      throw new Skip('Fastify 5 wants Node 20');
    const app = peer(name)();
    app.register(energy.fastify());
    app.get('/items/:id', async () => {
      await work(20);
      return 'ok';
    });
    app.get('/fail', async (_request, reply) => {
      reply.code(503);
      return 'no';
    });
    app.get('/slow', () => new Promise(() => {}));
    app.register(async (scope) => {
      scope.get('/in/posts/:post', async () => 'ok');
    }, { prefix: '/users/:user' });
    await app.listen({ port: 0, host: '127.0.0.1' });
    closing.push(() => app.close());
    return app.server.address().port;
  },
  fastify4: (energy) => FRAMEWORKS.fastify(energy, 'fastify4'),
  http: (energy) => {
    const routes = [[/^\/items\/[^/]+$/, '/items/:id'], [/^\/fail$/, '/fail'], [/^\/slow$/, '/slow'],
      [/^\/users\/[^/]+\/in\/posts\/[^/]+$/, '/users/:user/in/posts/:post']];
    return listen(http.createServer(energy.http(async (req, res) => {
      const route = routes.find(([re]) => re.test(req.url))?.[1];
      if (route === '/slow')
        return;
      if (route === '/items/:id')
        await work(20);
      res.statusCode = route === undefined ? 404 : route === '/fail' ? 503 : 200;
      res.end('ok');
    }, { route: (req) => routes.find(([re]) => re.test(req.url))?.[1] })));
  },
};

async function framework(name) {
  const prom = peer('prom-client');
  const machine = await Machine.start(MACHINE);
  const registry = new prom.Registry();
  const { energy, answers } = energyOf(machine, { registry });
  const port = await FRAMEWORKS[name](energy);
  await energy.settle();
  const agent = new http.Agent({ keepAlive: true, maxSockets: 4 });
  closing.push(() => agent.destroy());
  const kept = await Promise.all(Array.from({ length: 12 }, (_, i) => get(port, `/items/${i}`, { agent })));
  assert.ok(kept.every((s) => s === 200), kept.join());
  await Promise.all(Array.from({ length: 20 }, (_, i) => get(port, `/users/u${i}/in/posts/${i}`)));
  assert.equal(await get(port, '/fail'), 503);
  assert.equal(await get(port, '/nowhere/at/all?q=1'), 404);
  await get(port, '/items/x', { method: 'HEAD' });
  await get(port, '/slow', { abortAfter: 50 });
  await until('the abort to be seen', () => energy.snapshot().requests === 36);
  const { values, figures } = await closes(energy, registry, answers);
  const count = (route, method, status) => values[
    `app_request_energy_joules_count{route="${route}",method="${method}",status_class="${status}"}`];
  const text = Object.keys(values).join('\n');
  assert.equal(count('/items/:id', 'GET', '2xx'), 12, text);
  assert.equal(count('/users/:user/in/posts/:post', 'GET', '2xx'), 20, text);
  assert.equal(count('/fail', 'GET', '5xx'), 1, text);
  assert.equal(count('other', 'GET', '4xx'), 1, text);
  assert.equal(count('/slow', 'GET', 'aborted'), 1, text);
  assert.equal(values.app_requests_total, 36);
  assert.equal(figures.settledRequests, 36);
  assert.equal(figures.unmeasuredRequests, 0);
  assert.ok(values[`app_request_energy_joules_sum{route="/slow",method="GET",status_class="aborted"}`] > 0);
  assert.ok(values.app_joules_per_request > 0);
  assert.ok(!/u1\/|items\/1|nowhere/.test(text), 'a raw path');
}

await run(cases({
  async '50 overlapping requests sum to the account, each with its share'() {
    const prom = peer('prom-client');
    const machine = await Machine.start(MACHINE);
    const registry = new prom.Registry();
    const { energy, answers } = energyOf(machine, { promClient: { register: registry } });
    const port = await listen(http.createServer(energy.http(async (req, res) => {
      await work(300);
      res.end('ok');
    })));
    await energy.settle();
    await pause(100);
    await Promise.all(Array.from({ length: 50 }, () => get(port, '/')));
    await settled(energy, 50);
    const { values, account } = await closes(energy, registry, answers, 0.001);
    const name = 'app_request_energy_joules';
    const labels = '{route="other",method="GET",status_class="2xx"}';
    assert.equal(values[`${name}_count${labels}`], 50);
    const sum = values[`${name}_sum${labels}`];
    assert.ok(sum > 0 && sum < account, `${sum} of ${account}`);
    // None got the whole: each is near a fiftieth of what the requests got together.
    const most = Object.entries(values).filter(([k, v]) => k.startsWith(`${name}_bucket`) && v === 50)
      .map(([k]) => Number(/le="([^"]+)"/.exec(k)[1].replace('+Inf', 'Infinity')));
    assert.ok(Math.min(...most) <= sum / 5, `${Math.min(...most)} of ${sum}`);
  },

  async 'the account is true within 0.5 %'() {
    const machine = await Machine.start(MACHINE, { clock: true });
    const { energy } = energyOf(machine, { interval: 60000, longestStep: 60000 });
    const port = await listen(http.createServer(energy.http(async (_req, res) => {
      await machine.sleep(0.1);
      res.end('ok');
    })));
    const begin = await energy.settle();
    for (let i = 0; i < 5; i++)
      await Promise.all([get(port, '/'), get(port, '/'), machine.sleep(0.3)]);
    const end = await settled(energy, 10);
    const truth = await machine.truth(begin.bootNs, end.bootNs);
    near(end.energyJoules - begin.energyJoules, Object.values(truth).reduce((a, b) => a + b, 0), 0.005);
    near(end.finishedJoules + end.nonRequestJoules + end.inFlightJoules, end.energyJoules, 1e-9);
    assert.equal(end.settledRequests, 10);
  },

  async 'a request shorter than a step gets its share: not 0, not the step'() {
    const machine = await Machine.start(MACHINE);
    const { energy, answers } = energyOf(machine, { interval: 60000 });
    const port = await listen(http.createServer(energy.http((_req, res) => res.end('ok'))));
    await energy.settle();
    const agent = new http.Agent({ keepAlive: true });
    closing.push(() => agent.destroy());
    for (let i = 0; i < 100; i++)
      await get(port, '/', { agent });
    assert.equal(energy.snapshot().settledRequests, 0, 'no reading came yet');
    await pause(300);
    const figures = await settled(energy, 100);
    assert.equal(figures.settledRequests, 100);
    assert.ok(figures.finishedJoules > 0);
    assert.ok(figures.finishedJoules < figures.energyJoules * 0.9, 'of a step that was mostly idle');
    near(figures.energyJoules, accountOf(answers), 1e-9);
  },

  'Express 5: routes by pattern, aborts, sums': () => framework('express'),
  'Express 4: routes by pattern, aborts, sums': () => framework('express4'),
  'Fastify 5: routes by pattern, aborts, sums': () => framework('fastify'),
  'Fastify 4: routes by pattern, aborts, sums': () => framework('fastify4'),
  'node:http: routes by pattern, aborts, sums': () => framework('http'),

  async 'labels are bounded, whatever clients send'() {
    const prom = peer('prom-client');
    const machine = await Machine.start(MACHINE);
    const registry = new prom.Registry();
    const { energy, answers } = energyOf(machine, { registry, maxRoutes: 10 });
    const port = await listen(http.createServer(energy.http((_req, res) => res.end('ok'),
      { route: (req) => req.url.repeat(20) }))); // a program that does it wrong
    await energy.settle();
    const methods = ['GET', 'PURGE', 'MKCOL', 'M-SEARCH', 'PROPFIND'];
    for (let i = 0; i < 300; i++)
      await get(port, `/raw/${i}`, { method: methods[i % methods.length] });
    for (let i = 0; i < 100; i++)
      energy.units(`unit ${i}`, 2);
    await settled(energy, 300);
    const { values } = await closes(energy, registry, answers);
    const series = Object.keys(values).filter((k) => k.startsWith('app_request_energy_joules_count'));
    assert.ok(series.length <= 11, series.join('\n'));
    assert.equal(sumOf(values, 'app_request_energy_joules_count'), 300);
    assert.ok(values['app_request_energy_joules_count{route="other",method="other",status_class="2xx"}'] >= 290);
    assert.ok(series.every((k) => k.length < 300));
    const units = Object.keys(values).filter((k) => k.startsWith('app_units_total'));
    assert.equal(units.length, 33);
    assert.equal(sumOf(values, 'app_units_total'), 200);
    assert.equal(values['app_units_total{unit="other"}'], 2 * 68);
  },

  async 'the agent killed and back: served, one warning, the time between by its ledger'() {
    const prom = peer('prom-client');
    const machine = await Machine.start(MACHINE);
    const registry = new prom.Registry();
    const { energy, answers, warnings } = energyOf(machine, { registry, interval: 100 });
    const port = await listen(http.createServer(energy.http(async (_req, res) => {
      await work(10);
      res.end('ok');
    })));
    await energy.settle();
    const before = energy.snapshot();
    await machine.kill();
    for (let i = 0; i < 20; i++)
      assert.equal(await get(port, '/'), 200);
    const away = await settled(energy, 20);
    assert.ok(away.error);
    assert.equal(away.requests, 20);
    // Nothing was added that no reading said: of what was there the figures are those of the last one.
    assert.equal(away.energyJoules, accountOf(answers));
    assert.ok(away.energyJoules >= before.energyJoules);
    await until('the series to be absent', async () => !('app_energy_joules_total' in await page(registry)));
    const absent = await page(registry);
    for (const name of ['app_energy_joules_total', 'app_nonrequest_energy_joules_total', 'app_joules_per_request'])
      assert.ok(!(name in absent), name);
    assert.equal(absent.app_requests_total, 20);
    assert.equal(warnings.length, 1, warnings.join('\n'));
    await machine.agent();
    const { figures, account } = await closes(energy, registry, answers);
    assert.equal(figures.error, null);
    assert.equal(figures.unmeasuredRequests, 0);
    assert.equal(figures.settledRequests, 20);
    assert.ok(figures.finishedJoules > 0 && figures.finishedJoules < account);
    assert.equal(warnings.length, 1);
  },

  async 'time that the ledger cannot vouch for is not shared, and the sums close'() {
    const prom = peer('prom-client');
    const machine = await Machine.start('default'); // its total is a gauge, which nobody read meanwhile
    const registry = new prom.Registry();
    const { energy, answers } = energyOf(machine, { registry });
    const port = await listen(http.createServer(energy.http(async (_req, res) => {
      await work(10);
      res.end('ok');
    })));
    await energy.settle();
    await machine.kill();
    for (let i = 0; i < 10; i++)
      assert.equal(await get(port, '/'), 200);
    await settled(energy, 10);
    await machine.agent();
    const { figures, values } = await closes(energy, registry, answers);
    assert.equal(figures.unmeasuredRequests, 10);
    assert.equal(values.app_requests_unmeasured_total, 10);
    assert.ok(values.app_energy_unknown_seconds_total > 0);
    assert.equal(sumOf(values, 'app_request_energy_joules_count'), 0);
    assert.equal(await get(port, '/'), 200);
    await until('a step that is known', async () => (await energy.settle()).energyJoules > 0);
    assert.equal((await energy.settle()).unmeasuredRequests, 10);
  },

  async 'another ledger is another beginning: nothing is invented'() {
    const machine = await Machine.start(MACHINE);
    const { energy } = energyOf(machine);
    const port = await listen(http.createServer(energy.http((_req, res) => res.end('ok'))));
    await energy.settle();
    await pause(100);
    const before = await energy.settle();
    await machine.kill();
    await get(port, '/');
    await settled(energy, 1);
    await machine.agent({ state: 'other' });
    const after = await energy.settle();
    assert.equal(after.energyJoules, before.energyJoules);
    assert.equal(after.unmeasuredRequests, 1);
    assert.ok(after.unknownSeconds > 0);
  },

  async 'an agent that was never there: served, no figure'() {
    const prom = peer('prom-client');
    const registry = new prom.Registry();
    const warnings = [];
    const energy = requestEnergy({ socket: '/nowhere/ergon.sock', registry, interval: 100,
      warn: (text) => warnings.push(text) });
    closing.push(() => energy.close());
    const port = await listen(http.createServer(energy.http((_req, res) => res.end('ok'))));
    for (let i = 0; i < 5; i++)
      assert.equal(await get(port, '/'), 200);
    await pause(350);
    await settled(energy, 5);
    const values = await page(registry);
    assert.deepEqual(Object.keys(values).filter((k) => /joules|info/.test(k)), []);
    assert.equal(values.app_requests_total, 5);
    assert.equal(energy.snapshot().energyJoules, null);
    assert.equal(warnings.length, 1);
    assert.match(warnings[0], /no agent answers at \/nowhere.*ergon agent/);
  },

  async 'requests in a row on a connection that breaks have all ended'() {
    const machine = await Machine.start(MACHINE);
    const { energy } = energyOf(machine);
    const seen = [];
    const port = await listen(http.createServer(energy.http((req, res) => {
      seen.push(req.url);
      if (req.url === '/answered')
        res.end('x');
    }, { route: (req) => req.url })));
    for (let round = 0; round < 2; round++) {
      const socket = net.connect(port, '127.0.0.1');
      for (const path of ['/answered', '/first', ...Array(20).fill('/queued')])
        socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
      await until('all of them', () => seen.length === 22 * (round + 1));
      socket.destroy();
    }
    const figures = await settled(energy, 44);
    await pause(300);
    const later = await energy.settle();
    assert.ok(later.inFlightJoules === 0 && later.nonRequestJoules > figures.nonRequestJoules,
      JSON.stringify(later));
    assert.equal(later.requests, 44);
  },

  async 'what waits for a reading is bounded'() {
    const machine = await Machine.start(MACHINE);
    const { energy, answers } = energyOf(machine, { interval: 60000, maxPending: 64 });
    const port = await listen(http.createServer(energy.http((_req, res) => res.end('ok'))));
    await energy.settle();
    const agent = new http.Agent({ keepAlive: true });
    closing.push(() => agent.destroy());
    for (let i = 0; i < 200; i++)
      await get(port, '/', { agent });
    const figures = await settled(energy, 200);
    assert.equal(figures.settledRequests, 200);
    assert.ok(figures.unmeasuredRequests >= 136, `${figures.unmeasuredRequests}`);
    near(figures.finishedJoules + figures.nonRequestJoules + figures.inFlightJoules, accountOf(answers), 1e-9);
  },

  async 'a request that lasts is counted as it goes'() {
    const machine = await Machine.start(MACHINE);
    const { energy, answers } = energyOf(machine);
    let finish;
    const port = await listen(http.createServer(energy.http((_req, res) => {
      res.write('begun');
      finish = () => res.end();
    })));
    await energy.settle();
    const asking = get(port, '/');
    await until('the request', () => finish);
    await pause(200);
    const half = await energy.settle();
    assert.ok(half.inFlightJoules > 0);
    assert.equal(half.finishedJoules, 0);
    finish();
    await asking;
    const done = await settled(energy, 1);
    assert.equal(done.inFlightJoules, 0);
    assert.ok(done.finishedJoules >= half.inFlightJoules);
    near(done.finishedJoules + done.nonRequestJoules, accountOf(answers), 1e-9);
  },

  async 'the page: types, OpenMetrics, promtool'() {
    const prom = peer('prom-client');
    const machine = await Machine.start(MACHINE);
    const registry = new prom.Registry();
    const { energy } = energyOf(machine, { registry });
    const port = await listen(http.createServer(energy.http((_req, res) => res.end('ok'))));
    await energy.settle();
    await get(port, '/');
    energy.units('tokens', 128);
    await settled(energy, 1);
    const text = await registry.metrics();
    for (const [name, type] of Object.entries({ app_energy_joules_total: 'counter', app_requests_total: 'counter',
      app_joules_per_request: 'gauge', app_request_energy_joules: 'histogram',
      app_nonrequest_energy_joules_total: 'counter', app_units_total: 'counter', app_energy_info: 'gauge' }))
      assert.ok(text.includes(`# TYPE ${name} ${type}\n`), name);
    assert.match(text, /^app_energy_joules_total \d/m); // unlabelled, as the ratio wants them
    assert.match(text, /^app_requests_total 1$/m);
    assert.match(text, /^app_joules_per_request \d/m);
    assert.match(text, /^app_units_total\{unit="tokens"\} 128$/m);
    assert.match(text, /^app_energy_info\{scope="node",method="equal share of those in flight",backend="agent",provenance="measured",/m);
    const lint = spawnSync('promtool', ['check', 'metrics'], { input: text, encoding: 'utf8' });
    if (!lint.error)
      assert.equal(lint.status, 0, lint.stdout + lint.stderr);
    const open = new prom.Registry(prom.Registry.OPENMETRICS_CONTENT_TYPE);
    const other = energyOf(machine, { registry: open, prefix: 'shop' });
    await other.energy.settle();
    assert.match(await open.metrics(), /^shop_energy_joules_total \d/m);
    assert.throws(() => energy.register(registry), { code: 'bad_argument' });
    assert.throws(() => requestEnergy({ interval: 10 }), { code: 'bad_argument' });
  },

  async 'a program with nothing else to do ends'() {
    const machine = await Machine.start(MACHINE);
    const script = `import { requestEnergy } from '${new URL('../../bindings/node/src/middleware.js',
      import.meta.url)}'; requestEnergy({ socket: '${machine.socket}' });`;
    const r = spawnSync(process.execPath, ['--input-type=module', '-e', script], { timeout: 20000, encoding: 'utf8' });
    assert.equal(r.status, 0, r.stderr);
  },
}));
