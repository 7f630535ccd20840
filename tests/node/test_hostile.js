// SPDX-License-Identifier: Apache-2.0
//
// Whatever answers in the agent's place: an error with a code, in bounded time and memory, and no socket
// left open.
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { connect, ErgonError } from '../../bindings/node/src/index.js';
import { requestEnergy } from '../../bindings/node/src/middleware.js';
import { BODY_MAX } from '../../bindings/node/src/transport.js';
import { assert, dice, rejects, run, until } from './harness.js';

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'eg-'));
process.on('exit', () => fs.rmSync(dir, { recursive: true, force: true }));
let places = 0;

/** A client of a server that does what `serve` does. */
async function facing(serve, options = {}) {
  const socket = path.join(dir, `s${places++}`);
  const server = typeof serve === 'function' ? http.createServer(serve) : serve;
  const open = new Set();
  server.on('connection', (s) => {
    open.add(s);
    s.on('error', () => {});
    s.on('close', () => open.delete(s));
  });
  await new Promise((resolve) => server.listen(socket, resolve));
  const client = connect({ socket, timeout: 2000, windowTimeout: 2000, ...options });
  return { client, socket, server, end: async () => {
    client.close();
    await until('connections to be closed', () => open.size === 0);
    server.close();
  } };
}

const json = (res, body, status = 200) => {
  res.writeHead(status, { 'content-type': 'application/json' });
  res.end(typeof body === 'string' ? body : JSON.stringify(body));
};

/** What does not end: pieces of text until the other side has enough. */
function endless(res, headers, piece) {
  res.writeHead(200, headers);
  let sent = 0;
  const more = () => {
    while (!res.destroyed && sent < 1 << 30) {
      sent += piece.length;
      if (!res.write(piece))
        return;
    }
  };
  res.on('drain', more);
  more();
  return () => sent;
}

const raw = (text) => net.createServer((s) => s.on('data', () => s.end(text)));

