// What npm runs when the package is installed: nothing, where it has a binary for this Node.js; otherwise one is built.
'use strict';
const { binary } = require('../lib/binary');

try {
  require(binary());
} catch (missing) {
  try {
    require('./prebuild').build();
  } catch (error) {
    console.error(`@memwatch/node has no binary that Node.js ${process.versions.node} (ABI ${process.versions.modules}) can load: ${missing.message}`);
    console.error(`And none can be built: ${error.message}. What it takes: apt-get install g++ make libzydis-dev`);
    process.exitCode = 1;
  }
}
