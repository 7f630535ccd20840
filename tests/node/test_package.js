// SPDX-License-Identifier: Apache-2.0
//
// The package as a user gets it: packed by npm, installed into an empty directory without a network, then used by
// require(), by import and from TypeScript.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { assert, Machine, run, Skip, SOURCE } from './harness.js';
import { peers } from './peers.js';

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'eg-'));
process.on('exit', () => fs.rmSync(dir, { recursive: true, force: true }));
const app = path.join(dir, 'app');

function sh(words, cwd, env = {}) {
  const r = spawnSync(words[0], words.slice(1), { cwd, encoding: 'utf8', timeout: 240000,
    env: { ...process.env, npm_config_update_notifier: 'false', npm_config_cache: path.join(dir, 'cache'), ...env } });
  assert.equal(r.status, 0, `${words.join(' ')}: ${r.error ?? ''}${r.stdout}${r.stderr}`);
  return r.stdout;
}

let installed = null;

/** Packs and installs, once. */
function install() {
  if (installed)
    return installed;
  if (spawnSync('npm', ['--version']).error)
    throw new Skip('npm is not installed');
  const from = path.join(dir, 'project', 'bindings', 'node');
  fs.cpSync(path.join(SOURCE, 'bindings/node'), from, { recursive: true,
    filter: (name) => !/\/(dist|node_modules)$/.test(name) });
  fs.copyFileSync(path.join(SOURCE, 'LICENSE'), path.join(dir, 'project', 'LICENSE'));
  const [{ filename, files }] = JSON.parse(sh(['npm', 'pack', '--json', '--loglevel=error'], from)
    .replace(/^[^[]*/, ''));
  fs.mkdirSync(app);
  fs.writeFileSync(path.join(app, 'package.json'), '{"private": true}');
  sh(['npm', 'install', '--offline', '--no-audit', '--no-fund', path.join(from, filename)], app);
  installed = { files: files.map((f) => f.path) };
  return installed;
}

function node(name, text, env) {
  fs.writeFileSync(path.join(app, name), text);
  return JSON.parse(sh(['node', name], app, env));
}

const PROGRAM = `
  const client = connect();
  const window = await client.begin('w');
  const m = await window.end();
  const error = await client.totals({ signal: AbortSignal.abort() }).catch((e) => e);
  const energy = requestEnergy({ client });
  const figures = await energy.close();
  client.close();
  console.log(JSON.stringify({ seconds: m.seconds, known: m.joules !== null, code: error.code,
    ours: error instanceof ErgonError, scope: figures.scope, energy: typeof figures.energyJoules }));`;

async function uses(name, text) {
  install();
  const machine = await Machine.start('node-24h');
  const out = node(name, text, { ERGON_SOCKET: machine.socket });
  assert.ok(out.seconds > 0);
  assert.deepEqual({ ...out, seconds: 0 }, { seconds: 0, known: true, code: 'aborted', ours: true, scope: 'node',
    energy: 'number' });
}

await run({
  async 'it packs: sources, CommonJS, types, licence, and no tests'() {
    const { files } = install();
    for (const want of ['LICENSE', 'README.md', 'package.json', 'src/index.js', 'src/middleware.js', 'dist/index.cjs',
      'dist/middleware.cjs', 'types/index.d.ts', 'dist/index.d.cts', 'dist/middleware.d.cts'])
      assert.ok(files.includes(want), `${want} of ${files}`);
    assert.deepEqual(files.filter((f) => !/^(src|dist|types)\/[a-z.]+$|^(LICENSE|README\.md|package\.json)$/.test(f)), []);
    const inside = JSON.parse(fs.readFileSync(path.join(app, 'node_modules/@ergon/client/package.json'), 'utf8'));
    assert.equal(inside.dependencies, undefined);
    assert.deepEqual(fs.readdirSync(path.join(app, 'node_modules')).filter((f) => !f.startsWith('.')), ['@ergon']);
  },

  async 'its version is that of the project'() {
    const version = /version: '([^']+)'/.exec(fs.readFileSync(path.join(SOURCE, 'meson.build'), 'utf8'))[1];
    assert.equal(JSON.parse(fs.readFileSync(path.join(SOURCE, 'bindings/node/package.json'), 'utf8')).version, version);
  },

  async 'import'() {
    await uses('a.mjs', `import { connect, ErgonError } from '@ergon/client';
      import { requestEnergy } from '@ergon/client/middleware';${PROGRAM}`);
  },

  async 'require()'() {
    await uses('b.cjs', `const { connect, ErgonError } = require('@ergon/client');
      const { requestEnergy } = require('@ergon/client/middleware');
      (async () => {${PROGRAM}})();`);
  },

  async 'both in one program know the same errors, and the same names'() {
    install();
    const out = node('c.mjs', `import { createRequire } from 'node:module';
      import * as esm from '@ergon/client';
      import * as esmMiddleware from '@ergon/client/middleware';
      const require = createRequire(import.meta.url);
      const cjs = require('@ergon/client');
      console.log(JSON.stringify([new esm.ErgonError('x', 'y') instanceof cjs.ErgonError,
        new cjs.ErgonError('x', 'y') instanceof esm.ErgonError, Object.keys(esm).sort(), Object.keys(cjs).sort(),
        Object.keys(esmMiddleware).sort(), Object.keys(require('@ergon/client/middleware')).sort()]));`);
    assert.deepEqual(out.slice(0, 2), [true, true]);
    assert.deepEqual(out[2], out[3]);
    assert.deepEqual(out[4], out[5]);
    assert.deepEqual(out[2], ['Client', 'ErgonError', 'Measurement', 'Window', 'connect']);
  },

  async 'TypeScript, as an ES module and as CommonJS'() {
    install();
    const modules = path.join(peers(), 'node_modules');
    fs.mkdirSync(path.join(app, 'node_modules/@types'), { recursive: true });
    for (const name of ['@types/node', 'undici-types'])
      fs.symlinkSync(path.join(modules, name), path.join(app, 'node_modules', name));
    const source = fs.readFileSync(path.join(SOURCE, 'tests/node/consumer.ts'), 'utf8');
    const names = ['consumer.mts', 'consumer.cts'];
    for (const name of names)
      fs.writeFileSync(path.join(app, name), source);
    sh(['node', path.join(modules, 'typescript/bin/tsc'), '--noEmit', '--strict', '--module', 'node16', '--target',
      'es2022', '--types', 'node', ...names], app);
  },

  async 'what the types name is there'() {
    const of = async (file) => Object.keys(await import(path.join(SOURCE, 'bindings/node/src', `${file}.js`)));
    for (const file of ['index', 'middleware']) {
      const text = fs.readFileSync(path.join(SOURCE, 'bindings/node/types', `${file}.d.ts`), 'utf8');
      const named = [...text.matchAll(/^export (?:declare )?(?:class|function|const) (\w+)/gm)].map((m) => m[1]);
      assert.deepEqual(named.sort(), (await of(file)).sort(), file);
    }
  },
});
