// SPDX-License-Identifier: Apache-2.0
//
// The corpus of what the clients parse, and changed copies of it, through the Node package: each input is parsed or
// refused with an error of the package. `make fuzz` searches further (fuzz_run.js).
import fs from 'node:fs';
import path from 'node:path';
import { change } from './fuzz_change.js';
import { CORPUS, one, TARGETS } from './fuzz_targets.js';
import { assert, dice, run, SOURCE } from './harness.js';

const COPIES = 400 * (Number(process.env.ERGON_SOAK) || 1);

async function played(name) {
  const folder = path.join(SOURCE, 'tests/fuzz/clients', CORPUS[name] ?? name);
  const seeds = fs.readdirSync(folder).sort().map((file) => fs.readFileSync(path.join(folder, file)));
  const d = dice(name.length * 7919 + name.charCodeAt(0));
  const inputs = [...seeds, ...Array.from({ length: COPIES }, () => change(d, seeds[d(seeds.length)], seeds))];
  let good = 0;
  for (const data of inputs)
    try {
      good += await one(name, data);
    } catch (error) {
      assert.fail(`${name}: ${JSON.stringify(data.toString('latin1')).slice(0, 3000)}\n${error.stack}`);
    }
  console.log(`# ${name}: ${inputs.length} inputs, ${good} parsed, ${inputs.length - good} refused`);
  assert.ok(good > 0);
}

await run(Object.fromEntries(Object.keys(TARGETS).map((name) => [name, () => played(name)])));
