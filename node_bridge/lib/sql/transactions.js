// What the text of a statement does to the transaction: the same answers as memwatch_core/adapter/transactions.py gives.
// Only the first words are read.
'use strict';

const NOTHING = 0, BEGINS = 1, COMMITS = 2, ROLLS_BACK = 3, PREPARES = 4, COMMITS_BEFORE = 5, COMMITS_AND_BEGINS = 6,
  SETS_SAVEPOINT = 7, RELEASES = 8, ROLLS_BACK_TO = 9, MAY_ROLL_BACK = 10;

const words = (text) => new Set(text.split(' '));
const FIRST = words('BEGIN START COMMIT END ROLLBACK ABORT SAVEPOINT RELEASE PREPARE XA');
const DDL = words('ALTER CREATE DROP RENAME TRUNCATE');
const TOKEN = /(?:\s+|--[^\n]*|#[^\n]*|\/\*.*?\*\/)*("[^"]*(?:""[^"]*)*"|'[^']*(?:''[^']*)*'|`[^`]*(?:``[^`]*)*`|\[[^\]]*\]|[\p{L}\p{N}_][\p{L}\p{N}_$]*|\S)/gsu;
const WORDS = 12;

/** [action, name of its savepoint]. `text`: the statement normalised. */
function control(statement, text, dialect) {
  const word = text.slice(0, 12).split(' ')[0].replace(/;+$/, '').toUpperCase();
  if (text.replace(/[; ]+$/, '').includes(';')) return [script(text), ''];
  if (FIRST.has(word)) {
    const tokens = Array.from(statement.slice(0, 1000).matchAll(TOKEN), (match) => match[1]).slice(0, WORDS);
    return single(tokens.filter((token) => token !== ';'), dialect);
  }
  if (dialect === 'mysql' && DDL.has(word)) {
    const start = text.slice(0, 100).toUpperCase().split(/\s+/).slice(0, 5); // these two commit nothing
    if (!start.includes('TEMPORARY') && !start.includes('FUNCTION')) return [COMMITS_BEFORE, ''];
  }
  return [NOTHING, ''];
}

function single(tokens, dialect) {
  const upper = [...tokens.map((token) => token.toUpperCase()), '', ''];
  const [first, second] = upper;
  if (first === 'SAVEPOINT' || first === 'RELEASE') {
    const rest = tokens.slice(first === 'RELEASE' && second === 'SAVEPOINT' && tokens.length > 2 ? 2 : 1);
    const action = first === 'SAVEPOINT' ? SETS_SAVEPOINT : RELEASES;
    return rest.length ? [action, named(rest[0], dialect)] : [NOTHING, ''];
  }
  if (first === 'ROLLBACK' && upper.slice(1, 3).includes('TO')) {
    const rest = tokens.slice(upper.indexOf('TO') + 1);
    if (rest.length > 1 && rest[0].toUpperCase() === 'SAVEPOINT') rest.shift();
    return rest.length ? [ROLLS_BACK_TO, named(rest[0], dialect)] : [NOTHING, ''];
  }
  return [whole(first, second, dialect), ''];
}

function whole(first, second, dialect) {
  if ((first === 'COMMIT' || first === 'ROLLBACK') && second === 'PREPARED') return NOTHING; // another transaction
  if (first === 'XA') return { COMMIT: COMMITS, ROLLBACK: ROLLS_BACK, PREPARE: PREPARES }[second] ?? NOTHING;
  if (first === 'PREPARE') return second === 'TRANSACTION' ? PREPARES : NOTHING;
  if (first === 'BEGIN' || (first === 'START' && second === 'TRANSACTION')) return dialect === 'mysql' ? COMMITS_AND_BEGINS : BEGINS;
  if (first === 'COMMIT' || first === 'END') return COMMITS;
  return first === 'ROLLBACK' || first === 'ABORT' ? ROLLS_BACK : NOTHING;
}

/** Several statements in one text: literals are gone, so a semicolon is one. */
function script(text) {
  for (const each of text.toUpperCase().split(';')) {
    const start = each.trim().split(/\s+/).slice(0, 3);
    if (start[0] === 'COMMIT' || start[0] === 'END') break;
    if ((start[0] === 'ROLLBACK' || start[0] === 'ABORT') && !start.includes('TO') && !start.includes('PREPARED')) return MAY_ROLL_BACK;
  }
  return NOTHING;
}

/** What a name stands for: without quotes, and in lower case where case doesn't count. */
function named(token, dialect) {
  if (!`"'\`[`.includes(token[0])) return token.toLowerCase();
  return fold(token.slice(1, -1).replaceAll(token[0] + token[0], token[0]), dialect);
}

function fold(name, dialect) {
  return dialect === 'sqlite' || dialect === 'mysql' ? name.toLowerCase() : name;
}

module.exports = {
  control, fold,
  NOTHING, BEGINS, COMMITS, ROLLS_BACK, PREPARES, COMMITS_BEFORE, COMMITS_AND_BEGINS, SETS_SAVEPOINT, RELEASES,
  ROLLS_BACK_TO, MAY_ROLL_BACK,
};
