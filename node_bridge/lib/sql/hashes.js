// HMAC and SHA-256 hashes, computed once for each text. memwatch_core/adapter/hashes.py computes the same ones.
// Parameters, which are hashed at each execution, are hashed by the addon.
'use strict';

let createHash, createHmac;

/**
 * Called with the first driver, because node:crypto takes 4 to 7 ms to load; not later, because the program may
 * replace its functions.
 */
function load() {
  if (!createHmac) ({ createHash, createHmac } = require('node:crypto'));
}

/** HMAC-SHA-256, 32 bytes. A text has a different hash for each `purpose`. */
function keyed(key, purpose, text) {
  load();
  return createHmac('sha256', key).update(`${purpose}\0`).update(text).digest();
}

/** SHA-256, 32 bytes. */
function digest(bytes) {
  load();
  return createHash('sha256').update(bytes).digest();
}

module.exports = { load, keyed, digest };
