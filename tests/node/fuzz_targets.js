// SPDX-License-Identifier: Apache-2.0
//
// What the Node package parses of outside bytes, a function each: TARGETS[name](bytes). Only errors of the
// package may come out; a figure that does come out is one that the bytes hold. Used by test_fuzz.js, which
// replays the corpus and changed copies, and by fuzz_run.js, which searches with coverage (make fuzz).
import assert from 'node:assert/strict';
import { Client, expectSchema } from '../../bindings/node/src/client.js';
import { ErgonError } from '../../bindings/node/src/errors.js';
import { parse } from '../../bindings/node/src/json.js';
import { Settlement } from '../../bindings/node/src/settle.js';
import { EventParser } from '../../bindings/node/src/sse.js';
import { difference, joulesOf, noteOf } from '../../bindings/node/src/totals.js';
import { socketPlaces, Transport } from '../../bindings/node/src/transport.js';
import { Window } from '../../bindings/node/src/window.js';

const transport = new Transport({ socket: '/none' });
const HEADERS = { 'content-type': 'application/json' };
const NAMES = ['ERGON_URL', 'ERGON_TOKEN', 'ERGON_SOCKET', 'XDG_RUNTIME_DIR'];

/** A document as the client takes it out of an answer. */
const documentOf = (data) => transport.answer({ statusCode: 200, headers: HEADERS }, data).doc;

const isObject = (x) => typeof x === 'object' && x !== null && !Array.isArray(x);
const finite = (x) => assert.ok(x === null || Number.isFinite(x), `${x}`);
const energy = (uj) => assert.ok(uj === null || (typeof uj === 'bigint' && uj >= 0n), `${uj}`);

