// node --require @memwatch/node/register app.js: follows the program's code before its first line runs, so that every store has
// its line. `memwatch run` loads it through NODE_OPTIONS, in children and workers too. The journal is opened by the first
// watch(), or the first statement of a SQL driver that is traced: a program that does neither leaves nothing behind.
'use strict';

const { isMainThread } = require('node:worker_threads');

try {
  if (isMainThread && exactLines()) {
    // Code of these two tiers carries no source positions. What they would have compiled is interpreted, or optimised.
    const { setFlagsFromString } = require('node:v8');
    setFlagsFromString('--no-sparkplug');
    setFlagsFromString('--no-maglev');
  }
  require('./lib/index.js');
} catch (error) {
  require('./lib/printed').say(error.message); // the program goes on; its watch() will say so again
}

function exactLines() {
  const folder = process.env.MEMWATCH_SESSION;
  if (!folder) return process.env.MEMWATCH_NODE_EXACT_LINES !== 'false';
  try {
    const { settings } = JSON.parse(require('./lib/files').read(folder, 'settings.json').toString());
    return settings.node?.exact_lines !== false;
  } catch {
    return true;
  }
}
