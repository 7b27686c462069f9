// What a statement that was run means for the transaction of its connection, and what the end of one means for its
// statements.
'use strict';

const { outcomeOf, FAILED, COMMITTED, ROLLED_BACK } = require('./records');
const t = require('./statements');

class Transactions {
  /** `finish(statement, outcome)` puts one out of force; `record` is written, of a transaction as a whole. */
  constructor(finish, record) {
    this.finish = finish;
    this.record = record;
  }

  /** It has been run: what that means for the transaction. True if the statement goes out of force with it. */
  // eslint-disable-next-line complexity -- one branch a case
  settle(s, known, error, rolledBack) {
    const c = s.where;
    let { action } = s.head;
    const several = action === t.SEVERAL;
    if (several) {
      const out = this.#settleSeveral(s, known, error, rolledBack);
      if (out !== undefined) return out;
      action = t.NOTHING;
    }
    if (error && known && c.dialect === 'postgresql') c.failed = true;
    if (error && !(known === false && commitsBefore(action))) action = t.NOTHING; // it did nothing, as far as we know
    if (c.assumed && action === t.BEGINS) this.#begun(c);
    const begins = !c.transaction;
    if (c.transaction && commitsBefore(action)) {
      this.over(c, COMMITTED, false, s);
    } else if (c.transaction && (known === false || endsTransaction(action))) {
      s.transaction = c.transaction;
      if (error) {
        s.word = FAILED;
        this.finish(s, outcomeOf(error));
      }
      const back = error || rolledBack || action === t.ROLLS_BACK;
      // SQLite alone refuses a ROLLBACK of nothing.
      const unknown = action === t.PREPARES || (action === t.ROLLS_BACK && c.assumed && c.dialect !== 'sqlite');
      this.over(c, unknown ? '' : back ? ROLLED_BACK : COMMITTED, false);
      return true;
    }
    if (known === false) {
      s.autocommit = !error;
      c.savepoints = [];
      return false;
    }
    // Unknown counts as open, unless the text says otherwise.
    if (!c.number || endsTransaction(action) || action === t.COMMITS_BEFORE) return false;
    if (known === undefined && !c.transaction && error) return false;
    if (begins) [c.transaction, c.assumed] = [s.id, known === undefined && action !== t.BEGINS && action !== t.COMMITS_AND_BEGINS];
    else if (known) c.assumed = false;
    s.transaction = c.transaction;
    if (action === t.SETS_SAVEPOINT) {
      this.setSavepoint(c, s.head.savepoint, s.id + 1, begins && !c.assumed);
    } else if (action === t.ROLLS_BACK_TO) {
      this.rollBackTo(c, s.head.savepoint, s.id + 1, s);
      this.finish(s, 'ended');
      return true;
    } else if (action === t.RELEASES && this.releaseSavepoint(c, s.head.savepoint) && !known) {
      this.over(c, COMMITTED, false);
      return true;
    } else if (several && !error) {
      this.#settleSavepoints(s, t.operations(s.head).behind);
    }
    return false;
  }