function json(data) {
  const text = Buffer.from(data).toString('utf8');
  let value;
  let refused = false;
  try {
    value = parse(text);
  } catch (error) {
    assert.ok(error instanceof SyntaxError, error.stack);
    refused = true;
  }
  let want;
  try {
    want = JSON.parse(text);
  } catch {
    assert.ok(refused, 'taken, and no JSON');
    return false;
  }
  if (refused) {
    assert.match(text, /[[{]/); // for its levels alone
    return false;
  }
  if (!text.includes('__proto__') && !text.includes('\\u'))
    assert.equal(JSON.stringify(value), JSON.stringify(want));
  return true;
}

function totals(data) {
  const doc = documentOf(data);
  const notes = ['first', 'last'].filter((name) => isObject(doc[name])).map((name) => noteOf(doc[name]));
  for (const note of notes) {
    energy(note.uj);
    finite(note.boot_ns);
    finite(note.unix_seconds);
    finite(note.age_seconds);
  }
  if (notes.length === 2)
    for (const [from, to] of [notes, [...notes].reverse()]) {
      const { uj, reasons } = difference(from, to);
      energy(uj);
      finite(joulesOf(uj));
      assert.ok(uj !== null || reasons.length > 0);
      assert.ok(uj === null || uj <= to.uj);
    }
}

/** A window whose agent answers with this document; its id and its begin are good. */
async function window(data) {
  const doc = documentOf(data);
  const first = { schema: 'ergon.totals/1', boot_ns: 1e9, unix_seconds: 1, age_seconds: 0, access: 'full', total: null,
    accounts: [] };
  const id = '0123456789abcdef0123456789abcdef';
  const client = {
    timeout: 1000, windowTimeout: 1000,
    totals: async () => first,
    transport: { request: async (method, path) => ({ doc: method === 'POST' && path === '/windows'
      ? { schema: 'ergon.window/1', id } : doc }) },
  };
  const w = await Window.begin(client, 'x');
  const m = await w.end();
  energy(m.microjoules);
  for (const value of [m.joules, m.estimatedJoules, m.uncertaintyJoules, m.watts, m.maxWatts, m.seconds])
    finite(value);
  Object.values(m.components).forEach(finite);
  assert.ok(m.joules !== null || (m.partial && m.reasons.length > 0));
  JSON.stringify(m);
}

/** The stream of events of a client, in pieces that the first byte chooses. */
async function events(data) {
  const client = new Client({ socket: '/none' });
  const size = 1 + (data[0] ?? 0);
  client.transport.stream = async () => {
    async function* pieces() {
      for (let at = 0; at < data.length; at += size)
        yield data.subarray(at, at + size);
    }
    return Object.assign(pieces(), { destroy() {}, on() {} });
  };
  let seen = 0;
  try {
    for await (const event of client.events()) {
      assert.ok(isObject(event));
      assert.ok(++seen <= data.length);
    }
  } catch (error) {
    if (!(error instanceof ErgonError))
      throw error;
    // The end of the bytes is the end of the connection.
    if (error.code !== 'unreachable' || !/closed the stream/.test(error.message))
      throw error;
  } finally {
    client.close();
  }
  new EventParser({ max: 100 }).push(data.subarray(0, 90));
}

/** An answer: a status and a head, an empty line, a body. */
function http(data) {
  const text = Buffer.from(data).toString('latin1');
  const [head, body = ''] = text.split('\r\n\r\n', 2);
  const status = Number(/ ([0-9]{3}) /.exec(head)?.[1] ?? 200);
  const type = /content-type: *([^\r\n]*)/i.exec(head)?.[1];
  const { doc } = transport.answer({ statusCode: status, headers: type === undefined ? {} : { 'content-type': type } },
    Buffer.from(body, 'latin1'));
  assert.ok(isObject(doc));
  expectSchema(doc, 'ergon.totals/1');
}

function settings(data) {
  const env = {};
  for (const line of Buffer.from(data).toString('utf8').split('\n')) {
    const [name, ...value] = line.split('=');
    if (NAMES.includes(name))
      env[name] = value.join('=');
  }
  assert.ok(socketPlaces(env).length >= 1);
  const client = new Client({ url: env.ERGON_URL || undefined, token: env.ERGON_TOKEN || undefined, env });
  const options = client.transport.options('GET', '/totals', undefined);
  assert.ok(options.socketPath || options.host);
  assert.match(options.path, /^[\x21-\x7e]+$/);
  for (const value of Object.values(options.headers))
    assert.match(String(value), /^[\x20-\x7e]+$/);
  client.close();
}

/** Begins, ends and readings by bytes: whatever comes, the sums close and no request is settled twice. */
function settlement(data) {
  const seen = new Set();
  const s = new Settlement((entry, joules) => {
    assert.ok(!seen.has(entry), 'twice');
    seen.add(entry);
    assert.ok(joules === null || joules >= 0);
  }, { eventsMax: 8 + (data[0] ?? 0) });
  const open = [];
  let t = 0;
  for (let i = 1; i + 1 < data.length; i += 2) {
    const [what, n] = [data[i], data[i + 1]];
    t += n % 16;
    if (what < 80)
      open.push(s.begin(t));
    else if (what < 160 && open.length)
      s.end(open.splice(n % open.length, 1)[0], t);
    else if (what < 170)
      s.giveUp();
    else
      s.reading(t - (n >> 4), what < 180 ? null : n / 7, what < 240);
    const sum = s.finished + s.unfinished + s.nonRequest;
    assert.ok(Math.abs(sum - s.energy) <= 1e-9 * (1 + s.energy), `${sum} of ${s.energy}`);
    assert.ok(s.unfinished >= 0 && s.doomed >= 0 && s.doomed <= s.inFlight);
  }
}

export const TARGETS = { json, totals, window, events, http, settings, settlement };

/** Its folder of seeds. */
export const CORPUS = { json: 'totals', settlement: 'page' };

/** True: it was parsed. False: it was refused with an error of the package. Anything else comes out. */
export async function one(name, data) {
  try {
    return (await TARGETS[name](data)) !== false;
  } catch (error) {
    if (!(error instanceof ErgonError))
      throw error;
    assert.ok(error.message && error.code);
    return false;
  }
}
