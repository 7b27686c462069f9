// What SQL statements say: their text fit to keep, literals replaced by ?, and what they do to the transaction. Read in C,
// the same for all adapters (memwatch_core/core/text/statement.h).
'use strict';

const native = require('../native');

const NOTHING = 0, BEGINS = 1, COMMITS = 2, ROLLS_BACK = 3, PREPARES = 4, COMMITS_BEFORE = 5, COMMITS_AND_BEGINS = 6,
  SETS_SAVEPOINT = 7, RELEASES = 8, ROLLS_BACK_TO = 9, SEVERAL = 10;
// Bits above the action: which transaction is open after the text; and of several statements the rest.
const LEAVES_OPEN = 0x100, LEAVES_NONE = 0x200, ENDS = 1 << 18, BEGINS_BY_END = 1 << 19, BEGINS_BY_WORK = 1 << 20;
const COMMITTED = 1, ROLLED_BACK = 2, GOES_ON = 4;

const LIMIT = 16384; // characters of a statement that are looked at

/** `dialect`: sqlite, postgresql, mysql, or unknown: then masked with the greatest caution. */
function read(statement, dialect) {
  const [text, does, savepoint, keepsCase] = native.readStatement(statement, dialect);
  return { text, action: does & 0xff, does, savepoint: keepsCase ? savepoint : savepoint.toLowerCase() };
}

/** Of several statements: how the transaction ends first that was open before; what becomes of what the text itself does. */
function fates({ does }) {
  return { first: does >> 10 & 3, inside: does >> 12 & 7, alone: does >> 15 & 7 };
}

/** Of several: what they do to savepoints, [sign, name], before the first end of a transaction and behind the last. */
function operations({ does, savepoint }) {
  const each = savepoint.split('\0').slice(0, -1).map((one) => [one[0], one.slice(1)]);
  const at = each.findIndex(([sign]) => sign === '|');
  if (at < 0) return does & ENDS ? { before: each, behind: [] } : { before: [], behind: each };
  return { before: each.slice(0, at), behind: each.slice(at + 1) };
}

/** What a savepoint's name stands for: without quotes, or that was in quotes. */
function fold(name, dialect) {
  return dialect === 'sqlite' || dialect === 'mysql' ? name.toLowerCase() : name;
}

module.exports = {
  read, fates, operations, fold, LIMIT,
  NOTHING, BEGINS, COMMITS, ROLLS_BACK, PREPARES, COMMITS_BEFORE, COMMITS_AND_BEGINS, SETS_SAVEPOINT, RELEASES,
  ROLLS_BACK_TO, SEVERAL, LEAVES_OPEN, LEAVES_NONE, ENDS, BEGINS_BY_END, BEGINS_BY_WORK, COMMITTED, ROLLED_BACK, GOES_ON,
};