  /**
   * Several statements in one text: what can't be known stays untold. Undefined: they are like any one, in the transaction
   * that is open then.
   */
  // eslint-disable-next-line complexity -- one branch a case of transactions
  #settleSeveral(s, known, error, rolledBack) {
    const c = s.where, { does, savepoint } = s.head, { first, inside, alone } = t.fates(s.head);
    if (!c.number) return undefined;
    const starts = does & t.LEAVES_OPEN && !(does & (t.BEGINS_BY_END | t.BEGINS_BY_WORK)) && c.dialect !== 'mysql';
    if (c.assumed && !error && starts) this.#begun(c);
    const before = c.transaction, { before: operations, behind } = t.operations(s.head);
    const ends = before && (does & t.ENDS || known === false || (error && savepoint.includes('<')));
    const might = c.assumed ? inside | alone : before ? inside : alone;
    let own = error ? 0 : might, word = '';
    if (ends) word = firstEnd(first, does & t.BEGINS_BY_END, known, error, rolledBack, c);
    if (before && !error) this.#settleSavepoints(s, operations);
    if (ends) {
      if (error) {
        s.word = FAILED;
        s.transaction = word ? before : 0;
        this.finish(s, outcomeOf(error));
      }
      this.over(c, word, false, s);
      if (error) return true;
    }
    if (!(own & ~t.GOES_ON) && (own || !ends)) return undefined;
    const open = own & t.GOES_ON && known !== false;
    if (own & t.GOES_ON && !open) own = (own & ~t.GOES_ON) | t.COMMITTED; // committed by itself
    s.word = own === 0 ? word : own === t.COMMITTED ? COMMITTED : own === t.ROLLED_BACK ? ROLLED_BACK : '';
    s.transaction = !s.word ? 0 : ends && s.word === word ? before : s.id;
    if (open) this.#settleSavepoints(s, behind);
    if (might & t.GOES_ON) return false;
    this.finish(s, 'ended');
    return true;
  }

  #settleSavepoints(s, operations) {
    const c = s.where;
    for (const [sign, name] of operations) {
      if (sign === '+') this.setSavepoint(c, name, s.id + 1, false);
      else if (sign === '-') this.releaseSavepoint(c, name);
      else if (sign === '<') this.rollBackTo(c, name, s.id, s);
      else for (const each of c.savepoints) if (each.since === s.id + 1) each.since = s.id; // what the text did goes, too
    }
  }

  /** The transaction is over, and its statements go out of force; with the connection, all of it. `but`: not this one. */
  over(c, word, closed, but) {
    const { transaction, told } = c;
    c.transaction = 0;
    c.assumed = c.told = c.failed = false;
    c.savepoints = [];
    for (const s of c.unfinished()) {
      const inside = transaction && s.transaction === transaction;
      if (s.running || s === but || (!inside && !closed)) continue; // others are of flows that had the connection before
      if (inside && !s.word) s.word = word;
      this.finish(s, closed ? 'closed' : 'ended');
    }
    if (told && word) this.#scope(word, transaction, '"transaction"');
  }

  /**
   * A transaction begins where nobody knew whether one was open: SQLite would have refused that. Statements from before stay
   * in force, in their flows.
   */
  #begun(c) {
    const word = c.dialect === 'sqlite' ? COMMITTED : '';
    for (const s of c.unfinished()) if (s.transaction === c.transaction) s.word ||= word;
    if (c.told && word) this.#scope(word, c.transaction, '"transaction"');
    c.transaction = 0;
    c.assumed = c.told = false;
    c.savepoints = [];
  }

  #scope(word, transaction, scope) {
    this.record({ id: transaction, text: `{"outcome":"${word}","scope":${scope}}` });
  }

  setSavepoint(c, name, since, begins) {
    if (c.dialect === 'mysql') c.savepoints = c.savepoints.filter((each) => each.name !== name); // elsewhere it is only hidden
    c.savepoints.push({ name, since, begins: begins && c.dialect === 'sqlite' });
  }

  /** True if it began the transaction, which its release commits. */
  releaseSavepoint(c, name) {
    const at = c.savepoints.findLastIndex((each) => each.name === name);
    return at >= 0 && c.savepoints.splice(at)[0].begins;
  }

  rollBackTo(c, name, next, but) {
    const at = c.savepoints.findLastIndex((each) => each.name === name);
    c.failed = false;
    if (at < 0) return; // set where nobody told us: what came after it isn't known
    c.savepoints.length = at + 1; // itself, it stays
    const { since } = c.savepoints[at];
    c.savepoints[at].since = next;
    if (!c.transaction) return;
    for (const s of c.unfinished()) {
      if (s.transaction !== c.transaction || s.id < since || s.running || s === but) continue;
      s.word ||= ROLLED_BACK;
      this.finish(s, 'ended');
    }
    this.#scope(ROLLED_BACK, c.transaction, `"savepoint","since":${since}`);
  }
}

function commitsBefore(action) {
  return action === t.COMMITS_BEFORE || action === t.COMMITS_AND_BEGINS;
}

function endsTransaction(action) {
  return action === t.COMMITS || action === t.ROLLS_BACK || action === t.PREPARES;
}

/** How a text of several statements ended the transaction that was open before it; '': that can't be known. */
function firstEnd(first, byFirst, known, error, rolledBack, { assumed, dialect, failed }) {
  if (error && known !== false) return ''; // perhaps it goes on, perhaps it is another one
  if (!first) return error || rolledBack ? ROLLED_BACK : COMMITTED;
  if (first === t.ROLLED_BACK) return assumed && dialect !== 'sqlite' ? '' : ROLLED_BACK;
  return first === t.COMMITTED && !error && !(byFirst && (rolledBack || failed)) ? COMMITTED : '';
}

module.exports = { Transactions };
