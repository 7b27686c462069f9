// The language of conditions (when: 'new < 0'), read into a tree: what memwatch_core/condition_text.py does for Python, with
// the same words and the same errors. tests/node/test_node_conditions.py holds them together. Nothing in it is evaluated.
'use strict';

const { ConditionError } = require('./errors');
const { near, repr } = require('./like_python');
const { literal } = require('./literals');

const NAMES = ['old', 'new', 'changed', 'path', 'variable', 'thread', 'site', 'statement'];
const FUNCTIONS = ['abs', 'len'];
const PARTS = { thread: ['id', 'name'], site: ['file', 'line', 'function'] };
const CONSTANTS = { None: null, True: true, False: false, null: null, undefined: null, true: true, false: false };
const WORDS = ['and', 'or', 'not', 'in', 'is', 'like', 'if', 'else', 'for'];
const TEXT_MAX = 2000;
const DEEPEST = 30;
const NAMES_SHOWN = [`    names: ${NAMES.join(', ')}`, '    and: absent, None, True, False, abs(), len()'];
// What Python's re means by \s, \d and \w.
const BLANK = '[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]', DIGIT = '\\p{Nd}', LETTER = '[\\p{L}\\p{N}_]';
const NUMBER = `(?:0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+|(?:${DIGIT}[${DIGIT}_]*\\.?[${DIGIT}_]*|\\.${DIGIT}[${DIGIT}_]*)(?:[eE][+-]?${DIGIT}+)?)(?![\\p{L}\\p{N}_.])`;
const TEXT = '(?:[bB]|[rR])?(?:\'(?:[^\'\\\\\\n]|\\\\[^\\n])*\'|"(?:[^"\\\\\\n]|\\\\[^\\n])*")';
const TOKEN = new RegExp(`${BLANK}*(?:(?<number>${NUMBER})|(?<text>${TEXT})|(?<name>(?!${DIGIT})${LETTER}+)|(?<sign><=|>=|==|!=|!~|//|[-+*/%<>()[\\].,~]))`, 'uy');
const PREFIX = new RegExp(`^((?:[\\p{L}\\p{N}_.*?<>()-]|:(?!${BLANK})|\\[[^\\]]*\\])+):${BLANK}+([^]+)$`, 'u');
const AT_END = new RegExp(`${BLANK}+$`, 'u'), AT_START = new RegExp(`^${BLANK}+`, 'u');

/**
 * A part of a condition.
 * @typedef {{ kind: string, at: number, value?: any, parts: Part[], keys: (string | bigint | number | Buffer)[] }} Part
 *   kind: 'constant', 'absent', 'name', 'tuple', 'call', or an operator; at: its first character, from 0;
 *   value: of a constant a bigint, a number, a string, a Buffer, true, false or null; of a name, the name; keys: of
 *   new.price[0], ['price', 0n].
 */

/** @returns {Part} */
function part(kind, at, more = {}) {
  return { kind, at, parts: [], keys: [], ...more };
}

/** The tree of a condition. Throws ConditionError, which says where it is wrong; TypeError for what is no string. */
function read(text) {
  if (typeof text !== 'string') throw new TypeError(`a condition is a string, as when: "new < 0", not a ${typeof text}`);
  return new Reader(text).whole();
}

/** 'total: new < 0' as the name of a variable, with * and ?, and the condition; without a name, undefined. */
function parted(text) {
  const match = PREFIX.exec(text.replace(AT_END, '').replace(AT_START, ''));
  return match ? [match[1], match[2]] : [undefined, text];
}

/** This and all parts below. */
function* each(root) {
  yield root;
  for (const below of root.parts) yield* each(below);
}

/** The names that a condition uses. */
function names(root) {
  return new Set([...each(root)].filter((one) => one.kind === 'name').map((one) => one.value));
}

