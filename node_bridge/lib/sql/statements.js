// SQL statements made fit to keep: literals replaced by ?, comments and extra whitespace gone. The same text, and so the
// same hash, as memwatch_core/adapter/statements.py makes, rule by rule: look there for the reasons. When in doubt, mask.
'use strict';

const LIMIT = 16384; // characters of a statement that are looked at
const MARK = ' …'; // ends a statement that was cut

// Python's \s, \w and \d of str.
const S = '[\\s\\x1c-\\x1f\\x85]';
const W = '[\\p{L}\\p{N}_]';
const L = `(?:(?!\\p{Nd})${W})`; // [^\W\d]
const STANDARD = "'[^']*(?:''[^']*)*(?:'|$)";
const ESCAPED = "'(?:[^'\\\\]|\\\\.|'')*(?:'|\\\\?$)";
const DOUBLE = '"[^"]*(?:""[^"]*)*(?:"|$)';
const DOUBLE_ESCAPED = '"(?:[^"\\\\]|\\\\.|"")*(?:"|\\\\?$)';
const DOLLAR = `\\$(?<tag>(?:${L}${W}*)?)\\$.*?(?:\\$\\k<tag>\\$|$)`;
const NUMBER = `(?:0[xX][0-9a-fA-F_]+|(?:[0-9][0-9_]*\\.?[0-9_]*|\\.[0-9][0-9_]*)(?:[eE][+\\-]?[0-9]+)?)${W}*`;
const BLOCK = '\\/\\*.*?(?:\\*\\/|$)';
const BACKTICK = '`[^`]*(?:``[^`]*)*(?:`|$)';
const BRACKET = '\\[[^\\]]*(?:\\]|$)';
const PLACEHOLDER = `\\?[0-9]*|[:@]${L}${W}*|\\$${W}+`;
const WORD = `${W}[\\p{L}\\p{N}_$]*`;
const CONTINUED = `(?:${S}*\\n${S}*${ESCAPED})*`;

function pattern(kinds) {
  const all = { ...kinds, number: NUMBER, placeholder: PLACEHOLDER, word: WORD, other: '.' };
  return new RegExp(Object.entries(all).map(([kind, rule]) => `(?<${kind}>${rule})`).join('|'), 'suy');
}

/** Of a dialect, made when the first statement in it is seen. */
const KINDS = {
  sqlite: {
    space: `${S}+|--[^\\n]*|${BLOCK}`, string: `[xX]?${STANDARD}`, double: DOUBLE, name: `${BACKTICK}|${BRACKET}`,
  },
  postgresql: {
    space: `${S}+|--[^\\n\\r]*`, nested: '\\/\\*', string: `[eE]${ESCAPED}${CONTINUED}|${DOLLAR}`,
    plain: `(?:[bBxXnN]|[uU]&)?${STANDARD}`, name: DOUBLE,
  },
  mysql: {
    // An executable comment, /*!50000 ... */, is a part of the statement: only its brackets go.
    space: `${S}+|--+(?=\\/\\*|\\*\\/|#)|--+(?=[\\s\\x00-\\x1f\\x85]|$)[^\\n]*|#[^\\n]*|\\/\\*![0-9]*|\\*\\/|${BLOCK}`,
    string: `[xXbBnN]?${ESCAPED}`, double: DOUBLE_ESCAPED, name: BACKTICK,
  },
  '': {
    space: `${S}+`, comment: `--[^\\n]*|${BLOCK}`, doubtful: `#|[qQ]'|${BRACKET}|${DOLLAR}|${BACKTICK}`,
    plain: `(?:[bBxXnNeE]|[uU]&)?${STANDARD}`, double: DOUBLE,
  },
};
const patterns = {};

const words = (text) => new Set(text.split(' '));
const BEFORE_NAME = words('FROM JOIN INTO UPDATE TABLE VIEW INDEX TRIGGER EXISTS REFERENCES COLUMN CONSTRAINT SAVEPOINT '
  + 'RELEASE TO AS SET COLLATE WITH RECURSIVE');
