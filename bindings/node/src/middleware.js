// SPDX-License-Identifier: Apache-2.0
//
// @ergon/client/middleware: joules per request, for Express, Fastify and node:http, shown by prom-client.
//
// A handler never waits for a reading: a request leaves its begin and its end here, and readings taken in
// the background settle them (settle.js). The account is the node's as long as the agent cannot say what one
// program used; `app_energy_info` says so (scope="node"). Where the agent is away, requests are
// served, nothing is added, and the series of energy are absent until it is back.
import { connect } from './client.js';
import { ErgonError } from './errors.js';
import { Readings } from './readings.js';
import { expressRoute, fastifyRoute, OTHER } from './routes.js';
import { Settlement } from './settle.js';

const ROUTES_MAX = 100; // pairs of method and route
const UNITS_MAX = 32; // kinds of units
const LABEL_MAX = 128; // characters
const HISTORY_MAX = 4096; // readings that the gauge looks back over
const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'CONNECT']);
const BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100];
const METHOD = 'equal share of those in flight';
const STATUS = [OTHER, '1xx', '2xx', '3xx', '4xx', '5xx'];

function statusClass(res) {
  if (!(res.writableFinished ?? res.writableEnded)) // HTTP/2 has the second alone
    return 'aborted';
  return STATUS[Math.floor(res.statusCode / 100)] ?? OTHER;
}

/** A bound as Prometheus writes it, whatever the client library: 1.0, 0.25, 1e-05. */
function bound(joules) {
  if (joules === undefined)
    return '+Inf';
  if (joules < 1e-4)
    return joules.toExponential().replace(/e-(\d)$/, 'e-0$1');
  return Number.isInteger(joules) ? `${joules}.0` : String(joules);
}

/** Requests by method, route and class of status, each with its buckets of joules. */
class Histogram {
  constructor(buckets, routesMax) {
    this.buckets = buckets;
    this.routesMax = routesMax;
    this.pairs = new Map();
    this.cells = new Map();
  }

  /** A method and a route, or `other` where there are too many. */
  pair(method, route) {
    const key = `${method} ${route}`;
    let pair = this.pairs.get(key);
    if (!pair) {
      const rest = `${OTHER} ${OTHER}`;
      if (this.pairs.size >= this.routesMax && key !== rest)
        return this.pair(OTHER, OTHER);
      pair = this.add(key, { method, route });
    }
    return pair;
  }

  add(key, pair) {
    this.pairs.set(key, pair);
    return pair;
  }

  observe(pair, status, joules) {
    const cells = (pair.cells ??= {});
    let cell = cells[status];
    if (!cell) {
      cell = cells[status] = { labels: { route: pair.route, method: pair.method, status_class: status },
        counts: new Array(this.buckets.length + 1).fill(0), sum: 0, count: 0 };
      this.cells.set(`${pair.method} ${pair.route} ${status}`, cell);
    }
    let i = 0;
    while (i < this.buckets.length && joules > this.buckets[i])
      i++;
    cell.counts[i]++;
    cell.sum += joules;
    cell.count++;
  }

  values(name) {
    const out = [];
    for (const { labels, counts, sum, count } of this.cells.values()) {
      let below = 0;
      counts.forEach((n, i) => {
        below += n;
        out.push({ metricName: `${name}_bucket`, labels: { ...labels, le: bound(this.buckets[i]) },
          value: below });
      });
      out.push({ metricName: `${name}_sum`, labels, value: sum });
      out.push({ metricName: `${name}_count`, labels, value: count });
    }
    return out;
  }
}

/** What a registry of prom-client asks of a metric. */
class Metric {
  constructor(name, type, help, values, aggregator = 'sum') {
    this.name = name;
    this.type = type;
    this.help = help;
    this.aggregator = aggregator;
    this.collect = values;
  }

  async get() {
    const { name, type, help, aggregator } = this;
    return { name, type, help, aggregator, values: this.collect(name) };
  }

  reset() {} // totals do not fall
}

function checked(value, what, least, most) {
  if (!Number.isFinite(value) || value < least || value > most)
    throw new ErgonError('bad_argument', `${what} is a number from ${least} to ${most}`);
  return value;
}

export class RequestEnergy {
  #client;
  #ownClient = false;
  #readings;
  #settlement;
  #histogram;
  #open = new Set(); // answers
  #queued = new WeakMap(); // by connection: ends of answers that wait for earlier ones
  #requests = 0;
  #settled = 0;
  #units = new Map();
  #history = [];
  #note = null;
  #lastMs = null;
  #error = null;
  #warn;
  #window;
  #stale;
  #longest;
  #registry = null;
  #metrics = [];

