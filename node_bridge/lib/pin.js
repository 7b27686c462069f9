// Watched pages can't move: a buffer that is transferred would go on as a copy that nobody watches, without a word. In
// Node 24 and later the addon gives it a key, and whoever tries gets a TypeError. Earlier versions abort the process when
// they meet such a key, so there Node is told, and the two methods that don't ask Node are replaced.
'use strict';

const { common } = require('./native');

const [v8] = process.versions.v8.split('.').map(Number);

function pin(buffer) {
  if (v8 >= 13) return;
  require('node:worker_threads').markAsUntransferable(buffer);
  common.refuseTransfers();
}

module.exports = { pin };
