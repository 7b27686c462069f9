// Watched pages can't move: a buffer that is transferred would go on as a copy that nobody watches, without a word. In
// Node 24 and later the addon gives it a key, and whoever tries gets a TypeError. Earlier versions abort the process when they meet
// such a key, so there Node is told, and the two methods that don't ask Node are replaced.
'use strict';

const { markAsUntransferable } = require('node:worker_threads');

const [v8] = process.versions.v8.split('.').map(Number);
const pinned = new WeakSet();
let replaced = false;

function pin(buffer) {
  if (v8 >= 13) return;
  markAsUntransferable(buffer);
  pinned.add(buffer);
  if (replaced || !ArrayBuffer.prototype.transfer) return;
  replaced = true;
  refuse('transfer');
  refuse('transferToFixedLength');
}

function refuse(name) {
  const original = ArrayBuffer.prototype[name];
  const { [name]: replacement } = {
    [name](...args) {
      if (pinned.has(this)) throw new TypeError(`ArrayBuffer.prototype.${name}: this buffer is watched by memwatch and can't move; unwatch() it first`);
      return Reflect.apply(original, this, args);
    },
  };
  Object.defineProperty(replacement, 'length', { value: original.length, configurable: true });
  Object.defineProperty(ArrayBuffer.prototype, name, { value: replacement });
}

module.exports = { pin };
