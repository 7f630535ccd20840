// SPDX-License-Identifier: Apache-2.0
//
// HTTP to the agent: over its Unix socket, or to a URL. A few connections are kept and used again; more
// requests wait for one, up to WAITING_MAX. Every request has a time-out, every answer a ceiling. A request
// whose kept connection turned out to be closed is sent once more where that can do no harm.
import fs from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { ErgonError } from './errors.js';
import { parse } from './json.js';

export const CONNECTIONS_MAX = 8;
export const STREAMS_MAX = 16;
export const WAITING_MAX = 1024;
export const BODY_MAX = 8 << 20;

/** Where a socket of an agent may be, the first is preferred. */
export function socketPlaces(env = process.env) {
  if (env.ERGON_SOCKET)
    return [env.ERGON_SOCKET];
  const places = ['/run/ergon/ergon.sock'];
  if (env.XDG_RUNTIME_DIR)
    places.push(`${env.XDG_RUNTIME_DIR}/ergon/ergon.sock`);
  return places;
}

const GONE = new Set(['ECONNRESET', 'EPIPE', 'ECONNABORTED']);
const ABSENT = new Set(['ENOENT', 'ECONNREFUSED', 'ENOTSOCK']);

function addressOf(url) {
  let found;
  try {
    found = new URL(url);
    decodeURIComponent(found.username + found.password);
  } catch (cause) {
    throw new ErgonError('bad_argument', `${url} is no URL`, { cause });
  }
  if (found.protocol !== 'http:' && found.protocol !== 'https:')
    throw new ErgonError('bad_argument', `${url} is neither http nor https`);
  return found;
}

function retryable(error, req, again) {
  return again && req.reusedSocket && GONE.has(error.code);
}

export class Transport {
  constructor({ socket, url, token, env = process.env, connections = CONNECTIONS_MAX }) {
    this.places = socket ? [socket] : socketPlaces(env);
    this.url = url ? addressOf(url) : null;
    this.web = this.url?.protocol === 'https:' ? https : http;
    this.headers = { host: this.url?.host ?? 'localhost', accept: 'application/json, text/event-stream' };
    if (token) {
      if (!/^[\x21-\x7e]+$/.test(token))
        throw new ErgonError('bad_argument', 'a token is visible ASCII without spaces');
      this.headers.authorization = `Bearer ${token}`;
    } else if (this.url?.username) {
      this.headers.authorization = 'Basic ' + Buffer.from(
        `${decodeURIComponent(this.url.username)}:${decodeURIComponent(this.url.password)}`).toString('base64');
    }
    this.pool = new this.web.Agent({ keepAlive: true, maxSockets: connections, maxFreeSockets: 2 });
    this.streamPool = new this.web.Agent({ maxSockets: STREAMS_MAX });
    this.waiting = 0;
    this.streams = 0;
    this.closed = false;
  }

  /** The first place where something is. Looked for each time: agents come and go. */
  place() {
    return this.places.find((path) => fs.existsSync(path)) ?? this.places[0];
  }

  options(method, path, pool) {
    const at = this.url
      ? { host: this.url.hostname.replace(/^\[|\]$/g, ''), port: this.url.port || undefined }
      : { socketPath: this.place() };
    const base = this.url ? this.url.pathname.replace(/\/+$/, '') : '';
    return { ...at, method, path: `${base}/api/v1${path}`, headers: { ...this.headers }, agent: pool };
  }

  where(options) {
    return options.socketPath ?? this.url.origin;
  }

  failure(error, options) {
    if (error instanceof ErgonError)
      return error;
    if (error.code?.startsWith?.('HPE_'))
      return new ErgonError('bad_answer', `what answers at ${this.where(options)} does not speak HTTP`,
        { cause: error });
    let cure = 'look whether it runs';
    if (ABSENT.has(error.code))
      cure = 'start one (ergon agent), or say where it is (ERGON_SOCKET)';
    else if (error.code === 'EACCES' || error.code === 'EPERM')
      cure = "become a member of the socket's group";
    return new ErgonError('unreachable', `no agent answers at ${this.where(options)} (${error.code ?? error.message})`,
      { cause: error, cure });
  }

  /**
   * One request. Resolves to { status, doc } for 2xx; rejects with ErgonError otherwise.
   * @param {string} method
   * @param {string} path below /api/v1
   * @param {object} [how] body (object), timeout (ms), signal, again: sending it twice does no harm
   */
  async request(method, path, { body, timeout = 10000, signal, again = method === 'GET' } = {}) {
    if (this.waiting >= WAITING_MAX)
      throw new ErgonError('busy', `${WAITING_MAX} requests to the agent are not answered yet`,
        { cure: 'ask less often, or share one answer' });
    this.waiting++;
    try {
      return await this.once(method, path, { body, timeout, signal, again });
    } finally {
      this.waiting--;
    }
  }

