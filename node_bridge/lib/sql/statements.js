// What SQL statements say: their text fit to keep, literals replaced by ?, and what they do to the transaction. Read in C,
// the same for all adapters (memwatch_core/core/text/statement.h).
'use strict';

const native = require('../native');

const NOTHING = 0, BEGINS = 1, COMMITS = 2, ROLLS_BACK = 3, PREPARES = 4, COMMITS_BEFORE = 5, COMMITS_AND_BEGINS = 6,
  SETS_SAVEPOINT = 7, RELEASES = 8, ROLLS_BACK_TO = 9, MAY_ROLL_BACK = 10;

const LIMIT = 16384; // characters of a statement that are looked at

/** `dialect`: sqlite, postgresql, mysql, or unknown: then masked with the greatest caution. */
function read(statement, dialect) {
  const [text, action, savepoint, keepsCase] = native.readStatement(statement, dialect);
  return { text, action, savepoint: keepsCase ? savepoint : savepoint.toLowerCase() };
}

/** What a savepoint's name stands for: without quotes, or that was in quotes. */
function fold(name, dialect) {
  return dialect === 'sqlite' || dialect === 'mysql' ? name.toLowerCase() : name;
}

module.exports = {
  read, fold, LIMIT,
  NOTHING, BEGINS, COMMITS, ROLLS_BACK, PREPARES, COMMITS_BEFORE, COMMITS_AND_BEGINS, SETS_SAVEPOINT, RELEASES,
  ROLLS_BACK_TO, MAY_ROLL_BACK,
};
