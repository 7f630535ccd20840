// SPDX-License-Identifier: Apache-2.0
//
// fuzz_run.js TARGET SECONDS FOUND SEEDS: searches for inputs with coverage of the Node package, which V8 counts
// itself (blocks, by the inspector), so it needs nothing installed. An input that reaches a block, or reaches it by
// another order of magnitude of times, is kept in FOUND and changed further. What comes out beside errors of the
// package, or takes longer than 10 s, is left as FOUND-crash or FOUND-hang and ends the run with status 1.
import fs from 'node:fs';
import inspector from 'node:inspector';
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import { change } from './fuzz_change.js';
import { one } from './fuzz_targets.js';
import { dice } from './harness.js';

const [target, seconds, found, seedFolder] = process.argv.slice(2);
const MAX = 65536;
const KEPT_MAX = 20000;

// What the worker looks at: [number of the input, its length], and its bytes.
const shared = new SharedArrayBuffer(8 + MAX);
const state = new Int32Array(shared, 0, 2);
const bytes = new Uint8Array(shared, 8);
const watch = new Worker(`
  const { workerData } = require('node:worker_threads');
  const state = new Int32Array(workerData.shared, 0, 2);
  let seen = -1, same = 0;
  setInterval(() => {
    const now = Atomics.load(state, 0);
    same = now === seen ? same + 1 : 0;
    seen = now;
    if (same >= 10) {
      require('node:fs').writeFileSync(workerData.found + '-hang',
        Buffer.from(new Uint8Array(workerData.shared, 8, Atomics.load(state, 1))));
      require('node:fs').writeSync(1, 'an input takes longer than 10 s: ' + workerData.found + '-hang\\n');
      process.kill(process.pid, 'SIGKILL');
    }
  }, 1000);
`, { eval: true, workerData: { shared, found } });
watch.unref();

const session = new inspector.Session();
session.connect();
const post = (what, words) => {
  let result;
  session.post(what, words, (error, value) => {
    if (error)
      throw new Error(error.message);
    result = value;
  });
  return result;
};
post('Profiler.enable');
post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });

const reached = new Set();

/** Whether the last input reached what none did. */
function isNew() {
  let fresh = false;
  for (const { url, scriptId, functions } of post('Profiler.takePreciseCoverage').result) {
    if (!url.includes('/bindings/node/src/'))
      continue;
    for (const { ranges } of functions)
      for (const { startOffset, endOffset, count } of ranges) {
        const key = `${scriptId} ${startOffset} ${endOffset} ${count && 1 + Math.floor(Math.log2(count))}`;
        if (!reached.has(key)) {
          reached.add(key);
          fresh = true;
        }
      }
  }
  return fresh;
}

const d = dice(process.pid * 2654435761 + Date.now());
fs.mkdirSync(found, { recursive: true });
const kept = [];
let runs = 0;

async function play(data) {
  bytes.set(data.subarray(0, MAX));
  Atomics.store(state, 1, Math.min(data.length, MAX));
  Atomics.add(state, 0, 1);
  try {
    await one(target, data);
  } catch (error) {
    fs.writeFileSync(`${found}-crash`, data);
    console.log(`${error.stack}\nthe input is ${found}-crash`);
    process.exit(1);
  }
  runs++;
  return isNew();
}

for (const folder of [seedFolder, found])
  for (const file of fs.readdirSync(folder)) {
    const data = fs.readFileSync(path.join(folder, file));
    if (await play(data) || folder === seedFolder)
      kept.push(data);
  }
const seeds = kept.length;
const end = Date.now() + Number(seconds) * 1000;
while (Date.now() < end) {
  const data = change(d, kept[d(2) ? d(kept.length) : Math.max(0, kept.length - 1 - d(20))], kept);
  if (await play(data) && kept.length < KEPT_MAX) {
    kept.push(data);
    fs.writeFileSync(path.join(found, `${Date.now()}-${runs}`), data);
  }
}
console.log(`Done ${runs} runs, ${reached.size} counts of blocks, ${kept.length - seeds} inputs found`);
process.exit(0);