  once(method, path, how) {
    const { body, timeout, signal, again } = how;
    return new Promise((resolve, reject) => {
      if (this.closed)
        return reject(new ErgonError('closed', 'this client is closed'));
      if (signal?.aborted)
        return reject(new ErgonError('aborted', 'aborted', { cause: signal.reason }));
      const options = this.options(method, path, this.pool);
      const text = body === undefined ? null : JSON.stringify(body);
      if (text !== null) {
        options.headers['content-type'] = 'application/json';
        options.headers['content-length'] = Buffer.byteLength(text);
      } else if (method !== 'GET') {
        options.headers['content-length'] = 0;
      }
      const req = this.web.request(options);
      let done = false;
      const finish = (settle, value) => {
        if (done)
          return;
        done = true;
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
        settle(value);
      };
      const give_up = (error) => {
        finish(reject, error);
        req.destroy();
      };
      const onAbort = () => give_up(new ErgonError('aborted', 'aborted', { cause: signal.reason }));
      const timer = setTimeout(() => give_up(new ErgonError('timeout',
        `${this.where(options)} did not answer within ${timeout / 1000} s`)), timeout);
      signal?.addEventListener('abort', onAbort, { once: true });
      req.on('error', (error) => {
        if (!done && retryable(error, req, again)) {
          finish(resolve, this.once(method, path, { ...how, again: false }));
          return;
        }
        finish(reject, this.failure(error, options));
      });
      req.on('response', (res) => {
        const chunks = [];
        let size = 0;
        res.on('data', (chunk) => {
          size += chunk.length;
          if (size > BODY_MAX)
            give_up(new ErgonError('bad_answer', `an answer of more than ${BODY_MAX} bytes`));
          else
            chunks.push(chunk);
        });
        res.on('error', (error) => finish(reject, this.failure(error, options)));
        res.on('close', () => finish(reject, new ErgonError('unreachable',
          `the agent at ${this.where(options)} went away in the middle of its answer`,
          { cure: 'look whether it runs' })));
        res.on('end', () => {
          if (!res.complete)
            return;
          try {
            finish(resolve, this.answer(res, Buffer.concat(chunks)));
          } catch (error) {
            finish(reject, error);
          }
        });
      });
      req.end(text ?? undefined);
    });
  }

  /** What a whole answer says; throws what it complains about. */
  answer(res, body) {
    const status = res.statusCode;
    const text = body.toString('utf8');
    const isJson = /^application\/json\b/.test(res.headers['content-type'] ?? '');
    let doc = null;
    if (isJson) {
      try {
        doc = parse(text);
      } catch (cause) {
        throw new ErgonError('bad_answer', `the agent's answer is no JSON: ${cause.message}`, { status, cause });
      }
    }
    if (status >= 200 && status <= 299) {
      if (typeof doc !== 'object' || doc === null || Array.isArray(doc))
        throw new ErgonError('bad_answer', 'the agent answered without a JSON object', { status });
      return { status, doc };
    }
    const problem = doc?.error;
    if (typeof problem?.code === 'string' && typeof problem.message === 'string')
      throw new ErgonError(problem.code, problem.message,
        { status, cure: typeof problem.cure === 'string' ? problem.cure : null, doc });
    throw new ErgonError('refused', text.trim().slice(0, 300) || `status ${status}`, { status });
  }

  /** Opens an endless answer; resolves to its stream. The caller destroys it. */
  stream(path, { timeout = 10000, signal } = {}) {
    return new Promise((resolve, reject) => {
      if (this.closed)
        return reject(new ErgonError('closed', 'this client is closed'));
      if (signal?.aborted)
        return reject(new ErgonError('aborted', 'aborted', { cause: signal.reason }));
      if (this.streams >= STREAMS_MAX)
        return reject(new ErgonError('busy', `${STREAMS_MAX} streams are open`, { cure: 'close one' }));
      this.streams++;
      const options = this.options('GET', path, this.streamPool);
      const req = this.web.request(options);
      let settled = false;
      const settle = (how, value) => {
        if (settled)
          return;
        settled = true;
        clearTimeout(timer);
        how(value);
      };
      const onAbort = () => {
        settle(reject, new ErgonError('aborted', 'aborted', { cause: signal.reason }));
        req.destroy();
      };
      const timer = setTimeout(() => {
        settle(reject, new ErgonError('timeout',
          `${this.where(options)} did not answer within ${timeout / 1000} s`));
        req.destroy();
      }, timeout);
      signal?.addEventListener('abort', onAbort, { once: true });
      req.on('close', () => {
        this.streams--;
        signal?.removeEventListener('abort', onAbort);
        settle(reject, new ErgonError('unreachable', `${this.where(options)} closed the connection`));
      });
      req.on('error', (error) => settle(reject, this.failure(error, options)));
      req.on('response', (res) => {
        if (res.statusCode === 200 && /^text\/event-stream\b/.test(res.headers['content-type'] ?? '')) {
          settle(resolve, res);
          return;
        }
        const chunks = [];
        let size = 0;
        res.on('data', (chunk) => {
          size += chunk.length;
          if (size > 65536)
            req.destroy();
          else
            chunks.push(chunk);
        });
        res.on('error', () => {});
        res.on('end', () => {
          try {
            this.answer(res, Buffer.concat(chunks));
            settle(reject, new ErgonError('bad_answer', 'the agent answered without a stream of events'));
          } catch (error) {
            settle(reject, error);
          }
          req.destroy();
        });
      });
      req.end();
    });
  }

  close() {
    this.closed = true;
    this.pool.destroy();
    this.streamPool.destroy();
  }
}
