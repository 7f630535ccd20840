// SPDX-License-Identifier: Apache-2.0
//
// What the package makes of outside bytes, and how it shares energy, by chance against plain oracles.
import { microjoules, parse } from '../../bindings/node/src/json.js';
import { ClockMap } from '../../bindings/node/src/readings.js';
import { Settlement } from '../../bindings/node/src/settle.js';
import { EventParser } from '../../bindings/node/src/sse.js';
import { ErgonError } from '../../bindings/node/src/errors.js';
import { Window } from '../../bindings/node/src/window.js';
import { difference, noteOf } from '../../bindings/node/src/totals.js';
import { assert, dice, run } from './harness.js';

const ROUNDS = 3000 * (Number(process.env.ERGON_SOAK) || 1);

function randomValue(d, depth = 0) {
  switch (d(depth > 4 ? 5 : 7)) {
    case 0: return null;
    case 1: return d(2) === 0;
    case 2: return (d(2000001) - 1000000) / [1, 1e3, 1e6, 1e12][d(4)];
    case 3: return d(100) * 1e18 * (d(2) ? 1 : -1);
    case 4: return Array.from({ length: d(8) }, () => '"\\\n\t/é\u2028😀x\u0001 '[d(13)] ?? '\ud83d').join('');
    case 5: return Array.from({ length: d(5) }, () => randomValue(d, depth + 1));
    default: return Object.fromEntries(Array.from({ length: d(5) }, (_, i) => [
      ['joules', 'a_joules', 'x y', '', 'é"'][d(5)] + (d(2) ? i : ''), randomValue(d, depth + 1)]));
  }
}

/** Totals of a node whose one channel has one account. */
function totals(over = {}, account = {}) {
  return { schema: 'ergon.totals/1', boot_ns: 1e9, unix_seconds: 1, age_seconds: 0, access: 'full',
    total: { joules: 5, estimated_joules: 0, provenance: 'measured', boundary: 'component', channels: ['rapl/p'] },
    accounts: [{ device: 'cpu-0', component: 'package', provenance: 'measured', channel: 'rapl/p', joules: 5,
      since_unix_seconds: 7, gap_seconds: 0, resets: 0, ...account }], ...over };
}

