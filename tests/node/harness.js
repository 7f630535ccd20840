// SPDX-License-Identifier: Apache-2.0
//
// TAP for the tests of the Node package, and the machines that tests/node/machine.py starts for them.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import readline from 'node:readline';

export { assert };
export const SOURCE = process.env.ERGON_TEST_SOURCE;
const CASE_SECONDS = 240;

export class Skip extends Error {}

const waiting = new Map();
let asked = 0;
let answers = null;

/** Asks machine.py. */
export function ask(what, words = {}) {
  answers ??= readline.createInterface({ input: process.stdin }).on('line', (line) => {
    const reply = JSON.parse(line);
    const { resolve, reject } = waiting.get(reply.id);
    waiting.delete(reply.id);
    if (reply.error === undefined)
      resolve(reply.value);
    else
      reject(new Error(reply.error));
  });
  const id = asked++;
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject });
    fs.writeSync(3, `${JSON.stringify({ id, do: what, ...words })}\n`);
  });
}

export class Machine {
  static async start(scenario, how = {}) {
    const m = Object.assign(new Machine(), await ask('new', { scenario, ...how }));
    opened.push(m);
    if (how.agent !== false)
      await m.agent();
    return m;
  }

  async agent(how = {}) {
    Object.assign(this, await ask('agent', { machine: this.machine, ...how }));
  }

  kill() {
    return ask('kill', { machine: this.machine });
  }

  stop() {
    return ask('stop', { machine: this.machine });
  }

  /** Simulated seconds (of a machine with a clock). */
  sleep(seconds) {
    return ask('sleep', { machine: this.machine, seconds });
  }

  /** Simulated nanoseconds. */
  now() {
    return ask('now', { machine: this.machine });
  }

  /** True joules of each sensor between two stamps. */
  truth(begin, end) {
    return ask('truth', { machine: this.machine, begin, end });
  }

  close() {
    return ask('close', { machine: this.machine });
  }
}

const opened = [];

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export async function until(what, check, seconds = 30) {
  const end = performance.now() + seconds * 1000;
  for (;;) {
    const value = await check();
    if (value)
      return value;
    assert.ok(performance.now() < end, `waited ${seconds} s for ${what}`);
    await pause(5);
  }
}

/** Asserts that a is b within a share of b. */
export function near(a, b, share, what = '') {
  assert.ok(typeof a === 'number' && Math.abs(a - b) <= share * Math.abs(b), `${what}: ${a} is not ${b} within ${share}`);
}

/** Rejects with an ErgonError of this code. */
export async function rejects(promise, code) {
  try {
    await promise;
  } catch (error) {
    assert.equal(error.code, code, error.stack);
    return error;
  }
  return assert.fail(`no error, where ${code} should be`);
}

/** A generator of whole numbers that repeats itself, for tests by chance. */
export function dice(seed) {
  let x = seed >>> 0 || 1;
  return (n) => {
    x ^= x << 13;
    x >>>= 0;
    x ^= x >>> 17;
    x ^= x << 5;
    x >>>= 0;
    return x % n;
  };
}

/** Runs functions by name, in order; prints TAP; ends the process. */
export async function run(cases) {
  const list = Object.entries(cases);
  console.log(`1..${list.length}`);
  let failed = 0;
  for (const [i, [name, fn]] of list.entries()) {
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`not done in ${CASE_SECONDS} s`)), CASE_SECONDS * 1000);
    });
    try {
      await Promise.race([fn(), late]);
      console.log(`ok ${i + 1} - ${name}`);
    } catch (error) {
      if (error instanceof Skip) {
        console.log(`ok ${i + 1} - ${name} # SKIP ${error.message}`);
      } else {
        failed++;
        console.log(String(error.stack ?? error).replace(/^/gm, '# '));
        console.log(`not ok ${i + 1} - ${name}`);
      }
    } finally {
      clearTimeout(timer);
    }
    for (const m of opened.splice(0))
      await m.close().catch((error) => console.log(`# ${error}`));
  }
  process.exit(failed ? 1 : 0);
}
