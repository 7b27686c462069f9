// Replaces functions of a library in place.
'use strict';

const { types } = require('node:util');

/**
 * Replaces `owner[name]` by `make(original)`, with the original's name, length and property attributes. Does nothing
 * if it isn't a function. Returns whether it was.
 */
function replace(owner, name, make) {
  const property = owner && Object.getOwnPropertyDescriptor(owner, name);
  const original = property?.value;
  if (typeof original !== 'function' || !(property.writable || property.configurable)) return false;
  const replacement = make(original);
  for (const each of ['name', 'length']) {
    const { value } = Object.getOwnPropertyDescriptor(original, each) ?? {};
    Object.defineProperty(replacement, each, { value, configurable: true });
  }
  for (const each of Reflect.ownKeys(original)) {
    if (Object.hasOwn(replacement, each)) continue;
    Object.defineProperty(replacement, each, Object.getOwnPropertyDescriptor(original, each) ?? {});
  }
  Object.defineProperty(owner, name, { ...property, value: replacement });
  return true;
}

/** The object itself or the prototype that has the property as its own; null: none. */
function owner(object, name) {
  let at = object;
  while (at && !Object.hasOwn(at, name)) at = Object.getPrototypeOf(at);
  return at;
}

/** A property of the program's object, read without running its code; undefined for a getter or a proxy. */
function peek(object, name) {
  let at = object;
  while ((typeof at === 'object' || typeof at === 'function') && at !== null && !types.isProxy(at)) {
    const property = Object.getOwnPropertyDescriptor(at, name);
    if (property) return property.value;
    at = Object.getPrototypeOf(at);
  }
  return undefined;
}

module.exports = { replace, owner, peek };
