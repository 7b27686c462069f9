// Whether this copy was loaded by another loader than Node's own: Jest's, which doesn't report what it loads, and loads
// everything anew for each test file.
'use strict';

const Module = /** @type {any} */ (require('node:module'));

module.exports = { foreign: require.cache !== Module._cache };