  constructor(options = {}) {
    const interval = checked(options.interval ?? 1000, 'interval (ms)', 100, 60000);
    this.#window = checked(options.window ?? 300000, 'window (ms)', 2 * interval, 86400000);
    this.#longest = checked(options.longestStep ?? 60000, 'longestStep (ms)', interval, 3600000);
    this.#stale = Math.max(5000, 3 * interval);
    const buckets = options.buckets ?? BUCKETS;
    if (!Array.isArray(buckets) || buckets.length > 64 || !buckets.every((b, i) => Number.isFinite(b) && b > (buckets[i - 1] ?? 0)))
      throw new ErgonError('bad_argument', 'buckets are at most 64 rising numbers of joules');
    this.#histogram = new Histogram([...buckets],
      checked(options.maxRoutes ?? ROUTES_MAX, 'maxRoutes', 1, 10000));
    this.#warn = options.warn ?? ((text) => process.emitWarning(text, { code: 'ERGON_AGENT_AWAY' }));
    this.#settlement = new Settlement((entry, joules) => this.#onSettled(entry, joules),
      { eventsMax: options.maxPending });
    this.#ownClient = !options.client;
    this.#client = options.client ?? connect(options);
    this.#readings = new Readings(this.#client, {
      interval,
      longest: this.#longest,
      reading: (reading) => this.#onReading(reading),
      state: (error) => this.#onState(error),
    });
    const registry = options.registry ?? options.promClient?.register;
    if (registry)
      this.register(registry, options.prefix);
    this.#readings.start();
  }

  // ---- requests ----

  /**
   * Counts a request from now to the end of its answer, or to its abort. route: what gives its route then, as
   * a pattern that the program declared.
   */
  track(req, res, route) {
    if (this.#open.has(res) || res.writableEnded || res.destroyed)
      return;
    this.#open.add(res); // a property of its own, or a WeakSet, makes an answer slow
    const entry = this.#settlement.begin(performance.now());
    const ended = () => {
      if (!this.#open.delete(res))
        return;
      const now = performance.now();
      let pattern = OTHER;
      try {
        pattern = String(route?.() ?? OTHER).slice(0, LABEL_MAX);
      } catch {
        // a request is counted whatever its route function does
      }
      const method = METHODS.has(req.method) ? req.method : OTHER;
      entry.pair = this.#histogram.pair(method, pattern);
      entry.status = statusClass(res);
      this.#requests++;
      this.#settlement.end(entry, now);
    };
    // Comes after `finish`, and where there is none.
    res.on('close', ended);
    if (res.socket === null && req.socket)
      this.#afterSocket(req.socket, res, ended);
  }

  /** An answer that waits for an earlier one of its connection (pipelining) is not told when that breaks. */
  #afterSocket(socket, res, ended) {
    let queued = this.#queued.get(socket);
    if (!queued) {
      queued = new Set();
      this.#queued.set(socket, queued);
      socket.once('close', () => queued.forEach((end) => end()));
    }
    queued.add(ended);
    res.on('close', () => queued.delete(ended));
  }

  /** For Express: app.use(energy.express()), before everything that is to be counted. */
  express() {
    return (req, res, next) => {
      const { app } = req;
      this.track(req, res, () => expressRoute(req, app));
      next();
    };
  }

  /** For Fastify: app.register(energy.fastify()). */
  fastify() {
    const plugin = (app, _options, done) => {
      app.addHook('onRequest', (request, reply, next) => {
        this.track(request.raw, reply.raw, () => fastifyRoute(request));
        next();
      });
      done();
    };
    // For the whole application, not for a context of its own.
    plugin[Symbol.for('skip-override')] = true;
    plugin[Symbol.for('fastify.display-name')] = 'ergon';
    return plugin;
  }

  /** For node:http: http.createServer(energy.http(handler)). route: (req, res) => a pattern. */
  http(handler, { route } = {}) {
    const { track } = this;
    const self = this;
    return function handle(req, res) {
      track.call(self, req, res, route && (() => route(req, res)));
      return handler.call(this, req, res);
    };
  }

  /** Counts work beside requests: energy.units('tokens', 128). */
  units(unit, count = 1) {
    checked(count, 'count', 0, Number.MAX_SAFE_INTEGER);
    let name = String(unit).slice(0, LABEL_MAX);
    if (!this.#units.has(name) && this.#units.size >= UNITS_MAX)
      name = OTHER;
    this.#units.set(name, (this.#units.get(name) ?? 0) + count);
  }

  // ---- readings ----

  #onSettled({ pair, status }, joules) {
    this.#settled++;
    if (joules !== null)
      this.#histogram.observe(pair, status, joules);
  }

  #onReading({ t, joules, whole, note }) {
    const shared = this.#settlement.reading(t, joules, whole);
    this.#note = note;
    this.#lastMs = performance.now();
    if (!shared)
      this.#history = []; // the gauge is about time that is known
    this.#history.push({ t, energy: this.#settlement.energy, requests: this.#settled });
    while (this.#history.length > HISTORY_MAX || this.#history[0].t < t - this.#window)
      this.#history.shift();
  }

  #onState(error) {
    const first = this.#error === null;
    this.#error = error;
    const { t } = this.#readings;
    if (error && (t === null || performance.now() - t > this.#longest))
      this.#settlement.giveUp(); // whatever comes will not be shared
    if (error && first)
      this.#warn(`ergon: no energy of requests for now: ${error.message}`);
  }

  #known() {
    return this.#note !== null && performance.now() - this.#lastMs <= this.#stale;
  }

  /** Joules per request over the last minutes, both of the same time; null where there is no figure. */
  get joulesPerRequest() {
    if (!this.#known())
      return null;
    const first = this.#history[0];
    const last = this.#history.at(-1);
    const requests = last.requests - first.requests;
    return requests > 0 ? (last.energy - first.energy) / requests : null;
  }

  /** The figures as of the last reading. energy = finished + inFlight + nonRequest. */
  snapshot() {
    const s = this.#settlement;
    return {
      scope: 'node',
      method: METHOD,
      provenance: this.#note?.provenance ?? null,
      boundary: this.#note?.boundary ?? null,
      known: this.#known(),
      error: this.#error,
      bootNs: this.#note?.boot_ns ?? null,
      energyJoules: this.#note ? s.energy : null,
      finishedJoules: this.#note ? s.finished : null,
      inFlightJoules: this.#note ? s.unfinished : null,
      nonRequestJoules: this.#note ? s.nonRequest : null,
      joulesPerRequest: this.joulesPerRequest,
      requests: this.#requests,
      settledRequests: this.#settled,
      unmeasuredRequests: s.unmeasured,
      unknownSeconds: s.unknownSeconds,
      units: Object.fromEntries(this.#units),
    };
  }

  /** Takes a reading now and settles up to it. Resolves to the figures, whether the agent answered or not. */
  async settle() {
    await this.#readings.asking;
    await this.#readings.ask();
    return this.snapshot();
  }

  // ---- prom-client ----

  /** Puts the families into a registry of prom-client. Once, at most. */
  register(registry, prefix = 'app') {
    if (this.#registry)
      throw new ErgonError('bad_argument', 'these figures are in a registry already');
    if (typeof registry?.registerMetric !== 'function')
      throw new ErgonError('bad_argument', 'registry is a Registry of prom-client');
    if (!/^[a-zA-Z_:][a-zA-Z0-9_:]*$/.test(prefix))
      throw new ErgonError('bad_argument', 'prefix is the beginning of a name of Prometheus');
    this.#metrics = this.#families(prefix);
    for (const metric of this.#metrics)
      registry.registerMetric(metric);
    this.#registry = registry;
  }

  #families(prefix) {
    const s = this.#settlement;
    const one = (value, labels = {}) => [{ value, labels }];
    const known = (value) => () => (this.#known() ? one(value()) : []);
    return [
      new Metric(`${prefix}_energy_joules_total`, 'counter',
        `Energy of the account that requests are charged from (see ${prefix}_energy_info).`, known(() => s.energy)),
      new Metric(`${prefix}_requests_total`, 'counter', 'Requests that were answered or aborted.',
        () => one(this.#requests)),
      new Metric(`${prefix}_joules_per_request`, 'gauge',
        'Energy of the account for each request, of the last minutes; absent where there was none.', () => {
          const joules = this.joulesPerRequest;
          return joules === null ? [] : one(joules);
        }, 'average'),
      new Metric(`${prefix}_request_energy_joules`, 'histogram',
        "Each request's share of the account, by requests in flight.", (name) => this.#histogram.values(name)),
      new Metric(`${prefix}_nonrequest_energy_joules_total`, 'counter',
        'Energy of the account that no request is charged with.', known(() => s.nonRequest)),
      new Metric(`${prefix}_inflight_energy_joules`, 'gauge',
        'Energy that requests in flight have gathered so far.', known(() => s.unfinished)),
      new Metric(`${prefix}_requests_unmeasured_total`, 'counter',
        'Requests without a figure, as energy was not known while they ran.', () => one(s.unmeasured)),
      new Metric(`${prefix}_energy_unknown_seconds_total`, 'counter',
        'Time of which the energy is not known, or not all of it.', () => one(s.unknownSeconds)),
      new Metric(`${prefix}_units_total`, 'counter', 'Units of work.',
        () => [...this.#units].map(([unit, value]) => ({ value, labels: { unit } }))),
      new Metric(`${prefix}_energy_info`, 'gauge', 'What the account is and how it is shared.',
        () => (this.#note ? one(1, { scope: 'node', method: METHOD, backend: 'agent',
          provenance: this.#note.provenance ?? '', boundary: this.#note.boundary ?? '' }) : []), 'first'),
    ];
  }

  /** Takes a last reading, stops, and leaves the figures as they are. */
  async close() {
    const figures = await this.settle();
    this.#readings.close();
    if (this.#ownClient)
      this.#client.close();
    return figures;
  }
}

/**
 * The energy of a server's requests. One for a process, whatever number of servers and frameworks it has.
 * @param {object} [options] those of connect(), or client; registry (of prom-client) or promClient (its
 *   module); interval: ms between readings (1000); window: ms that joules_per_request looks back (300000);
 *   longestStep: ms, a longer time between two readings is not shared (60000); buckets: joules; maxRoutes:
 *   pairs of method and route (100); prefix of names (app); warn: called with a text when the agent is away
 */
export function requestEnergy(options) {
  return new RequestEnergy(options);
}
