// Records of statements, as the journal has them.
'use strict';

const native = require('../native');
const { className } = require('./parameters');

const FAILED = 'failed', COMMITTED = 'committed', ROLLED_BACK = 'rolled back'; // words of their outcomes
const THREAD = JSON.stringify(native.threadLabel);
const QUOTED = { __proto__: null, ended: '"ended"', closed: '"closed"', [COMMITTED]: '"committed"', [ROLLED_BACK]: '"rolled back"' };

function quoted(outcome) {
  return QUOTED[outcome] ?? JSON.stringify(outcome);
}

/** What all records of a connection's statements say. */
function describe(number, connection, of) {
  let json = number ? `,"connection":${number}` : '';
  for (const member of number ? ['database', 'server'] : []) {
    const value = typeof of[member] === 'function' ? of[member](connection) : of[member];
    if (typeof value !== 'string' || !value) continue;
    const kept = /[=@]|:\/\//.test(value) ? '?' : value.slice(0, 200); // a connection string may hold a password
    json += `,"${member}":${JSON.stringify(kept)}`;
  }
  return Buffer.from(`${json},"thread":${THREAD}`);
}

/** A record of a beginning, of an end, or with a text of its own. */
function write({ id, head, where, rest, text, outcome, rows, ended, transaction, autocommit }) {
  if (head) native.openContext(id, `${head}${where}${rest}`);
  else if (text) native.updateContext(id, text);
  else native.endStatement(id, outcome, rows, ended, transaction, autocommit);
}

/** No message: it may hold the program's data. */
function outcomeOf(error) {
  return `failed: ${(error !== null && typeof error === 'object' && className(error)) || 'Error'}`;
}

module.exports = { describe, write, quoted, outcomeOf, FAILED, COMMITTED, ROLLED_BACK };