await run({
  async 'answers that are none'() {
    for (const body of ['', '{', 'null', '[]', '"x"', '{"schema":1}', '{"schema":"ergon.other/1"}', '\u0000', '{}x',
      '['.repeat(1e6)]) {
      const { client, end } = await facing((_req, res) => json(res, body));
      const error = await rejects(client.totals(), 'bad_answer');
      assert.ok(error instanceof ErgonError && error.message.length < 500);
      await end();
    }
    const { client, end } = await facing((_req, res) => res.end('{"schema":"ergon.totals/1"}')); // not called JSON
    await rejects(client.totals(), 'bad_answer');
    await end();
  },

  async 'a kept connection that is closed as it is used again: asked once more, and only once'() {
    let answered = 0;
    let broken = 0;
    const seen = new Set();
    const { client, end } = await facing(http.createServer((req, res) => {
      if (seen.has(req.socket)) {
        broken++;
        req.socket.destroy();
        return;
      }
      seen.add(req.socket);
      answered++;
      json(res, { schema: 'ergon.power/1', total: null, channels: [] });
    }));
    for (let i = 1; i <= 4; i++) {
      assert.equal((await client.power()).schema, 'ergon.power/1');
      assert.deepEqual([answered, broken], [i, i - 1]);
    }
    await end();
  },

  async 'what is no HTTP, or breaks off'() {
    for (const [text, code] of [['hello\r\n\r\n', 'bad_answer'], ['HTTP/9.9 x y\r\n\r\n', 'bad_answer'],
      [`HTTP/1.1 200 OK\r\nX: ${'y'.repeat(100000)}\r\n\r\n`, 'bad_answer'],
      ['HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{', 'unreachable'], ['', 'unreachable'],
      ['HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n', 'bad_answer']]) {
      const { client, end } = await facing(raw(text));
      const error = await rejects(client.totals(), code);
      assert.ok(error.message.length < 500);
      await end();
    }
  },

  async 'a body without an end stops at the ceiling'() {
    let sent;
    const { client, end } = await facing((_req, res) => {
      sent = endless(res, { 'content-type': 'application/json' }, Buffer.alloc(65536, ' '));
    }, { timeout: 20000 });
    await rejects(client.totals(), 'bad_answer');
    assert.ok(sent() < BODY_MAX + (8 << 20), `${sent()}`);
    await end();
  },

  async 'silence ends by the time-out'() {
    const { client, end } = await facing(() => {}, { timeout: 100, windowTimeout: 100 });
    await rejects(client.totals(), 'timeout');
    await rejects(client.begin('x'), 'timeout');
    await rejects(client.events().next(), 'timeout');
    await end();
    const slow = await facing((_req, res) => { // a byte at a time, for ever
      res.writeHead(200, { 'content-type': 'application/json' });
      const timer = setInterval(() => res.write(' '), 10);
      res.on('close', () => clearInterval(timer));
    }, { timeout: 200 });
    await rejects(slow.client.totals(), 'timeout');
    await slow.end();
  },

  async 'errors of every form'() {
    for (const [status, type, body, code] of [
      [503, 'application/json', '{"error":{"code":"busy","message":"too many","cure":null}}', 'busy'],
      [503, 'application/json', '{"error":{"code":7,"message":"x"}}', 'refused'],
      [500, 'application/json', '{"error":null}', 'refused'],
      [400, 'text/plain', 'no\n', 'refused'],
      [404, 'application/json', 'not json', 'bad_answer'],
      [301, 'text/html', '', 'refused'],
      [500, 'text/plain', 'x'.repeat(1e6), 'refused']]) {
      const { client, end } = await facing((_req, res) => {
        res.writeHead(status, { 'content-type': type });
        res.end(body);
      });
      const error = await rejects(client.totals(), code);
      assert.equal(error.status, status);
      assert.ok(error.message.length <= 400);
      await end();
    }
  },

  async 'streams: no JSON, no end of a line, another type, an early end'() {
    const sse = { 'content-type': 'text/event-stream' };
    for (const [text, code] of [['event: snapshot\ndata: {\n\n', 'bad_answer'], ['event: snapshot\ndata: 5\n\n', 'bad_answer'],
      ['event: snapshot\ndata: {"schema":"other"}\n\n', 'bad_answer'], ['event: end\ndata: {"reason":5}\n\n', 'stream_ended'],
      ['event: end\ndata: [\n\n', 'bad_answer'], ['event: other\ndata: x\n\n', 'unreachable'], ['', 'unreachable']]) {
      const { client, end } = await facing((_req, res) => {
        res.writeHead(200, sse);
        res.end(text);
      });
      await rejects(client.events().next(), code);
      await until('the stream to be closed', () => client.transport.streams === 0);
      await end();
    }
    let sent;
    const { client, end } = await facing((_req, res) => {
      sent = endless(res, sse, Buffer.alloc(65536, 'x'));
    });
    await rejects(client.events().next(), 'bad_answer');
    assert.ok(sent() < 16 << 20, `${sent()}`);
    await end();
    const wrong = await facing((_req, res) => endless(res, { 'content-type': 'text/html' }, Buffer.alloc(65536)));
    const error = await wrong.client.events().next().catch((e) => e);
    assert.ok(error instanceof ErgonError, String(error));
    await wrong.end();
  },

  async 'windows: wrong types give errors or absent figures, never a figure'() {
    const d = dice(11);
    const bad = [null, 'x', -1, [], {}, true, 1e300, 1e305, undefined];
    const id = '0'.repeat(32);
    let figures = 0;
    const answer = (change) => {
      const result = { schema: 'ergon.window/1', id, name: '', state: 'ended', seconds: 1, begin_boot_ns: 1,
        end_boot_ns: 1e9, begin_unix_seconds: 1, end_unix_seconds: 2, flags: [], units: [],
        total: { joules: 5, estimated_joules: 0, uncertainty_joules: 1, provenance: 'measured', mean_watts: 5 },
        channels: [{ name: 'a', component: 'package', role: 'total', joules: 5 }] };
      const totals = { schema: 'ergon.totals/1', boot_ns: 1, unix_seconds: 1, age_seconds: 0, access: 'full',
        total: { joules: 5, estimated_joules: 0, provenance: 'measured', boundary: 'node', channels: ['a'] }, accounts: [] };
      const whole = { result, totals };
      const at = [result, result.total, result.channels[0], totals, totals.total][change.where];
      const names = Object.keys(at);
      at[names[change.which % names.length]] = bad[change.to];
      return whole;
    };
    let change;
    const { client, end } = await facing((req, res) => {
      const { result, totals } = answer(change);
      json(res, req.url.includes('totals') ? totals : req.method === 'DELETE' ? { state: 'cancelled' } : result,
        req.url.endsWith('/windows') ? 201 : 200);
    });
    for (let i = 0; i < 600; i++) {
      change = { where: d(5), which: d(20), to: d(bad.length) };
      try {
        const window = await client.begin('x');
        const m = await window.end();
        assert.ok(m.joules === null || (m.joules >= 0 && Number.isFinite(m.joules)), JSON.stringify(change));
        assert.ok(m.joules !== null || m.partial);
        figures += m.joules === 5;
      } catch (error) {
        assert.equal(error.code, 'bad_answer', error.stack);
      }
    }
    assert.ok(figures > 50);
    await end();
  },

  async 'the middleware serves on, and adds nothing that makes no sense'() {
    const d = dice(12);
    let n = 0;
    const { client, end } = await facing((_req, res) => {
      const doc = { schema: 'ergon.totals/1', boot_ns: ++n * 1e9, unix_seconds: n, age_seconds: 0, access: 'full',
        total: { joules: n * 5, estimated_joules: 0, provenance: 'measured', boundary: 'node', channels: ['a'] },
        accounts: [{ device: 'd', component: 'c', provenance: 'measured', channel: 'a', joules: n * 5,
          since_unix_seconds: 1, gap_seconds: 0, resets: 0 }] };
      const at = [doc, doc.total, doc.accounts[0]][d(3)];
      if (d(2))
        at[Object.keys(at)[d(Object.keys(at).length)]] = [null, 'x', -1, [], 0, 1e305, true][d(7)];
      json(res, d(20) ? doc : '{');
    });
    const warnings = [];
    const energy = requestEnergy({ client, warn: (text) => warnings.push(text) });
    let last = 0;
    for (let i = 0; i < 400; i++) {
      const f = await energy.settle();
      if (f.energyJoules === null)
        continue;
      assert.ok(Number.isFinite(f.energyJoules) && f.energyJoules >= last, `${f.energyJoules}`);
      assert.ok(Math.abs(f.finishedJoules + f.inFlightJoules + f.nonRequestJoules - f.energyJoules) <= 1e-6 * f.energyJoules);
      last = f.energyJoules;
    }
    assert.ok(last > 0 && warnings.length > 0);
    await energy.close();
    await end();
  },

  async 'a kept connection that the agent closed meanwhile is not an error'() {
    let asked = 0;
    const { client, server, end } = await facing((req, res) => {
      asked++;
      json(res, { schema: 'ergon.totals/1', n: asked });
    });
    server.keepAliveTimeout = 20;
    for (let i = 0; i < 40; i++) {
      await client.totals();
      await new Promise((resolve) => setTimeout(resolve, 15 + (i % 10)));
    }
    assert.equal(asked >= 40, true);
    await end();
  },
});
