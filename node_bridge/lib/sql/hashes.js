// Hashes that are made once a text: HMAC and SHA-256, which both runtimes have (memwatch_core/adapter/hashes.py makes the
// same). Those of parameters, made for each execution, are the addon's.
'use strict';

let createHash, createHmac;

/** Once a driver is there: node:crypto takes 4 to 7 ms to load. No later, as the program may replace its functions. */
function load() {
  if (!createHmac) ({ createHash, createHmac } = require('node:crypto'));
}

/** 32 bytes. `purpose`: the same text has another hash for each. */
function keyed(key, purpose, text) {
  load();
  return createHmac('sha256', key).update(`${purpose}\0`).update(text).digest();
}

/** 32 bytes. */
function digest(bytes) {
  load();
  return createHash('sha256').update(bytes).digest();
}

module.exports = { load, keyed, digest };
