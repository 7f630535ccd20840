// SPDX-License-Identifier: Apache-2.0
//
// serve.js SOCKET: the application of test_same.py under node:http, with the energy of its requests. Prints its
// port; answers each line of its standard input with the page, [[name, labels, value], ...].
import http from 'node:http';
import readline from 'node:readline';
import { requestEnergy } from '../../bindings/node/src/middleware.js';

const metrics = [];
const energy = requestEnergy({ socket: process.argv[2], interval: 250, warn: () => {},
  registry: { registerMetric: (metric) => metrics.push(metric) } });
const STATUS = { '/empty': 204, '/same': 304, '/none': 404, '/raises': 500 };

function handler(req, res) {
  res.statusCode = STATUS[req.url] ?? 200;
  if (!['/stream', '/endless', '/breaks'].includes(req.url)) {
    res.end(['/empty', '/same'].includes(req.url) ? undefined : 'ok');
    return;
  }
  res.write('x'.repeat(1000));
  if (req.url === '/breaks') {
    setTimeout(() => res.destroy(), 20);
    return;
  }
  let left = req.url === '/stream' ? 5 : Infinity;
  const timer = setInterval(() => {
    res.write('x'.repeat(1000));
    if (--left === 0)
      res.end();
  }, 10);
  res.on('close', () => clearInterval(timer));
}

const route = (req) => (req.url === '/none' ? undefined : req.url);
const server = http.createServer(energy.http(handler, { route }));
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
for await (const _ of readline.createInterface({ input: process.stdin })) {
  await energy.settle();
  const page = [];
  for (const metric of metrics) {
    const { name, values } = await metric.get();
    page.push(...values.map(({ metricName, labels, value }) => [metricName ?? name, labels ?? {}, value]));
  }
  console.log(JSON.stringify(page));
}
process.exit(0);