await run({
  async 'JSON is what JSON.parse makes of it'() {
    const d = dice(1);
    for (let i = 0; i < ROUNDS; i++) {
      const text = JSON.stringify(randomValue(d), null, d(3));
      assert.deepEqual(JSON.parse(JSON.stringify(parse(text))), JSON.parse(text), text);
    }
  },

  async 'changed bytes are refused where JSON.parse refuses, and never crash'() {
    const d = dice(2);
    let refused = 0;
    for (let i = 0; i < ROUNDS; i++) {
      const text = JSON.stringify(randomValue(d)).split('');
      for (let k = d(4); k >= 0; k--)
        text.splice(d(text.length + 1), d(2), '{}[]",:0-.eE+tfn \u0000\\u'[d(21)] ?? '');
      const changed = text.join('');
      let want;
      try {
        want = JSON.parse(changed);
      } catch {
        assert.throws(() => parse(changed), SyntaxError, changed);
        refused++;
        continue;
      }
      if (!changed.includes('__proto__'))
        assert.equal(JSON.stringify(parse(changed)), JSON.stringify(want), changed);
    }
    assert.ok(refused > ROUNDS / 10);
  },

  async 'joules keep every microjoule, whatever a double holds'() {
    assert.equal(parse('{"joules":12345678901234.123456}').microjoules, 12345678901234123456n);
    assert.equal(parse('{"total_joules":0.000001}').total_microjoules, 1n);
    assert.equal(parse('{"joules":7}').microjoules, 7000000n);
    assert.equal(parse('{"joules":null}').microjoules, null);
    assert.equal(parse('{"joules":1e3}').microjoules, null);
    assert.equal(parse('{"joules":-1}').microjoules, null);
    assert.equal(microjoules('0.0000001'), null);
    assert.deepEqual(Object.keys(parse('{"joules":7}')), ['joules']);
    assert.equal(parse('{"__proto__":{"joules":1}}').joules, undefined);
  },

  async 'levels are bounded'() {
    assert.throws(() => parse('['.repeat(1e6)), SyntaxError);
    assert.throws(() => parse('{"a":'.repeat(1e5)), SyntaxError);
    assert.deepEqual(parse('['.repeat(64) + ']'.repeat(64)).length, 1);
    assert.throws(() => parse('['.repeat(65) + ']'.repeat(65)), SyntaxError);
  },

  async 'events are the same however the bytes are cut'() {
    const d = dice(3);
    for (let i = 0; i < ROUNDS; i++) {
      const events = [];
      let text = d(4) === 0 ? '\ufeff' : '';
      const ends = ['\n', '\r\n', '\r'];
      for (let k = d(5); k >= 0; k--) {
        const data = Array.from({ length: 1 + d(3) }, () => ['', 'a: b', '{"é":"😀"}', ' x'][d(4)]);
        const type = d(2) ? 'snapshot' : '';
        const end = ends[d(3)];
        text += (d(3) ? '' : `: comment${end}`) + (type ? `event:${d(2) ? ' ' : ''}${type}${end}` : '') +
          `${d(3) ? '' : `id: ${k}${end}`}` + data.map((line) => `data: ${line}${end}`).join('') +
          (d(4) ? '' : `data-not: x${end}retry: 5${end}`) + end;
        events.push({ type: type || 'message', data: data.join('\n') });
      }
      const bytes = Buffer.from(text + 'data: not ended');
      const parser = new EventParser();
      const seen = [];
      for (let at = 0; at < bytes.length;) {
        const n = 1 + d(d(2) ? 3 : 40);
        seen.push(...parser.push(bytes.subarray(at, at + n)));
        at += n;
      }
      assert.deepEqual(seen.map(({ type, data }) => ({ type, data })), events, JSON.stringify(text));
    }
  },

  async 'an event without an end is refused, noise is survived'() {
    const parser = new EventParser({ max: 1000 });
    assert.throws(() => {
      for (let i = 0; i < 100; i++)
        parser.push(Buffer.from('data: xxxxxxxxxxxxxxxxxxxxxxxxx'));
    }, RangeError);
    const lines = new EventParser({ max: 1000 });
    assert.throws(() => {
      for (let i = 0; i < 100; i++)
        lines.push(Buffer.from('data: xxxxxxxxxxxxxxxxxxxxxxxxx\n'));
    }, RangeError);
    const d = dice(4);
    for (let i = 0; i < ROUNDS; i++)
      new EventParser().push(Buffer.from(Array.from({ length: d(60) }, () => d(4) ? d(256) : [10, 13, 58, 0xff][d(4)])));
  },

  async 'shares are those of an oracle, and the sums close after each reading'() {
    const d = dice(5);
    for (let round = 0; round < ROUNDS / 5; round++) {
      const eventsMax = d(10) === 0 ? 4 + d(20) : undefined;
      const got = new Map();
      const s = new Settlement((entry, joules) => {
        assert.ok(!got.has(entry), 'settled twice');
        got.set(entry, joules);
      }, { eventsMax });
      const requests = [];
      const readings = [];
      const open = [];
      let t = d(1000);
      let total = 0;
      let settledTo = null;
      for (let k = 0; k < 80; k++) {
        t += d(3) ? d(20) : 0;
        const what = d(10);
        if (what < 4) {
          const r = { begin: t, end: null, entry: s.begin(t) };
          requests.push(r);
          open.push(r);
        } else if (what < 7 && open.length) {
          const [r] = open.splice(d(open.length), 1);
          r.end = t;
          s.end(r.entry, t);
        } else {
          const at = Math.max(settledTo ?? 0, t - d(15)); // of a time that is over
          const joules = d(8) === 0 ? null : d(1000) / 7;
          const whole = joules !== null && d(6) > 0;
          readings.push({ from: settledTo, to: at, joules, whole });
          s.reading(at, joules, whole);
          settledTo = at;
          t++; // what comes after it is after it
          total += joules ?? 0;
          const sum = s.finished + s.unfinished + s.nonRequest;
          assert.ok(Math.abs(sum - total) <= 1e-9 * (1 + total), `${sum} of ${total}`);
          assert.ok(Math.abs(s.energy - total) <= 1e-9 * (1 + total));
          const emitted = [...got.values()].reduce((a, b) => a + (b ?? 0), 0);
          assert.ok(Math.abs(emitted - s.finished) <= 1e-9 * (1 + total));
        }
      }
      if (eventsMax !== undefined)
        continue; // what overflows is unmeasured: only the sums are sure
      for (const r of requests) {
        if (r.end === null || settledTo === null || r.end > settledTo) {
          assert.ok(!got.has(r.entry), 'settled before its reading');
          continue;
        }
        let joules = 0;
        for (const step of readings) {
          const from = step.from ?? -1;
          const touches = r.begin < step.to && r.end > from;
          const shared = step.whole && step.from !== null;
          if (touches && !shared && joules !== null)
            joules = null;
          if (joules === null || !touches || !shared || step.to === step.from)
            continue;
          // Millisecond by millisecond: times are whole here.
          for (let ms = Math.max(step.from, r.begin); ms < Math.min(step.to, r.end); ms++)
            joules += step.joules / (step.to - step.from) /
              requests.filter((o) => o.begin <= ms && (o.end === null || o.end > ms)).length;
        }
        const have = got.get(r.entry);
        const instant = readings.some((step) => step.to === step.from && step.joules);
        if (joules === null || have === null)
          assert.ok(have === null || r.begin === r.end, `${have}, not unmeasured`);
        else if (!instant)
          assert.ok(Math.abs(have - joules) < 1e-6, `${have} is not ${joules}`);
      }
    }
  },

  async 'joules are not lost after years'() {
    const got = [];
    const s = new Settlement((_, joules) => got.push(joules));
    s.reading(0, null, true);
    s.begin(1); // never ends
    s.reading(1000, 3e11, true); // ten years of a kilowatt
    const entry = s.begin(1000.25);
    s.end(entry, 1000.75);
    s.reading(1001, 0.004, true);
    assert.ok(Math.abs(got[0] - 0.001) < 1e-9, `${got[0]}`);
  },

  async 'differences of totals: what can be vouched for, and why not'() {
    const first = noteOf(totals());
    const later = (over, account) => difference(first, noteOf(totals({ boot_ns: 2e9, ...over }, account)));
    const more = { total: { ...totals().total, joules: 8 } };
    assert.deepEqual(later(more, { joules: 8 }), { uj: 3000000n, estimated_uj: 0n, reasons: [] });
    assert.deepEqual(later(more, { joules: 8, gap_seconds: 1 }).reasons, ['gap']);
    assert.deepEqual(later(more, { joules: 8, resets: 1 }).reasons, ['reset']);
    assert.deepEqual(later({ ...more, boot_ns: 5 }, { joules: 8 }).reasons, ['reboot']);
    assert.equal(later(more, { joules: 8, since_unix_seconds: 8 }).uj, null);
    assert.equal(later(more, { joules: 4 }).uj, null);
    assert.equal(later({ total: null }).uj, null);
    assert.equal(later({ total: { ...totals().total, channels: ['rapl/p', 'rapl/q'] } }).uj, null);
    // A counter that could not be read at the begin has what it went on with before in its next reading.
    const two = (uj, status) => {
      const doc = totals({ boot_ns: 2e9 });
      doc.accounts[0].status = status;
      doc.accounts.push({ ...doc.accounts[0], device: 'q', channel: 'rapl/q', joules: 7, status: 'ok' });
      doc.accounts[0].joules = uj;
      doc.total = { ...doc.total, channels: ['rapl/p', 'rapl/q'], joules: uj + doc.accounts[1].joules };
      return doc;
    };
    const silent = noteOf(two(5, 'error'));
    const back = two(1000, 'ok');
    back.accounts[1].joules += 2;
    back.total.joules += 2;
    assert.deepEqual(difference(silent, noteOf(back)), { uj: 2000000n, estimated_uj: 0n, reasons: ['gap'] });
    assert.equal(difference(silent, noteOf(back), { earlier: true }).uj, 997000000n);
    assert.deepEqual(difference(noteOf(two(5, 'ok')), silent).reasons, ['gap']);
    assert.equal(difference(noteOf(totals({}, { status: 'stale' })), noteOf(totals(more))).uj, null);
    const d = dice(6);
    const bad = [null, 'x', -1, [], {}, undefined, NaN, 1e400, true];
    for (let i = 0; i < ROUNDS; i++) {
      const doc = totals();
      const at = [doc, doc.total, doc.accounts[0]][d(3)];
      at[Object.keys(at)[d(Object.keys(at).length)]] = bad[d(bad.length)];
      let note;
      try {
        note = noteOf(doc);
      } catch (error) {
        assert.equal(error.code, 'bad_answer', error.stack);
        continue;
      }
      const { uj } = difference(first, note);
      assert.ok(uj === null || uj >= 0n);
    }
  },

  async 'components hold what was held over lost readings, as the total does'() {
    const result = { name: 'work', state: 'ended', seconds: 2, begin_boot_ns: 0, end_boot_ns: 2e9,
      begin_unix_seconds: 0, end_unix_seconds: 2, flags: ['held'],
      total: { joules: 8, estimated_joules: 6, uncertainty_joules: 1, provenance: 'estimated', mean_watts: 4,
        max_watts: 4 },
      channels: [
        { name: 'a', component: 'package', role: 'total', joules: 2, estimated_joules: 1 },
        { name: 'b', component: 'dram', role: 'total', joules: null, estimated_joules: 5 },
        { name: 'c', component: 'core', role: 'part', joules: null, estimated_joules: null },
      ] };
    const client = { totals: async () => totals(), windowTimeout: 1000, transport: { request: async (_, path) => ({
      doc: path === '/windows' ? { schema: 'ergon.window/1', id: '0'.repeat(32) } : result }) } };
    const m = await (await Window.begin(client, 'work')).end();
    assert.deepEqual(m.components, { package: 3, dram: 5 });
  },

  async 'a window in which nothing was held is measured, whatever was held before'() {
    const held = (joules, over = {}) => {
      const doc = totals({ access: 'full', ...over });
      doc.accounts.push({ ...doc.accounts[0], provenance: 'estimated', held: true, joules: 9, status: null });
      doc.accounts[0].joules = joules;
      doc.total = { ...doc.total, joules: joules + 9, estimated_joules: 9, provenance: 'estimated' };
      return doc;
    };
    const answers = [held(5), held(8, { boot_ns: 2e9 })];
    const client = {
      windowTimeout: 1000,
      totals: async () => answers.shift(),
      transport: {
        request: async (_, path) => {
          if (path !== '/windows')
            throw new ErgonError('no_such_window', 'another agent');
          return { doc: { schema: 'ergon.window/1', id: '0'.repeat(32) } };
        },
      },
    };
    const m = await (await Window.begin(client, 'work')).end();
    assert.deepEqual([m.joules, m.estimatedJoules, m.provenance, m.partial], [3, 0, 'measured', false]);
  },

  async 'a reading is placed by the least delay, never later than it arrives'() {
    const d = dice(7);
    const map = new ClockMap();
    let boot = 5e6;
    for (let i = 0; i < 1000; i++) {
      boot += 1000;
      const age = d(100) / 10;
      const delay = i === 5 ? 0 : d(50);
      const local = boot - 4e6; // the true place
      const placed = map.place(boot, age, local + age + delay);
      assert.ok(placed <= local + age + delay);
      if (i >= 5 && i < 60)
        assert.ok(Math.abs(placed - local) < 1e-6);
    }
    boot += 3600e3; // a suspend, which this process's clock does not count
    assert.ok(Math.abs(map.place(boot, 0, 999) - 999) < 1e-6);
    assert.equal(map.place(10, 0, 2e7), 2e7); // the other machine was booted anew
  },
});
