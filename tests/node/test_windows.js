// SPDX-License-Identifier: Apache-2.0
//
// Windows, totals and streams of a real agent on the simulated machine, in simulated time.
import { readFileSync } from 'node:fs';
import { connect, ErgonError } from '../../bindings/node/src/index.js';
import { assert, Machine, near, pause, rejects, run, until } from './harness.js';

const TRUTH = 0.005; // of the energy of a window of 1 s or more

const LOST = readFileSync(new URL('../scenarios/lost-counter.scn', import.meta.url), 'utf8');

const sum = (joules) => Object.values(joules).reduce((a, b) => a + b, 0);

async function onMachine(scenario, how = {}) {
  const machine = await Machine.start(scenario, { clock: true, ...how });
  const client = connect({ socket: machine.socket });
  return { machine, client };
}

/** True joules of the node between two stamps, on a machine all of whose sensors make its total. */
async function nodeTruth(machine, client, begin, end) {
  const truth = await machine.truth(begin, end);
  const { total } = await client.totals();
  assert.equal(total.channels.length, Object.keys(truth).length);
  return sum(truth);
}

/** What `work` gives; simulated time moves on until it is done. */
async function whileMoving(machine, work) {
  let done = false;
  const result = work.finally(() => {
    done = true;
  });
  while (!done)
    await machine.sleep(1);
  return result;
}

