// The packed package carries the core's sources in core/, with the licenses of all that it carries; in the repository they
// are compiled where they are.
'use strict';
const fs = require('node:fs');
const path = require('node:path');

const here = path.join(__dirname, '..');
const native = path.join(here, '..', 'memwatch_core', 'native');
const core = path.join(here, 'core');

fs.rmSync(core, { recursive: true, force: true });
if (process.argv[2] === 'copy') {
  fs.mkdirSync(core);
  for (const name of fs.readdirSync(native)) {
    if (/\.[ch]$/.test(name) && name !== '_core.c') fs.copyFileSync(path.join(native, name), path.join(core, name));
  }
  fs.copyFileSync(path.join(here, '..', 'LICENSE'), path.join(core, 'LICENSE'));
  fs.cpSync(path.join(here, '..', 'licenses'), path.join(core, 'licenses'), { recursive: true });
}
