// Hashes that are made once a text: HMAC and SHA-256, which both runtimes have (memwatch_core/adapter/hashes.py makes the
// same). Those of parameters, made for each execution, are the addon's.
'use strict';

const { createHash, createHmac } = require('node:crypto');

/** 32 bytes. `purpose`: the same text has another hash for each. */
function keyed(key, purpose, text) {
  return createHmac('sha256', key).update(`${purpose}\0`).update(text).digest();
}

/** 32 bytes. */
function digest(bytes) {
  return createHash('sha256').update(bytes).digest();
}

module.exports = { keyed, digest };
