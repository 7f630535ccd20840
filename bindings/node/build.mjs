// SPDX-License-Identifier: Apache-2.0
//
// The CommonJS build: dist/NAME.cjs of every src/NAME.js, and dist/NAME.d.cts of every types/NAME.d.ts. The
// sources keep to the few forms of import and export that are turned here; any other form stops the
// build. `node build.mjs [DIRECTORY]` writes elsewhere. For a package the licence of the project is put
// beside it.
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const here = path.dirname(fileURLToPath(import.meta.url));
const out = path.resolve(process.argv[2] ?? path.join(here, 'dist'));

const cjs = (from) => from.replace(/^(\.\/.*)\.js$/, '$1.cjs');
const names = (list) => list.split(',').map((name) => name.trim()).filter(Boolean);

function convert(text, file) {
  const exported = [];
  const body = text
    .replace(/^import \{([^}]*)\} from '([^']+)';$/gm, (_, list, from) => {
      const picked = names(list).map((name) => name.replace(/ as /, ': '));
      return `const { ${picked.join(', ')} } = require('${cjs(from)}');`;
    })
    .replace(/^import (\w+) from '([^']+)';$/gm, (_, name, from) => `const ${name} = require('${cjs(from)}');`)
    .replace(/^export \{([^}]*)\} from '([^']+)';$/gm, (_, list, from) => {
      for (const name of names(list))
        exported.push(`${name}: require('${cjs(from)}').${name}`);
      return '';
    })
    .replace(/^export ((?:async )?function\*?|class|const) (\w+)/gm, (_, kind, name) => {
      exported.push(name);
      return `${kind} ${name}`;
    });
  const left = body.match(/^(import|export)\b.*/m);
  if (left)
    throw new Error(`${file}: this build does not know: ${left[0]}`);
  return `'use strict';\n${body}\nmodule.exports = { ${exported.join(', ')} };\n`;
}

fs.rmSync(out, { recursive: true, force: true });
fs.mkdirSync(out, { recursive: true });
for (const file of fs.readdirSync(path.join(here, 'src'))) {
  const text = fs.readFileSync(path.join(here, 'src', file), 'utf8');
  fs.writeFileSync(path.join(out, file.replace(/\.js$/, '.cjs')), convert(text, file));
}
for (const file of fs.readdirSync(path.join(here, 'types'))) {
  const text = fs.readFileSync(path.join(here, 'types', file), 'utf8');
  fs.writeFileSync(path.join(out, file.replace(/\.d\.ts$/, '.d.cts')),
    text.replace(/(from '\.\/[^']*)\.js'/g, "$1.cjs'"));
}
const licence = path.join(here, '../../LICENSE');
if (process.argv[2] === undefined && fs.existsSync(licence))
  fs.copyFileSync(licence, path.join(here, 'LICENSE'));
