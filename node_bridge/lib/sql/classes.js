// Drivers that are ECMAScript modules: no module cache shows them, and their exports can't be replaced. But if they
// have a subclass of Promise, its first promise shows the class early enough to replace its methods.
'use strict';

const { fileURLToPath } = require('node:url');
const { types } = require('node:util');

const { prototype: usual } = Promise;
const known = new WeakSet(); // prototypes
let found, stop;

/** Calls f with each subclass of Promise when its first promise is made, and with the file of the class. */
function follow(f) {
  found = f;
  stop = require('node:v8').promiseHooks.onInit((promise, parent) => parent ?? look(promise));
}

/** From now on, a caller with a hook of its own calls look(). */
function handOver() {
  stop?.();
  stop = undefined;
}

/** Called for a new promise without a parent. */
function look(promise) {
  let prototype = Object.getPrototypeOf(promise);
  if (prototype === usual || found === undefined || prototype === null || known.has(prototype)) return;
  known.add(prototype);
  for (let at = prototype; at !== usual; prototype = at, at = Object.getPrototypeOf(at)) {
    if (at === null || types.isProxy(at)) return; // of another realm
  }
  known.add(prototype);
  const Class = Object.getOwnPropertyDescriptor(prototype, 'constructor')?.value;
  const file = typeof Class === 'function' && constructorsFile();
  if (file) found(Class, file);
}

/** The file of the innermost running constructor, apart from Promise's own. */
function constructorsFile() {
  const { prepareStackTrace, stackTraceLimit } = Error;
  try {
    Error.stackTraceLimit = 10;
    Error.prepareStackTrace = (_, sites) => sites;
    const holder = {};
    Error.captureStackTrace(holder, look);
    const name = holder.stack.find((site) => site.isConstructor() && site.getFileName())?.getFileName();
    return name?.startsWith('file://') ? fileURLToPath(name) : name;
  } catch {
    return undefined; // frozen intrinsics
  } finally {
    try {
      Error.prepareStackTrace = prepareStackTrace;
      Error.stackTraceLimit = stackTraceLimit;
    } catch { /* as above */ }
  }
}

module.exports = { follow, look, handOver };
