// What traces SQL drivers: once for all copies of this package whose program's modules are loaded by the same loader. Two
// would each patch a driver.
'use strict';

const Module = require('node:module');
const { common } = require('./native');

if (!common.drivers.has(Module)) common.drivers.set(Module, require('./sql/drivers'));
module.exports = common.drivers.get(Module);
