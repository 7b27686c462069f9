// The path of the addon for this version of Node.js: there is one file for each ABI.
'use strict';

const path = require('node:path');

const FOLDER = path.join(__dirname, '..', 'prebuilds', 'linux-x64');

function binary(abi = process.versions.modules) {
  return path.join(FOLDER, `node.abi${abi}.node`);
}

module.exports = { binary };
