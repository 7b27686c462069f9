// What the copies of this package in one thread have in common: the value of this expression, evaluated once, in the main
// realm. So nothing in it keeps the realm of a test file alive, or ends with it.
//
//   learnt    whether the addon knows V8's operations
//   watched   ArrayBuffer over watched pages -> {id, name, sql}
//   drivers   the class Module by which the program loads its modules -> what traces their drivers
//   watching  whether this thread has anything that is watched, or had: since begin()
//   untold    what is told then, by WeakRef: see sql/untold.js
//   refuseTransfers()   see pin.js
//   followsHere(realm, stop)   a test file's copy follows promises; those of the file before, which is over, are stopped
'use strict';

module.exports = `(() => {
  'use strict';
  const watched = new WeakMap();
  let refused = !ArrayBuffer.prototype.transfer;

  function refuse(name) {
    const original = ArrayBuffer.prototype[name];
    const { [name]: value } = {
      [name](...args) {
        if (watched.has(this)) throw new TypeError('ArrayBuffer.prototype.' + name + ': this buffer is watched by memwatch and can\\'t move; unwatch() it first');
        return Reflect.apply(original, this, args);
      },
    };
    Object.defineProperty(value, 'length', { value: original.length, configurable: true });
    Object.defineProperty(ArrayBuffer.prototype, name, { value });
  }

  function refuseTransfers() {
    if (refused) return;
    refused = true;
    refuse('transfer');
    refuse('transferToFixedLength');
  }

  let latest, stops = [];
  function followsHere(realm, stop) {
    if (realm !== latest) for (const each of stops.splice(0)) each();
    latest = realm;
    stops.push(stop);
  }

  return {
    learnt: false,
    watched,
    drivers: new WeakMap(),
    watching: false,
    untold: new Set(),
    begin() {
      if (this.watching) return;
      this.watching = true;
      for (const each of this.untold) each.deref()?.tell();
      this.untold.clear();
    },
    refuseTransfers,
    followsHere,
  };
})()`;