const BEFORE_TABLE = words('INTO TABLE EXISTS REFERENCES');
const AFTER_SET = words('WHERE FROM RETURNING ORDER LIMIT');
const QUOTES = /['"`]/;
const DOT_AND_NAME = new RegExp(`${S}*\\.${S}*(?:${L}|["\`\\[])`, 'uy');
const NESTING = /\/\*|\*\//g;
const SPACE = new RegExp(`^${S}$`, 'u');

/** The statement without literals and comments; '' if nothing is left. `dialect`: sqlite, postgresql, mysql, or unknown. */
function normalise(statement, dialect = '') {
  let text = statement, cut = false;
  if (text.length > LIMIT) { // Python counts code points
    const points = Array.from(text.slice(0, 2 * LIMIT + 2));
    cut = points.length > LIMIT;
    if (cut) text = points.slice(0, LIMIT - MARK.length).join('');
  }
  text = text.replace(/\p{Surrogate}/gu, '?');
  const found = tokens(text, Object.hasOwn(KINDS, dialect) ? dialect : '').join('');
  return cut ? found + MARK : found;
}

// eslint-disable-next-line complexity -- one branch a kind of token
function tokens(text, dialect) {
  const scan = patterns[dialect] ??= pattern(KINDS[dialect]);
  const found = [];
  const names = new Names(dialect === 'sqlite');
  let space = false, at = 0;
  while (at < text.length) {
    scan.lastIndex = at;
    const { groups } = scan.exec(text);
    const kind = String(Object.keys(groups).find((name) => name !== 'tag' && groups[name] !== undefined));
    let token = groups[kind];
    const start = at;
    at += token.length;
    if (kind === 'space' || kind === 'nested' || kind === 'comment') {
      if (kind === 'nested') at = endOfNested(text, at);
      else if (kind === 'comment' && isDoubtfulComment(token)) return masked(found);
      space = true;
      continue;
    }
    if (space && found.length) found.push(' ');
    space = false;
    if (kind === 'string' || kind === 'number') {
      token = '?';
    } else if (kind === 'plain') {
      if (token.includes("\\'")) at = text.length; // complete, or not: that depends on a setting of the server
      token = '?';
    } else if (kind === 'double') {
      if (!dialect && token.includes('\\"')) [at, token] = [text.length, '?'];
      else if (!names.allowed(text, at, token)) token = '?';
    } else if (kind === 'doubtful') {
      if ('#qQ'.includes(token[0]) || QUOTES.test(token[0] === '`' ? token.slice(1, -1) : token)) {
        [at, token] = [text.length, '?'];
      } else if (token[0] === '$') {
        token = '?';
      } else if (token[0] === '[') {
        [at, token] = [start + 1, '['];
      }
    } else if (kind === 'name' && !isCompleteName(token)) {
      token = '?';
    }
    found.push(token);
    names.follow(token, kind);
  }
  return found;
}

function masked(found) {
  found.push(found.length ? ' ?' : '?');
  return found;
}

function isCompleteName(token) {
  return token.length > 1 && ']`"'.includes(token.at(-1)) && !(token[0] === '[' && QUOTES.test(token));
}

/** Whether another dialect would end this comment elsewhere, or see none. */
function isDoubtfulComment(token) {
  if (token.startsWith('--')) return token.length > 2 && !SPACE.test(token[2]) && QUOTES.test(token);
  return token.startsWith('/*!') || token.includes('/*', 2);
}

function endOfNested(text, at) {
  let depth = 1;
  NESTING.lastIndex = at;
  for (let bracket; depth && (bracket = NESTING.exec(text));) {
    depth += bracket[0] === '/*' ? 1 : -1;
    at = NESTING.lastIndex;
  }
  return depth ? text.length : at;
}

/** Knows, token by token, where text in double quotes can only be a name. */
class Names {
  constructor(sqlite) {
    this.sqlite = sqlite;
    this.before = this.after = ''; // the last token but one, the last token
    this.table = false; // the last tokens are a table's name
    this.columns = 0; // depth inside the list behind it
    this.inSet = 0; // 1 + depth inside SET ...
  }

  allowed(text, at, token) {
    if (token.length < 2 || !token.endsWith('"')) return false;
    DOT_AND_NAME.lastIndex = at;
    if (this.after === '.' || DOT_AND_NAME.test(text)) return true;
    if (!this.sqlite) return false;
    if (BEFORE_NAME.has(this.after)) return !(this.after === 'FROM' && this.before === 'DISTINCT');
    return (this.columns === 1 && (this.after === '(' || this.after === ',')) || (this.inSet === 1 && this.after === ',');
  }

  follow(token, kind) {
    const word = kind === 'word' ? token.toUpperCase() : token;
    if (word === '(') {
      if (this.table) this.columns = 1;
      else if (this.columns) this.columns++;
      if (this.inSet) this.inSet++;
    } else if (word === ')') {
      if (this.columns) this.columns--;
      if (this.inSet) this.inSet--;
    } else if (word === 'SET') {
      this.inSet = 1;
    } else if (AFTER_SET.has(word) && this.inSet === 1) {
      this.inSet = 0;
    }
    const named = (kind === 'word' || kind === 'double' || kind === 'name') && token !== '?';
    this.table = named ? BEFORE_TABLE.has(this.after) || this.after === '.' : word === '.' && this.table;
    [this.before, this.after] = [this.after, word];
  }
}

module.exports = { normalise, LIMIT };