/** The error for a condition that is wrong at a character: the text, a mark below, what is wrong, which names there are. */
function refusal(text, at, why, withNames = false) {
  const shown = Array.from(text.replace(/[\t\n]/g, ' '));
  const start = Math.max(0, at - 50);
  return new ConditionError([
    shown.length <= 60 ? `when=${repr(text)}` : 'when=…',
    `    ${shown.slice(start, start + 70).join('')}`,
    `    ${' '.repeat(at - start)}^ ${why}`,
    ...(withNames ? NAMES_SHOWN : []),
  ]);
}

class Reader {
  constructor(text) {
    this.text = text;
    this.next = 0;
    this.depth = 0;
    const length = Array.from(text).length;
    if (length > TEXT_MAX) throw refusal(text, TEXT_MAX, `a condition has at most ${TEXT_MAX} characters`);
    this.tokens = [...this.#tokens()];
  }

  * #tokens() {
    const end = this.text.replace(AT_END, '').length;
    const characters = (at) => Array.from(this.text.slice(0, at)).length;
    let at = 0;
    while (at < end) {
      TOKEN.lastIndex = at;
      const match = TOKEN.exec(this.text);
      if (!match) {
        at += AT_START.exec(this.text.slice(at))?.[0].length ?? 0;
        throw this.refusal(characters(at), noToken(this.text.slice(at)));
      }
      const [kind, text] = /** @type {[string, string]} */ (Object.entries(match.groups ?? {}).find(([, found]) => found !== undefined));
      at += match[0].length;
      yield { kind, text, at: characters(at - text.length) };
    }
    yield { kind: 'end', text: '', at: characters(end) };
  }

  refusal(at, why, withNames = false) {
    return refusal(this.text, at, why, withNames);
  }

  // ---- tokens ----

  get token() {
    return this.tokens[this.next];
  }

  /** The next token if it is one of these words or signs. */
  take(...texts) {
    const { token } = this;
    if ((token.kind !== 'name' && token.kind !== 'sign') || !texts.includes(token.text)) return undefined;
    this.next++;
    return token;
  }

  expect(text, why) {
    if (!this.take(text)) throw this.refusal(this.token.at, `expected ${repr(text)}, ${why}`);
  }

  // ---- from what binds least to what binds most ----

  whole() {
    if (this.token.kind === 'end') throw this.refusal(0, 'a condition is expected: new < 0', true);
    const root = this.either();
    if (this.token.kind !== 'end') throw this.refusal(this.token.at, 'expected an operator (<, ==, and, in, like, +), or the end');
    return root;
  }

  either() {
    if (++this.depth > DEEPEST) throw this.refusal(this.token.at, `a condition is nested ${DEEPEST} deep at most`);
    const found = this.chained(['or'], () => this.chained(['and'], () => this.negated()));
    this.depth--;
    return found;
  }

  chained(signs, below) {
    let left = below();
    for (let token; (token = this.take(...signs));) left = part(token.text, token.at, { parts: [left, below()] });
    return left;
  }

  negated() {
    const first = this.token;
    let count = 0;
    while (this.take('not')) count++;
    let found = this.compared();
    for (; count; count--) found = part('not', first.at, { parts: [found] });
    return found;
  }

  /** 0 < new <= 10 is 0 < new and new <= 10, as in Python. */
  compared() {
    let left = this.sum(), found;
    for (let operator; (operator = this.comparison());) {
      const [kind, at, negative] = operator;
      const right = this.sum();
      let one = part(kind, at, { parts: [left, right] });
      if (negative) one = part('not', at, { parts: [one] });
      found = found ? part('and', at, { parts: [found, one] }) : one;
      left = right;
    }
    return found ?? left;
  }

  /** @returns {[kind: string, at: number, negative: boolean] | undefined} */
  comparison() {
    let token = this.take('<', '<=', '==', '!=', '>', '>=', 'in', 'like');
    if (token) return [token.text, token.at, false];
    if ((token = this.take('~', '!~'))) return ['like', token.at, token.text === '!~'];
    if ((token = this.take('is'))) return [this.take('not') ? '!=' : '==', token.at, false];
    if (!(token = this.take('not'))) return undefined;
    const kind = this.take('in', 'like');
    if (!kind) throw this.refusal(this.token.at, 'expected in, or like, behind not');
    return [kind.text, token.at, true];
  }

