// SPDX-License-Identifier: Apache-2.0
//
// The client of an agent. It opens nothing until it is asked something, and finds an agent that came later or
// came back. Documents are those of docs/openapi.yaml, with its names.
import { ErgonError } from './errors.js';
import { parse } from './json.js';
import { EventParser } from './sse.js';
import { Transport } from './transport.js';
import { Window } from './window.js';

const SCHEMAS = {
  index: 'ergon.api/1',
  sensors: 'ergon.api-sensors/1',
  totals: 'ergon.totals/1',
  power: 'ergon.power/1',
  history: 'ergon.history/1',
};

/** The document, if it has the form that was asked for. */
export function expectSchema(doc, schema) {
  if (doc.schema !== schema)
    throw new ErgonError('bad_answer', `the agent answered ${JSON.stringify(doc.schema ?? null).slice(0, 80)}, ` +
      `not ${schema}`, { cure: 'look whether the agent is older or newer than this package' });
  return doc;
}

function query(values) {
  const words = Object.entries(values).filter(([, v]) => v !== undefined && v !== null)
    .map(([k, v]) => `${k}=${encodeURIComponent(v)}`);
  return words.length ? `?${words.join('&')}` : '';
}

export class Client {
  constructor(options = {}) {
    this.timeout = options.timeout ?? 10000;
    // An answer about a window waits for a coarse sample where there is no finer access.
    this.windowTimeout = options.windowTimeout ?? Math.max(60000, this.timeout);
    for (const name of ['timeout', 'windowTimeout'])
      if (!(this[name] > 0 && this[name] <= 0x7fffffff))
        throw new ErgonError('bad_argument', `${name} is a number of milliseconds`);
    this.transport = new Transport(options);
  }

  async get(what, path, { signal, timeout = this.timeout } = {}) {
    const { doc } = await this.transport.request('GET', path, { signal, timeout });
    return expectSchema(doc, SCHEMAS[what]);
  }

  /** What there is, and what you may see of it. */
  index(how) {
    return this.get('index', '/', how);
  }

  /** Drivers and channels, or why there is none. */
  sensors(how) {
    return this.get('sensors', '/sensors', how);
  }

  /** Energy of every account and of the node. fresh: on a sample taken for this. */
  totals({ fresh, top, ...how } = {}) {
    return this.get('totals', '/totals' + query({ fresh: fresh ? 1 : undefined, top }), how);
  }

  /** Watts of every channel and of the node. */
  power(how) {
    return this.get('power', '/power', how);
  }

  /** Energy and power of the last minutes. */
  history({ minutes, step, ...how } = {}) {
    return this.get('history', '/history' + query({ minutes, step }), how);
  }

  /** Begins a window. units: work that is known already, such as { requests: 10 }. */
  begin(name = '', options = {}) {
    return Window.begin(this, name, options);
  }

  /**
   * Measures what fn does, awaited. Resolves to [what fn gave, Measurement]. Where fn throws, the window is
   * forgotten and the error goes on. Where the agent cannot be asked at the end, what fn gave is not
   * lost: the measurement has no joules and says why.
   */
  async measure(name, fn, options = {}) {
    const window = await this.begin(name, options);
    let value;
    try {
      value = await fn(window);
    } catch (error) {
      await window.cancel().catch(() => {});
      throw error;
    }
    try {
      return [value, await window.end()];
    } catch (error) {
      return [value, window.unknown(error)];
    }
  }

  /**
   * Snapshots, one a sample, at most one in `interval` ms. The stream is read no faster than you take
   * them: who is slow gets fewer, and `dropped` says how many were left out. Ends by leaving the loop or by the
   * signal (AbortError); where the agent ends it, ErgonError stream_ended or unreachable is thrown.
   */
  async *events({ interval, signal } = {}) {
    if (interval !== undefined && !(interval >= 0 && Number.isFinite(interval)))
      throw new ErgonError('bad_argument', 'interval is a number of milliseconds');
    const path = '/events' + query({ interval: interval > 0 ? `${Math.round(interval)}ms` : undefined });
    const stream = await this.transport.stream(path, { timeout: this.timeout, signal });
    const parser = new EventParser();
    try {
      for await (const chunk of stream)
        for (const event of parser.push(chunk)) {
          if (event.type === 'end')
            throw new ErgonError('stream_ended', `the agent ended the stream: ${reasonOf(event.data)}`,
              { cure: 'ask again' });
          if (event.type === 'snapshot')
            yield expectSchema(documentOf(event.data), 'ergon.snapshot/1');
        }
    } catch (error) {
      if (signal?.aborted)
        throw new ErgonError('aborted', 'aborted', { cause: signal.reason });
      if (error instanceof ErgonError)
        throw error;
      if (error instanceof RangeError)
        throw new ErgonError('bad_answer', `the agent sent ${error.message}`, { cause: error });
      throw new ErgonError('unreachable', 'the stream of events broke', { cause: error, cure: 'ask again' });
    } finally {
      stream.destroy();
    }
    throw new ErgonError('unreachable', 'the agent closed the stream of events', { cure: 'ask again' });
  }

  /** Closes the kept connections; requests that wait are rejected. */
  close() {
    this.transport.close();
  }
}

function documentOf(data) {
  let doc;
  try {
    doc = parse(data);
  } catch (cause) {
    throw new ErgonError('bad_answer', `an event of the agent is no JSON: ${cause.message}`, { cause });
  }
  if (typeof doc !== 'object' || doc === null || Array.isArray(doc))
    throw new ErgonError('bad_answer', 'an event of the agent is no JSON object');
  return doc;
}

function reasonOf(data) {
  const reason = documentOf(data).reason;
  return typeof reason === 'string' ? reason.slice(0, 80) : 'no reason given';
}

/**
 * A client.
 * @param {object} [options] socket: path of the agent's Unix socket (default: ERGON_SOCKET, then
 *   /run/ergon/ergon.sock, then $XDG_RUNTIME_DIR/ergon/ergon.sock); url: of its TCP listener instead;
 *   token: bearer token; timeout, windowTimeout: ms
 */
export function connect(options) {
  return new Client(options);
}
