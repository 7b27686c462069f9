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

/**
 * Calls f with the value of a property, and with each that it is given when it isn't there. Setting what isn't there asks
 * the prototype: that has the accessor, also after the property is deleted. The object itself stays as it would be.
 */
function expect(object, name, f) {
  const value = Object.getOwnPropertyDescriptor(object, name)?.value;
  let above = Object.getPrototypeOf(object);
  if (!above || !Object.hasOwn(above, name)) {
    if (!above || !Object.getPrototypeOf(above)) Object.setPrototypeOf(object, above = Object.create(above)); // not of all objects
    Object.defineProperty(above, name, {
      configurable: true,
      set(value) {
        Reflect.defineProperty(this, name, { value, writable: true, enumerable: true, configurable: true });
        if (this !== object) return;
        try {
          f(value);
        } catch { /* as above */ }
      },
    });
  }
  if (value) f(value);
}

module.exports = { lookOut, API };
