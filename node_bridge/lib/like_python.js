// What Python's messages are made with: repr() of a text, lines without what steers a terminal, difflib's nearest word. So
// conditions have one wording.
'use strict';

const SHORT = { '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' };

const isPrintable = (one) => one === ' ' || !/[\p{C}\p{Z}]/u.test(one);

function escaped(one) {
  const code = one.codePointAt(0);
  const [letter, digits] = code < 0x100 ? ['x', 2] : code < 0x10000 ? ['u', 4] : ['U', 8];
  return `\\${letter}${code.toString(16).padStart(digits, '0')}`;
}

/** repr() of a str. */
function repr(text) {
  const quote = text.includes('\'') && !text.includes('"') ? '"' : '\'';
  const shown = Array.from(text, (one) => {
    if (one === quote) return `\\${one}`;
    return SHORT[one] ?? (isPrintable(one) ? one : escaped(one));
  });
  return quote + shown.join('') + quote;
}

/** A line of an error, as memwatch_core/printed.py makes it safe for a terminal. */
function line(text) {
  return Array.from(text, (one) => (isPrintable(one) ? one : '\n\r\t'.includes(one) ? ' ' : escaped(one))).join('');
}

/** The longest run that both have within these bounds: [where in a, where in b, how long]; the first of several. */
function longest(a, b, [fromA, toA, fromB, toB]) {
  let best = [fromA, fromB, 0];
  for (let i = fromA; i < toA; i++) {
    for (let j = fromB; j < toB; j++) {
      let n = 0;
      while (i + n < toA && j + n < toB && a[i + n] === b[j + n]) n++;
      if (n > best[2]) best = [i, j, n];
    }
  }
  return best;
}

function matches(a, b, bounds) {
  const [i, j, n] = longest(a, b, bounds), [fromA, toA, fromB, toB] = bounds;
  return n && n + matches(a, b, [fromA, i, fromB, j]) + matches(a, b, [i + n, toA, j + n, toB]);
}

/** difflib.get_close_matches(word, words, n=1): undefined if none is near. */
function near(word, words) {
  const characters = Array.from(word);
  const ratio = (other) => (2 * matches(other, characters, [0, other.length, 0, characters.length])) / (other.length + characters.length);
  const found = words.map((other) => [ratio(Array.from(other)), other]).filter(([how]) => how >= 0.6);
  return found.sort(([a, one], [b, other]) => b - a || (one < other ? 1 : -1))[0]?.[1];
}

module.exports = { line, near, repr };