await run({
  async 'documents: index, sensors, totals, power, history'() {
    const { machine, client } = await onMachine('node-24h');
    await machine.sleep(3);
    assert.equal((await client.index()).schema, 'ergon.api/1');
    const sensors = await client.sensors();
    assert.ok(sensors.channels.some((c) => c.component === 'package'));
    const totals = await client.totals({ fresh: true });
    assert.equal(totals.fresh, true);
    assert.ok(totals.total.joules > 0);
    assert.equal(totals.total.microjoules, BigInt(Math.round(totals.total.joules * 1e6)));
    assert.ok(!JSON.stringify(totals).includes('micro'));
    assert.ok((await client.power()).total.watts > 0);
    assert.ok((await client.history()).entries.length > 1);
    client.close();
    await rejects(client.totals(), 'closed');
  },

  async 'a window is true within 0.5 %'() {
    const { machine, client } = await onMachine('node-24h');
    for (const seconds of [1, 2.5, 10]) {
      const window = await client.begin('work', { units: { requests: 4 } });
      await machine.sleep(seconds);
      window.units('tokens', 10).units('tokens');
      const so_far = await window.peek();
      const m = await window.end();
      near(m.seconds, seconds, 0.01, 'seconds');
      const truth = await nodeTruth(machine, client, m.beginBootNs, m.endBootNs);
      near(m.joules, truth, TRUTH, `${seconds} s`);
      near(so_far.joules, truth, 0.01, 'peek');
      assert.equal(m.microjoules, BigInt(Math.round(m.joules * 1e6)));
      assert.ok(Math.abs(m.joules - truth) <= m.uncertaintyJoules, 'within its uncertainty');
      near(sum(m.components), m.channels.filter((c) => c.role === 'total' || c.role === 'part')
        .reduce((j, c) => j + c.joules, 0), 1e-9, 'components');
      assert.deepEqual(m.units.map((u) => [u.unit, u.count]), [['requests', 4], ['tokens', 11]]);
      near(m.units[0].joulesPerUnit, m.joules / 4, 1e-12);
      assert.equal(m.provenance, 'measured');
      assert.equal(m.partial, false, m.reasons.join());
      assert.equal(m.source, 'window');
      await rejects(window.end(), 'closed');
      assert.equal(JSON.parse(JSON.stringify(m)).joules, m.joules);
    }
    client.close();
  },

  async 'nested and overlapping windows'() {
    const { machine, client } = await onMachine('node-24h');
    const outer = await client.begin('outer');
    const parts = [];
    for (let i = 0; i < 4; i++) {
      const inner = await client.begin('inner');
      await machine.sleep(1);
      parts.push(await inner.end());
    }
    const whole = await outer.end();
    near(parts.reduce((j, m) => j + m.joules, 0), whole.joules, 0.002, 'sum of parts');
    client.close();
  },

  async 'measure: value and measurement, an error goes on and leaves no window'() {
    const { machine, client } = await onMachine('node-24h');
    const [value, m] = await client.measure('fn', async (window) => {
      await machine.sleep(1.5);
      window.units('rows', 3);
      return 42;
    });
    assert.equal(value, 42);
    near(m.joules, await nodeTruth(machine, client, m.beginBootNs, m.endBootNs), TRUTH);
    assert.equal(m.units[0].count, 3);
    await assert.rejects(client.measure('bad', () => {
      throw new TypeError('mine');
    }), TypeError);
    const { doc } = await client.transport.request('GET', '/windows');
    assert.deepEqual(doc.windows, []);
    client.close();
  },

  async 'an agent killed in a window and back: the whole is true'() {
    const { machine, client } = await onMachine('node-24h');
    const window = await client.begin('work', { units: { requests: 2 } });
    await machine.sleep(2);
    await machine.kill();
    await rejects(window.peek(), 'unreachable');
    await rejects(window.end(), 'unreachable'); // and may be tried again
    await machine.sleep(2);
    await machine.agent();
    await machine.sleep(2);
    const m = await window.end();
    assert.equal(m.source, 'totals');
    assert.deepEqual(m.flags, ['agent_restarted']);
    assert.ok(m.seconds >= 6, `${m.seconds}`);
    near(m.joules, await nodeTruth(machine, client, m.beginBootNs, m.endBootNs), TRUTH, 'restarted');
    assert.equal(m.partial, false, m.reasons.join());
    assert.equal(m.uncertaintyJoules, null);
    near(m.units[0].joulesPerUnit, m.joules / 2, 1e-12);
    near(sum(m.components), m.joules, 1e-9, 'components');
    client.close();
  },

  async 'a gauge that nobody read: partial, with its reason'() {
    const { machine, client } = await onMachine('default');
    await machine.sleep(2);
    const window = await client.begin('work');
    await machine.sleep(2);
    await machine.kill();
    await machine.sleep(5);
    await machine.agent();
    await machine.sleep(2);
    const m = await window.end();
    assert.equal(m.partial, true);
    assert.deepEqual(m.reasons, ['gap']);
    const truth = (await machine.truth(m.beginBootNs, m.endBootNs));
    const chassis = Object.keys(truth).find((id) => id.includes('power'));
    assert.ok(chassis && m.joules < truth[chassis] * 0.8, 'less than the whole, and said so');
    client.close();
  },

  async 'a window through a restart that began while a counter could not be read: not what it used before'() {
    const machine = await Machine.start(LOST, { clock: true });
    const client = connect({ socket: machine.socket });
    await machine.sleep(27);
    const window = await client.begin('work');
    await machine.sleep(5);
    await machine.kill();
    await machine.agent();
    await machine.sleep(3);
    const m = await window.end();
    const truth = sum(await machine.truth(m.beginBootNs, m.endBootNs));
    assert.deepEqual([m.source, m.partial, m.reasons], ['totals', true, ['gap']]);
    assert.ok(m.joules > 0 && m.joules <= truth * 1.001, `${m.joules} J of ${truth} J`);
    assert.ok(m.components.package === m.joules);
    client.close();
  },

  async 'another ledger: no figure'() {
    const { machine, client } = await onMachine('node-24h');
    const window = await client.begin('work');
    await machine.sleep(2);
    await machine.kill();
    await machine.agent({ state: 'new-state' });
    await machine.sleep(5);
    const m = await window.end();
    assert.equal(m.joules, null);
    assert.equal(m.microjoules, null);
    assert.equal(m.partial, true);
    assert.deepEqual(m.reasons, ['other_ledger']);
    client.close();
  },

  async 'an expired window: the whole, by the totals'() {
    const { machine, client } = await onMachine('node-24h');
    const window = await client.begin('short', { expires: 1 });
    await machine.sleep(4);
    const m = await window.end();
    assert.deepEqual(m.flags, ['expired']);
    near(m.seconds, 4, 0.01);
    near(m.joules, await nodeTruth(machine, client, m.beginBootNs, m.endBootNs), TRUTH);
    client.close();
  },

  async 'the agent is away at the end of measure: the value is not lost'() {
    const { machine, client } = await onMachine('node-24h');
    const [value, m] = await client.measure('fn', async () => {
      await machine.kill();
      return 'kept';
    });
    assert.equal(value, 'kept');
    assert.equal(m.joules, null);
    assert.equal(m.partial, true);
    assert.deepEqual(m.reasons, ['unreachable']);
    assert.ok(m.error instanceof ErgonError);
    client.close();
  },

  async 'errors carry the sentence and the cure of the agent'() {
    const { client } = await onMachine('node-24h');
    const error = await rejects(client.transport.request('GET', '/windows/' + '0'.repeat(32)), 'no_such_window');
    assert.equal(error.status, 404);
    assert.match(error.message, /no window.*GET \/api\/v1\/windows/);
    assert.match(error.cure, /GET/);
    await rejects(client.history({ minutes: 'many' }), 'bad_query');
    await rejects(client.begin('x'.repeat(128)), 'bad_argument');
    const window = await client.begin('ok');
    assert.throws(() => window.units('', 1), { code: 'bad_argument' });
    assert.throws(() => window.units('x', -1), { code: 'bad_argument' });
    assert.throws(() => window.units('x', 1.5), { code: 'bad_argument' });
    for (let i = 0; i < 8; i++)
      window.units(`u${i}`);
    assert.throws(() => window.units('u8'), { code: 'too_many_units' });
    await window.cancel();
    client.close();
    const away = connect({ socket: '/nowhere/ergon.sock' });
    assert.match((await rejects(away.totals(), 'unreachable')).message, /ergon agent/);
    await rejects(away.begin('x'), 'unreachable');
  },

  async 'over TCP, coarse: true as well'() {
    const { machine, client } = await onMachine('node-24h');
    const tcp = connect({ url: `http://${machine.address}` });
    const window = await whileMoving(machine, tcp.begin('coarse'));
    await machine.sleep(3);
    const m = await whileMoving(machine, window.end());
    near(m.joules, await nodeTruth(machine, client, m.beginBootNs, m.endBootNs), TRUTH);
    tcp.close();
    client.close();
  },

  async 'over TCP, coarse, through a restart: up to a sample that came after the end was asked for'() {
    const { machine, client } = await onMachine('node-24h');
    const tcp = connect({ url: `http://${machine.address}` });
    const window = await whileMoving(machine, tcp.begin('coarse'));
    await machine.sleep(2.3);
    const { address } = machine;
    await machine.kill();
    await machine.agent({ listen: address });
    await machine.sleep(2.3);
    await tcp.totals(); // a coarse sample now: the next one comes in a second
    await machine.sleep(0.4);
    const asked = await machine.now();
    const totals = tcp.totals.bind(tcp);
    const answered = new Promise((resolve) => {
      tcp.totals = (how) => totals(how).finally(resolve);
    });
    const ending = window.end();
    await answered; // by what there is: time has not moved
    const m = await whileMoving(machine, ending);
    assert.equal(m.source, 'totals');
    assert.ok(m.endBootNs >= asked, `${m.endBootNs} is before ${asked}`);
    near(m.joules, await nodeTruth(machine, client, m.beginBootNs, m.endBootNs), TRUTH);
    assert.equal(m.partial, false, m.reasons.join());
    tcp.close();
    client.close();
  },

  async 'events: in order, exact, ended by leaving or by a signal'() {
    const { machine, client } = await onMachine('node-24h');
    const seen = [];
    await whileMoving(machine, (async () => {
      for await (const snapshot of client.events()) {
        seen.push(snapshot);
        if (seen.length === 5)
          break;
      }
    })());
    assert.ok(seen.every((s, i) => i === 0 || (s.seq > seen[i - 1].seq && s.total_joules >= seen[i - 1].total_joules)));
    assert.equal(typeof seen[0].total_microjoules, 'bigint');
    await until('the stream to be closed', () => client.transport.streams === 0);
    const stop = new AbortController();
    const reading = (async () => {
      for await (const _ of client.events({ signal: stop.signal, interval: 1000 }))
        stop.abort();
    })();
    const error = await rejects(reading, 'aborted');
    assert.equal(error.name, 'AbortError');
    await until('the stream to be closed', () => client.transport.streams === 0);
    client.close();
  },

  async 'events: who is slow gets fewer and is told, the memory stays'() {
    const { machine, client } = await onMachine('node-24h', { words: ['--interval', '10ms'] });
    const it = client.events();
    const first = (await it.next()).value;
    const before = process.memoryUsage().external;
    await machine.sleep(30); // 3000 samples that nobody takes
    assert.ok(process.memoryUsage().external - before < 4 << 20);
    let last = first;
    // The next sample that the queue has room for tells what it had none for.
    await whileMoving(machine, (async () => {
      while (last.dropped === 0) {
        const { value } = await it.next();
        assert.ok(value.seq > last.seq);
        last = value;
      }
    })());
    await it.return();
    client.close();
  },

  async 'events: the end of the agent is an error'() {
    const { machine, client } = await onMachine('node-24h');
    const it = client.events();
    await it.next();
    const stopping = machine.stop();
    await rejects((async () => {
      for (;;)
        await it.next();
    })(), 'stream_ended');
    await stopping;
    client.close();
  },

  async 'a signal and a time-out end a request; connections are bounded'() {
    const { client } = await onMachine('node-24h');
    await rejects(client.totals({ signal: AbortSignal.abort() }), 'aborted');
    const stop = new AbortController();
    const asking = client.totals({ fresh: true, signal: stop.signal });
    stop.abort();
    await rejects(asking, 'aborted');
    const many = await Promise.all(Array.from({ length: 200 }, () => client.totals()));
    assert.equal(many.length, 200);
    assert.ok(Object.values(client.transport.pool.sockets).flat().length <= 8);
    const tooMany = await Promise.allSettled(Array.from({ length: 1100 }, () => client.totals()));
    assert.ok(tooMany.some((r) => r.reason?.code === 'busy'));
    assert.ok(tooMany.filter((r) => r.status === 'fulfilled').length >= 1024);
    await pause(0);
    client.close();
  },
});
