// State that all copies of this package in one thread share: the value of this expression, evaluated once, in the main
// realm. So it neither keeps the realm of a test file alive nor ends with it.
//
//   learnt    whether the addon knows V8's operations
//   watched   ArrayBuffer over watched pages -> {id, name, sql}
//   drivers   the program's class Module -> the tracing of drivers that it loads
//   watching  whether this thread watches anything, or did: set by begin()
//   requests  labels and spans: of the first copy that is asked for them
//   judged    whether conditions ask for the SQL statement in force
//   untold    records to be written then, by WeakRef: see sql/untold.js
//   whenWatching(f)     calls f then, or now
//   refuseTransfers()   see pin.js
//   followsHere(realm, stop)   a test file's copy follows promises; stops the copies of the file before
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
    refuse('transfer');
    refuse('transferToFixedLength');
    refused = true;
  }

  let latest, stops = [];
  function followsHere(realm, stop) {
    if (realm !== latest) for (const each of stops.splice(0)) each();
    latest = realm;
    stops.push(stop);
  }

  const begins = [];
  return {
    learnt: false,
    watched,
    drivers: new WeakMap(),
    watching: false,
    requests: undefined,
    judged: false,
    untold: new Set(),
    begin() {
      if (this.watching) return;
      this.watching = true;
      for (const f of begins.splice(0)) f();
      for (const each of this.untold) each.deref()?.tell();
      this.untold.clear();
    },
    whenWatching(f) {
      if (this.watching) f();
      else begins.push(f);
    },
    refuseTransfers,
    followsHere,
  };
})()`;
