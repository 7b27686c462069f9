// Whether a connection is in a transaction, by the texts of its statements: for libraries that don't let out what the
// server says.
'use strict';

const t = require('./statements');

const CONTROLS = /\b(?:begin|start|commit|end|rollback|abort|transaction|savepoint|release)\b/i;

class Following {
  /** @type {boolean | undefined} */
  open; // undefined: it isn't known
  #dialect;
  #savepoints = []; // SQLite: {name, begins}

  constructor(dialect, open) {
    this.#dialect = dialect;
    this.open = open;
  }

  /** After statements were run. */
  after(text) {
    const read = this.#read(text);
    if (!read) return this.open;
    const { does } = read, leaves = does & (t.LEAVES_OPEN | t.LEAVES_NONE);
    if (leaves) {
      this.open = leaves === t.LEAVES_OPEN ? true : leaves === t.LEAVES_NONE ? false : undefined;
      this.#savepoints = [];
    }
    if (this.#dialect === 'sqlite') for (const [sign, name] of savepoints(read)) this.#follow(sign, name);
    return this.open;
  }

  /** After one of them has failed; `commits`: a COMMIT that fails rolls back. */
  failed(text, commits) {
    const read = this.#read(text);
    if (!read) return this.open;
    if (read.action === t.SEVERAL && (read.does & (t.LEAVES_OPEN | t.LEAVES_NONE) || read.savepoint)) this.open = undefined;
    else if (commits && this.open !== false && (read.action === t.COMMITS || read.action === t.PREPARES)) this.open = false;
    return this.open;
  }

  #read(text) {
    return CONTROLS.test(text) ? t.read(text, this.#dialect) : undefined;
  }

  #follow(sign, name) {
    if (sign === '+') {
      this.#savepoints.push({ name, begins: this.open === false });
      if (this.open === false) this.open = true;
    } else if (sign === '-') {
      const at = this.#savepoints.findLastIndex((savepoint) => savepoint.name === name);
      if (at >= 0 && this.#savepoints.splice(at)[0].begins) this.open = false;
    }
  }
}

function savepoints(read) {
  if (read.action === t.SEVERAL) return t.operations(read).behind;
  const sign = read.action === t.SETS_SAVEPOINT ? '+' : read.action === t.RELEASES ? '-' : '';
  return sign ? [[sign, read.savepoint]] : [];
}

module.exports = { Following };
