// Numbers and texts of a condition, as Python's ast.literal_eval() reads them, and what it says of wrong ones.
'use strict';

const BASES = { x: 'hexadecimal', o: 'octal', b: 'binary' };
const ESCAPES = { '\\': '\\', '\'': '\'', '"': '"', a: '\x07', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t', v: '\v' };
const HEXADECIMAL = { x: 2, u: 4, U: 8 };
const LARGEST = 2n ** 64n;

/** @typedef {[value: bigint | number | string | Buffer | undefined, wrong?: string]} Literal */

/** @returns {Literal} */
const unread = (why) => [undefined, `this can't be read: ${why}`];

/**
 * A token's value, or what is wrong with it.
 * @returns {Literal}
 */
function literal({ kind, text }) {
  return kind === 'number' ? number(text) : textOf(text);
}

/** @returns {Literal} */
function number(text) {
  const foreign = /[^\x00-\x7f]/u.exec(text); // eslint-disable-line no-control-regex -- all of ASCII
  if (foreign) return unread(`invalid character '${foreign[0]}' (U+${Number(foreign[0].codePointAt(0)).toString(16).toUpperCase().padStart(4, '0')})`);
  const based = /^0([xob])(.*)$/i.exec(text);
  if (based) {
    const base = based[1].toLowerCase();
    return /^(_?[0-9a-f]+)+$/i.test(based[2]) ? whole(`0${base}${based[2]}`) : unread(`invalid ${BASES[base]} literal`);
  }
  const groups = /^(\d(?:_?\d)*)?(\.(?:\d(?:_?\d)*)?)?(?:e[+-]?\d(?:_?\d)*)?$/i.exec(text);
  if (!groups) return unread('invalid decimal literal');
  if (groups[2] !== undefined || /e/i.test(text)) return [Number(text.replaceAll('_', ''))];
  if (/^0[0_]*[1-9]/.test(text)) return unread('leading zeros in decimal integer literals are not permitted; use an 0o prefix for octal integers');
  return whole(text);
}

/** @returns {Literal} */
function whole(text) {
  const value = BigInt(text.replaceAll('_', '').replace(/^0+(?=\d)/, ''));
  return value >= LARGEST ? [undefined, 'a whole number of a condition has at most 64 bits'] : [value];
}

/** @returns {Literal} */
function textOf(text) {
  const prefix = /^[bBrR]/.exec(text)?.[0].toLowerCase() ?? '';
  const body = text.slice(prefix.length + 1, -1);
  if (prefix === 'b') return bytesOf(body);
  if (body.includes('\0')) return unread('source code string cannot contain null bytes');
  if (body.includes('\r')) return unread('unterminated string literal (detected at line 1)');
  const [value, wrong] = prefix === 'r' ? [body] : unescaped(body);
  if (wrong) return unread(wrong);
  return /\p{Cs}/u.test(value) ? unread('utf-8') : [value];
}

/** @returns {Literal} */
function bytesOf(body) {
  if (body.includes('\\u')) return [undefined, 'bytes have no \\u'];
  if (/[^\x00-\x7f]/.test(body)) return unread('bytes can only contain ASCII literal characters'); // eslint-disable-line no-control-regex -- all of ASCII
  const wrong = /^(?:[^\\]|\\[^x]|\\x[0-9a-fA-F]{2})*?(?=\\x(?![0-9a-fA-F]{2}))/.exec(body);
  if (wrong) return unread(`(value error) invalid \\x escape at position ${wrong[0].length}`);
  const value = body.replace(/\\(?:x([0-9a-fA-F]{2})|([0-7]{1,3})|([^]))/g, (all, hex, octal, simple) =>
    simple === undefined ? String.fromCharCode(parseInt(hex ?? octal, hex ? 16 : 8) & 255) : ESCAPES[simple] ?? all);
  return [Buffer.from(value, 'latin1')];
}

/** @returns {[value: string, wrong?: string]} */
function unescaped(body) {
  let value = '', place = 0; // where Python is, which has written each character beyond ASCII as \U0001f600
  for (const [all, digits, simple] of body.matchAll(/\\(?:([0-7]{1,3})|([^]))|[^\\]/gu)) {
    if (digits !== undefined) value += String.fromCodePoint(parseInt(digits, 8));
    else if (simple === undefined) value += all;
    else if (simple in HEXADECIMAL) return hexadecimal(body, value, place, simple);
    else if (simple === 'N') return [value, '\\N is Python\'s alone: write the character itself, or \\u and its number'];
    else value += ESCAPES[simple] ?? all;
    place += width(all);
  }
  return [value];
}

const width = (text) => Array.from(text).reduce((sum, one) => sum + (one.codePointAt(0) > 127 ? 10 : 1), 0);

/**
 * What follows the first escape with hexadecimal digits.
 * @returns {[value: string, wrong?: string]}
 */
function hexadecimal(body, before, place, letter) {
  const start = startOf(body, letter), count = HEXADECIMAL[letter];
  const [digits = ''] = /^[0-9a-fA-F]*/.exec(body.slice(start + 2, start + 2 + count)) ?? [];
  /** @returns {[value: string, wrong?: string]} */
  const wrong = (why, length) => [before, `(unicode error) 'unicodeescape' codec can't decode bytes in position ${place}-${place + length}: ${why}`];
  if (digits.length < count) return wrong(`truncated \\${letter}${'X'.repeat(count)} escape`, digits.length + 1);
  const code = parseInt(digits, 16);
  if (code > 0x10ffff) return wrong('illegal Unicode character', count + 1);
  const rest = body.slice(start + 2 + count);
  const [value, why] = unescaped(rest);
  const moved = why?.replace(/position (\d+)-(\d+)/, (_, from, to) => `position ${Number(from) + place + count + 2}-${Number(to) + place + count + 2}`);
  return [before + String.fromCodePoint(code) + value, moved];
}

/** Where that escape begins: behind a backslash that isn't escaped itself. */
function startOf(body, letter) {
  const match = new RegExp(`^(?:[^\\\\]|\\\\(?!${letter})[^])*?(?=\\\\${letter})`).exec(body);
  return match ? match[0].length : 0;
}

module.exports = { literal };
