// What is known of a statement before it is run: the beginning of its record, and what it does to the transaction.
'use strict';

const { keyed } = require('./hashes');
const t = require('./statements');

const MOST = 512; // of a driver
const MOST_TEXT = 2 * t.LIMIT + 2; // UTF-16 units of a statement that are looked at

class Heads {
  #key;
  #all = new Map(); // driver -> dialect -> statement -> head

  constructor(key) {
    this.#key = key;
  }

  /** Made once, as long as it is among the last few hundred. */
  of(where, driver, statement, dialect) {
    const heads = where.driver === driver && where.dialect === dialect ? where.heads : this.#heads(where, driver, dialect);
    const given = typeof statement !== 'string' ? null : statement.length > MOST_TEXT ? statement.slice(0, MOST_TEXT) : statement;
    return heads.get(given) ?? this.#make(heads, driver, given, typeof statement, dialect);
  }

  #make(heads, driver, given, type, dialect) {
    const { text, action, does, savepoint } = given === null ? { text: `<${type}>`, action: t.NOTHING, does: 0, savepoint: '' } : t.read(given, dialect);
    const hash = keyed(this.#key, 'statement', text).toString('hex', 0, 8);
    const bytes = Buffer.from(`{"driver":${JSON.stringify(driver)},"statement":${JSON.stringify(text)},"statement_hash":"${hash}"`);
    const head = { text, bytes, action, does, savepoint };
    if (heads.size >= MOST) heads.clear();
    heads.set(given, head);
    return head;
  }

  #heads(where, driver, dialect) {
    let dialects = this.#all.get(driver);
    if (!dialects) this.#all.set(driver, dialects = new Map());
    let heads = dialects.get(dialect);
    if (!heads) dialects.set(dialect, heads = new Map());
    if (where.dialect === dialect) [where.driver, where.heads] = [driver, heads];
    return heads;
  }
}

module.exports = { Heads };
