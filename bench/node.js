// SPDX-License-Identifier: Apache-2.0
//
// bench/node.js SOCKET PEERS CORE: what the Node package costs, as one line of JSON. The servers are processes of
// their own and take turns on that core ("": on any); the load comes from here, over kept connections. A
// generation is one set of them, because what the compiler makes of a server differs from one process to the
// next. `serve` is such a server.
import { fork } from 'node:child_process';
import { EventEmitter } from 'node:events';
import { createRequire } from 'node:module';
import net from 'node:net';
import { fileURLToPath } from 'node:url';

import { connect } from '../bindings/node/src/index.js';
import { requestEnergy } from '../bindings/node/src/middleware.js';

const GENERATIONS = 4;
const ROUNDS = 9;
const REQUESTS = 3000; // a round, of each server
const CONNECTIONS = 8;
const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];
const [socket, peers, core, serve] = process.argv.slice(2); // serve: bare, noop or ours
const require = createRequire(`${peers}/package.json`);

/** A hello-world of Express, also with a middleware that does nothing, or ours. Says its port, then its CPU time. */
function server() {
  const express = require('express');
  const app = express();
  if (serve === 'noop')
    app.use((_req, _res, next) => next());
  if (serve === 'ours') {
    const { Registry } = require('prom-client');
    app.use(requestEnergy({ socket, registry: new Registry() }).express());
  }
  app.get('/', (_req, res) => res.send('hello, world'));
  const listening = app.listen(0, '127.0.0.1', () => process.send(listening.address().port));
  process.on('message', () => {
    const { user, system } = process.cpuUsage();
    process.send(user + system);
  });
  process.on('disconnect', () => process.exit());
}

function say(child, message) {
  return new Promise((resolve) => {
    child.once('message', resolve);
    if (message)
      child.send(message);
  });
}

/** Asks for so many answers; resolves to the seconds it took. */
function load(port, requests) {
  const text = `GET / HTTP/1.1\r\nHost: x\r\n\r\n`;
  let asked = 0;
  let answered = 0;
  const begin = performance.now();
  return new Promise((resolve, reject) => {
    for (let i = 0; i < CONNECTIONS; i++) {
      const s = net.connect(port, '127.0.0.1', () => ask());
      s.setNoDelay(true);
      const ask = () => (asked++ < requests ? s.write(text) : s.end());
      s.on('error', reject);
      s.on('data', (data) => {
        if (!data.includes('hello, world'))
          return;
        answered++;
        ask();
        if (answered === requests)
          resolve((performance.now() - begin) / 1000);
      });
    }
  });
}

function start(kind) {
  const pinned = core ? { execPath: 'taskset', execArgv: ['-c', core, process.execPath] } : {};
  return fork(fileURLToPath(import.meta.url), [socket, peers, core, kind], pinned);
}

/** Adds a generation's rounds to all. */
async function generation(all) {
  const children = ['bare', 'noop', 'ours'].map(start);
  const ports = await Promise.all(children.map((c) => say(c)));
  for (const port of ports)
    await load(port, 5 * REQUESTS); // until it is compiled
  for (let round = 0; round < ROUNDS; round++) {
    const us = [];
    const seconds = [];
    for (let k = 0; k < 3; k++) {
      const i = (k + round) % 3;
      const before = await say(children[i], 'cpu');
      seconds[i] = await load(ports[i], REQUESTS);
      us[i] = (await say(children[i], 'cpu') - before) / REQUESTS;
    }
    all.push({ bare: us[0], noop: us[1] - us[0], ours: us[2] - us[0], cpu: us[2] / us[0] - 1,
      time: seconds[2] / seconds[0] - 1, rate: REQUESTS / seconds[0] });
  }
  for (const child of children)
    child.disconnect();
}

async function throughput() {
  const all = [];
  for (let i = 0; i < GENERATIONS; i++)
    await generation(all);
  const of = (name) => median(all.map((r) => r[name]));
  const ours = all.map((r) => r.ours).sort((a, b) => a - b);
  return { bare_cpu_us: of('bare'), noop_cpu_us: of('noop'), server_cpu_us: of('ours'), server_cpu_more: of('cpu'),
    server_time_more: of('time'), bare_requests_a_second: of('rate'),
    server_cpu_quartiles_us: [ours[ours.length >> 2], ours[3 * ours.length >> 2]] };
}

/** The middleware without a server: begin, end, and its part of the settlement. */
async function alone() {
  const energy = requestEnergy({ socket, interval: 60000 });
  await energy.settle();
  const middleware = energy.express();
  const route = { path: '/items/:id' };
  const us = [];
  const count = 20000;
  for (let round = 0; round < ROUNDS; round++) {
    const answers = Array.from({ length: count }, () => Object.assign(new EventEmitter(), {
      statusCode: 200, writableEnded: false, destroyed: false, writableFinished: false }));
    const requests = answers.map(() => ({ method: 'GET', baseUrl: '', app: {}, route }));
    const { user, system } = process.cpuUsage();
    for (let i = 0; i < count; i++) {
      middleware(requests[i], answers[i], () => {});
      answers[i].writableFinished = true;
      answers[i].emit('close');
    }
    await energy.settle();
    const after = process.cpuUsage();
    us.push((after.user + after.system - user - system) / count);
  }
  const figures = await energy.close();
  if (figures.settledRequests !== count * ROUNDS || figures.unmeasuredRequests !== 0)
    throw new Error('not every request was settled');
  return { middleware_us: median(us) };
}

async function windows() {
  const client = connect({ socket });
  const us = [];
  for (let i = 0; i < 400; i++) {
    const begin = performance.now();
    await (await client.begin('bench')).end();
    us.push((performance.now() - begin) * 1000);
  }
  client.close();
  return { window_us: median(us) };
}

if (serve) {
  server();
} else {
  console.log(JSON.stringify({ ...await windows(), ...await alone(), ...await throughput() }));
  process.exit();
}
