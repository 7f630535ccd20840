// SPDX-License-Identifier: Apache-2.0
//
// bindings/node/README.md, literally: its programs run as files of a project that has the package installed,
// against the agent on a simulated machine.
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { assert, Machine, run, SOURCE, until } from './harness.js';
import { peers } from './peers.js';

const README = fs.readFileSync(path.join(SOURCE, 'bindings/node/README.md'), 'utf8');
const BLOCKS = [...README.matchAll(/```js\n(.*?)```/gs)].map(([, text]) => text);

/** A project with this program. */
function project(machine, name, text, packages) {
  const dir = path.join(machine.dir, name);
  fs.mkdirSync(path.join(dir, 'node_modules/@ergon'), { recursive: true });
  fs.symlinkSync(path.join(SOURCE, 'bindings/node'), path.join(dir, 'node_modules/@ergon/client'));
  for (const peer of packages)
    fs.symlinkSync(path.join(peers(), 'node_modules', peer), path.join(dir, 'node_modules', peer));
  fs.writeFileSync(path.join(dir, 'main.mjs'), text);
  return { cwd: dir, env: { ...process.env, ERGON_SOCKET: machine.socket } };
}

async function freePort() {
  const server = net.createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

await run({
  async 'the quick start'() {
    assert.equal(BLOCKS.length, 2);
    const machine = await Machine.start('node-24h');
    const r = spawnSync(process.execPath, ['main.mjs'], { ...project(machine, 'quick', BLOCKS[0], []),
      encoding: 'utf8', timeout: 60000 });
    assert.equal(r.status, 0, r.stderr);
    const [, joules, seconds, unsure] = /^1000000 rows: ([\d.]+) J in ([\d.]+) s, ±([\d.]+) J, measured\n$/.exec(r.stdout) ?? [];
    assert.ok(joules > 0 && seconds > 0 && unsure > 0, r.stdout);
  },

  async 'a server with joules per request'() {
    const machine = await Machine.start('node-24h');
    const how = project(machine, 'server', BLOCKS[1], ['express', 'prom-client']);
    const port = await freePort();
    const server = spawn(process.execPath, ['main.mjs'], { ...how, env: { ...how.env, PORT: String(port) },
      stdio: ['ignore', 'ignore', 'inherit'] });
    try {
      const text = async (at) => {
        const answer = await fetch(`http://127.0.0.1:${port}${at}`).catch(() => null);
        return answer ? answer.text() : '';
      };
      await until('it', async () => /^app_energy_joules_total /m.test(await text('/metrics')));
      assert.equal(await text('/items/7'), 'ok');
      const page = await until('the request', async () => {
        const found = await text('/metrics');
        return /app_request_energy_joules_count\{route="\/items\/:id",method="GET",status_class="2xx"\} 1/.test(found) && found;
      });
      assert.match(page, /^app_units_total\{unit="items"\} 1$/m);
      // Every family that the README lists is on the page, and no other.
      const listed = [...README.matchAll(/^\| `(app_\w+)(?:\{[\w,]+\})?` \|/gm)].map(([, name]) => name).sort();
      const shown = [...page.matchAll(/^# TYPE (\w+)/gm)].map(([, name]) => name).sort();
      assert.deepEqual(shown, listed);
    } finally {
      server.kill();
    }
  },
});
