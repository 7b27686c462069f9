// Looks out for OpenTelemetry: every copy of its API puts what it is given where all of them find it, under a symbol of
// the global object. Every program loads this file, so it does no more than that.
'use strict';

const API = Symbol.for('opentelemetry.js.api.1');

/** Has the context manager followed that the API has, or will be given. Again and again: a program may give it another. */
function lookOut() {
  try {
    expect(globalThis, API, (api) => expect(api, 'context', require('./requests').follow));
  } catch { /* objects that can't be changed: then there are no spans */ }
}

/** Calls f with the value of a property, as soon as it has one. */
function expect(object, name, f) {
  const property = Object.getOwnPropertyDescriptor(object, name);
  if (property?.value) f(property.value);
  if (property) return; // or it is expected already
  Object.defineProperty(object, name, {
    configurable: true,
    enumerable: true,
    get() {
      return undefined;
    },
    set(value) {
      Object.defineProperty(object, name, { value, writable: true, enumerable: true, configurable: true });
      try {
        f(value);
      } catch { /* as above */ }
    },
  });
}

module.exports = { lookOut };
