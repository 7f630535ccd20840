// SPDX-License-Identifier: Apache-2.0
//
// Packages of the registry that tools/node-peers.sh installed below the build folder.
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import path from 'node:path';
import { Skip, SOURCE } from './harness.js';

export const BUILD = path.resolve(process.argv[2] ?? 'build');
let place = null;

/** The directory that has node_modules. Skips where the registry is away; anything else is a failure. */
export function peers() {
  if (!place) {
    const r = spawnSync('sh', [`${SOURCE}/tools/node-peers.sh`, BUILD], { encoding: 'utf8', timeout: 300000 });
    const said = (r.stdout ?? '').trim();
    place = r.status === 0 ? { dir: said } : { why: said || String(r.error ?? r.stderr) };
  }
  if (place.why)
    throw place.why.startsWith('the npm registry is away') ? new Skip(place.why) : new Error(place.why);
  return place.dir;
}

export function peer(name) {
  return createRequire(`${peers()}/package.json`)(name);
}
