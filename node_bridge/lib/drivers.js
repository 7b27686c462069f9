// The tracing of SQL drivers: shared by all copies of this package whose program uses the same module loader. Two
// copies would both patch a driver.
'use strict';

const Module = require('node:module');
const { common } = require('./native');

if (!common.drivers.has(Module)) common.drivers.set(Module, require('./sql/drivers'));
module.exports = common.drivers.get(Module);
