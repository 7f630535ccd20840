// SPDX-License-Identifier: Apache-2.0
//
// Plays scripts (table.json, expanded by test_same.py) on the Node middleware, in scripted time: a line of JSON
// on standard output for each script, [[series of the page after each step]]. play.py does the same.
import { EventEmitter } from 'node:events';
import fs from 'node:fs';
import { parse } from '../../bindings/node/src/json.js';
import { requestEnergy } from '../../bindings/node/src/middleware.js';

let now = 0;
performance.now = () => now;
globalThis.setTimeout = () => ({ unref() {} }); // the script asks

const series = (name, labels) => {
  const words = Object.entries(labels ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  return words.length ? `${name}{${words.map(([k, v]) => `${k}=${JSON.stringify(v)}`).join(',')}}` : name;
};

async function dump(metrics) {
  const page = {};
  for (const metric of metrics) {
    const { name, values } = await metric.get();
    for (const { metricName, labels, value } of values) {
      const key = series(metricName ?? name, labels);
      if (key in page)
        throw new Error(`${key} twice`);
      page[key] = value;
    }
  }
  return page;
}

async function play({ options = {}, steps }) {
  const metrics = [];
  let totals = null;
  now = 0;
  const energy = requestEnergy({
    client: { totals: async () => {
      if (totals === null)
        throw new Error('away');
      return parse(totals);
    } },
    registry: { registerMetric: (metric) => metrics.push(metric) },
    warn: () => {},
    ...('routes' in options && { maxRoutes: options.routes }),
    ...('pending' in options && { maxPending: options.pending }),
    ...('window' in options && { window: options.window }),
  });
  const open = new Map();
  const pages = [];
  await energy.settle();
  for (const [what, at, ...words] of steps) {
    now = at;
    if (what === 'reading' || what === 'away') {
      [totals = null] = words;
      await energy.settle();
    } else if (what === 'begin') {
      const request = { req: { method: 'GET' }, res: new EventEmitter(), route: null };
      open.set(words[0], request);
      energy.track(request.req, request.res, () => request.route ?? undefined);
    } else if (what === 'units') {
      energy.units(...words);
    } else if (what === 'end' || what === 'abort') {
      const [id, method, route, status] = words;
      const request = open.get(id);
      open.delete(id);
      request.req.method = method;
      request.route = route;
      Object.assign(request.res, { statusCode: status ?? 200, writableFinished: what === 'end' });
      request.res.emit('close');
    }
    pages.push(await dump(metrics));
  }
  return { pages, families: metrics.map(({ name, type, help }) => [name, type, help]) };
}

for (const script of JSON.parse(fs.readFileSync(process.argv[2], 'utf8')))
  fs.writeSync(1, `${JSON.stringify(await play(script))}\n`);
process.exit(0);
