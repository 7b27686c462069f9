// Makes printed text safe for a terminal: memwatch_core/printed.py explains what is escaped.
'use strict';

// eslint-disable-next-line no-control-regex -- these are what it looks for
const STEERING = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]|\p{Cs}/gu;

/** Text, perhaps of several lines, that is safe for a terminal. */
function clean(text) {
  return String(text).replace(STEERING, (c) => {
    const code = c.charCodeAt(0);
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`;
  });
}

/** Prints a message of ours to standard error: always one line. */
function say(text) {
  process.stderr.write(`memwatch: ${clean(text).replaceAll('\n', ' ')}\n`);
}

module.exports = { clean, say };
