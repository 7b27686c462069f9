'use strict';

const { clean } = require('./printed');

/** Cleans the cause, which Node prints for an uncaught error, with file names in it. */
function harmless(options) {
  for (const key of ['message', 'stack', 'path']) {
    if (typeof options?.cause?.[key] === 'string') options.cause[key] = clean(options.cause[key]);
  }
  return options;
}

/** The session can't be opened or is over. `code` is "ERR_MEMWATCH_SESSION". */
class SessionError extends Error {
  constructor(message, options) {
    super(clean(message), harmless(options));
    this.name = 'SessionError';
    this.code = /** @type {const} */ ('ERR_MEMWATCH_SESSION');
  }
}

/** The core refused: see its message. `code` is "ERR_MEMWATCH_CORE", `errno` the number in memwatch.h. */
class CoreError extends Error {
  constructor(message, options) {
    super(clean(message), harmless(options));
    this.name = 'CoreError';
    this.code = /** @type {const} */ ('ERR_MEMWATCH_CORE');
    this.errno = options?.cause?.errno;
  }
}

/**
 * A condition (`when`) can't be read, or asks for something that a variable hasn't; or there is no such action. The message
 * shows where. `code` is "ERR_MEMWATCH_CONDITION".
 */
class ConditionError extends Error {
  /** @param {string | string[]} [text] its lines */
  constructor(text = '') {
    const lines = typeof text === 'string' ? [text] : text;
    super(lines.map(require('./like_python').line).join('\n'));
    this.name = 'ConditionError';
    this.code = /** @type {const} */ ('ERR_MEMWATCH_CONDITION');
    /** What is wrong, in one line. */
    this.why = lines.slice(2).map((line) => line.replace(/^[ ^]+|[ ^]+$/g, '')).join('; ') || lines[0];
  }
}

/** Calls into the core; its errors become a CoreError whose message begins with `what`. */
function core(what, call) {
  try {
    return call();
  } catch (cause) {
    throw new CoreError(`${what}: ${cause.message}${cause.reason ? ` (${cause.reason})` : ''}`, { cause });
  }
}

module.exports = { SessionError, CoreError, ConditionError, core };
