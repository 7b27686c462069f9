// Watched pages can't move: a transferred buffer would continue as an unwatched copy, silently. In Node 24 and later
// the addon gives the buffer a detach key, so that a transfer throws a TypeError. Earlier versions abort the process
// when they meet such a key: there the buffer is marked as untransferable, and the two methods that ignore the mark are
// replaced.
'use strict';

const { common } = require('./native');

const [v8] = process.versions.v8.split('.').map(Number);

function pin(buffer) {
  if (v8 < 13) require('node:worker_threads').markAsUntransferable(buffer);
}

/** Before anything is watched. */
function prepare() {
  if (v8 >= 13) return;
  try {
    common.refuseTransfers();
  } catch (cause) {
    throw new TypeError(`watch() with node --frozen-intrinsics takes Node.js 24 or later, this is ${process.versions.node}: ArrayBuffer.prototype.transfer can't be replaced, and would move watched memory`, { cause });
  }
}

module.exports = { pin, prepare };
