// Runs before and after `npm pack`. The npm package contains a binary for each version of Node.js, and in core/ the
// core's sources with all licenses; in the repository, the sources are compiled in place.
'use strict';
const fs = require('node:fs');
const path = require('node:path');
const { binary } = require('../lib/binary');

const ABIS = { 20: 115, 22: 127, 24: 137, 26: 147 }; // of Node.js versions: process.versions.modules
const here = path.join(__dirname, '..');
const sources = path.join(here, '..', 'memwatch_core', 'core');
const core = path.join(here, 'core');

fs.rmSync(core, { recursive: true, force: true });
if (process.argv[2] === 'before') {
  const missing = Object.keys(ABIS).filter((version) => !fs.existsSync(binary(ABIS[version])));
  if (missing.length) {
    console.error(`@memwatch/node can't be packed without its binary for Node.js ${missing.join(', ')}: `
      + `${path.relative(process.cwd(), path.dirname(binary()))} has none. Build them: make node, in the repository's first folder`);
    process.exit(1);
  }
  fs.cpSync(sources, core, { recursive: true });
  fs.copyFileSync(path.join(here, '..', 'LICENSE'), path.join(core, 'LICENSE'));
  fs.cpSync(path.join(here, '..', 'licenses'), path.join(core, 'licenses'), { recursive: true });
}