  sum() {
    return this.chained(['+', '-'], () => this.chained(['*', '/', '//', '%'], () => this.signed()));
  }

  signed() {
    const signs = [];
    for (let token; (token = this.take('-', '+'));) signs.unshift(token);
    let found = this.value();
    for (const { text, at } of signs) {
      if (text !== '-') continue;
      const number = found.kind === 'constant' && (typeof found.value === 'number' || typeof found.value === 'bigint');
      found = number ? { ...found, value: -found.value } : part('negate', at, { parts: [found] });
    }
    return found;
  }

  // ---- values ----

  value() {
    const { token } = this;
    if (token.kind !== 'end') this.next++;
    if (token.kind === 'number' || token.kind === 'text') return part('constant', token.at, { value: this.literal(token) });
    if (token.kind === 'sign' && '(['.includes(token.text)) return this.group(token);
    if (token.kind === 'name' && !WORDS.includes(token.text)) return this.named(token);
    throw this.refusal(token.at, `expected a value${token.text && `, not ${repr(token.text)}`}: a number, a text or a name`, true);
  }

  literal(token) {
    const [value, wrong] = literal(token);
    if (wrong) throw this.refusal(token.at, wrong);
    return value;
  }

  group(opened) {
    const close = opened.text === '(' ? ')' : ']', parts = [];
    let list = opened.text === '[';
    while (!this.take(close)) {
      parts.push(this.either());
      if (!this.take(',')) {
        this.expect(close, `for the '${opened.text}' at character ${opened.at + 1}`);
        break;
      }
      list = true;
    }
    return !list && parts.length === 1 ? parts[0] : part('tuple', opened.at, { parts });
  }

  named({ text: name, at }) {
    if (FUNCTIONS.includes(name) && this.take('(')) {
      const inner = this.either();
      this.expect(')', `of ${name}(`);
      return part('call', at, { value: name, parts: [inner] });
    }
    if (Object.hasOwn(CONSTANTS, name)) return part('constant', at, { value: CONSTANTS[name] });
    if (name === 'absent') return part('absent', at);
    if (!NAMES.includes(name)) {
      const meant = near(name, [...NAMES, ...FUNCTIONS, 'absent']);
      throw this.refusal(at, `there is no name ${repr(name)}${meant ? `; did you mean ${meant}?` : ''}`, true);
    }
    const keys = [...this.keys()];
    if (keys.length && name !== 'old' && name !== 'new') this.checkParts(name, at, keys);
    return part('name', at, { value: name, keys });
  }

  * keys() {
    for (let token; (token = this.take('.', '['));) {
      const key = this.token;
      if (key.kind !== 'end') this.next++;
      if (token.text === '.' && key.kind === 'name') {
        yield key.text;
      } else if (token.text === '[' && (key.kind === 'number' || key.kind === 'text')) {
        yield this.literal(key);
        this.expect(']', 'behind an index');
      } else {
        throw this.refusal(key.at, `expected ${token.text === '.' ? 'a name' : 'a number, or a field\'s name in quotes'}`);
      }
    }
  }

  checkParts(name, at, keys) {
    const parts = PARTS[name] ?? [];
    if (keys.length === 1 && parts.includes(keys[0])) return;
    throw this.refusal(at, `${name}: ${parts.length ? `it has ${parts.map((one) => `${name}.${one}`).join(', ')}` : 'it has no parts'}`);
  }
}

/** Why nothing can stand here. */
function noToken(rest) {
  if (rest.startsWith(':')) return 'a variable\'s name stands at the beginning, and a blank behind its colon: total: new < 0';
  if (rest.startsWith('=')) return 'equality is written ==';
  if (rest.startsWith('&&') || rest.startsWith('||')) return 'write and, or';
  if (rest.startsWith('!')) return 'write not';
  if (rest.startsWith('\'') || rest.startsWith('"')) return 'this text has no end';
  const [first] = rest;
  return /^\p{N}/u.test(first) ? 'this is no number' : `${repr(first)} has no meaning here`;
}

module.exports = { names, parted, part, read, refusal };
