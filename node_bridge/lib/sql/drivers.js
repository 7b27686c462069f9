// Which drivers are traced, and when: none before something asks for SQL. Then a driver plugin is asked to patch its target when the program has loaded it, by
// require or import, and never loads it by itself.
//
// A plugin is a module {name, target, files, install(exports, tools, file)}: docs/sql.md, "Writing a driver for Node.js". Under
// `memwatch run` the configuration names the plugins, and drivers.json in the session's folder says where they are;
// without the host, a plugin is used if it is installed beside the target or the program: see `packages`.
'use strict';

const fs = require('node:fs');
const Module = /** @type {any} */ (require('node:module'));
const path = require('node:path');
const { ofSession } = require('../asked');
const contexts = require('../contexts');
const files = require('../files');
const { foreign } = require('../loader');
const { batches, batchers } = require('./batchers');
const classes = require('./classes');
const hashes = require('./hashes');
const { Tracer } = require('./tracer');
const { say } = require('../printed');
const { replace, owner, peek } = require('./patches');

const PACKAGE = /^(.*[\\/]node_modules[\\/]((?:@[^\\/]+[\\/])?[^\\/]+))[\\/]/s; // the innermost one
const named = ofSession('drivers.json');
const configured = named && (named.node ?? {}); // name of a target -> the plugin's module; undefined: nobody has said
const tracer = new Tracer();
const known = new Map(); // name of a package -> its plugin, or null
const patched = new WeakSet(); // exports
const required = new Set(); // files of CommonJS
const tools = { tracer, replace, owner, peek, batches: (object, name) => batches(tracer, object, name) };
const of = { fresh: Object.freeze({ ...tools, fresh: true }), used: Object.freeze({ ...tools, fresh: false }) };
let started = false, early = false;

/**
 * Follows what the program loads from now on; what it has loaded already is patched at once. Called before the program's
 * first line, with `first`, if the session's settings ask for SQL; otherwise by the first watch() with trackSQL.
 */
function start(first = false) {
  if (started) {
    if (foreign) scan(); // what was loaded since the last watch()
    return;
  }
  [started, early] = [true, first];
  // Every module enters the cache before it is run, CommonJS that is imported as well. Seen there, no function of ours is
  // on the stack when the program's modules run: their errors look as ever.
  Module._cache = new Proxy(Module._cache, {
    set(cache, filename, module) {
      cache[filename] = module;
      expect(filename, module);
      return true;
    },
  });
  scan();
  classes.follow(imported);
}

function scan() {
  for (const filename of Object.keys(require.cache)) loaded(filename, require.cache[filename], of.used);
}

/** A module is about to be run: if it is a driver's, that is the time to wait for its end. */
function expect(filename, module) {
  try {
    const { plugin } = (module && target(filename)) ?? {};
    if (!plugin) return;
    const name = plugin.replacesExports ? '_compile' : 'load'; // load() ends when Node has noted the exports for importers
    const { [name]: original } = module;
    Object.defineProperty(module, name, {
      configurable: true,
      value() {
        delete this[name];
        const result = Reflect.apply(original, this, arguments);
        loaded(filename, this, of.fresh, true);
        return result;
      },
    });
  } catch (error) {
    tracer.trouble(error);
  }
}

/** The plugin for a file, and what it calls the file; undefined: there is none. */
function target(filename) {
  const match = typeof filename === 'string' && PACKAGE.exec(filename);
  if (!match) return undefined;
  const [, folder, name] = match;
  if (!known.has(name)) known.set(name, find(name, folder));
  const plugin = known.get(name);
  if (!plugin) return undefined;
  const file = path.relative(folder, filename);
  return (plugin.files ? plugin.files.includes(file) : isMain(filename, folder, name)) ? { plugin, file } : undefined;
}

function loaded(filename, module, tools, complete = module.loaded) {
  try {
    const { plugin, file } = target(filename) ?? {};
    const { exports } = module;
    if (!plugin || !complete) return;
    if ((typeof exports !== 'object' && typeof exports !== 'function') || exports === null || patched.has(exports)) return;
    patched.add(exports);
    required.add(filename);
    if (!batchers.has(plugin.target)) begin();
    plugin.install(exports, tools, file, module);
    patched.add(module.exports);
  } catch (error) {
    tracer.trouble(error);
  }
}

/** The first promise of a class is made, of a file that was imported. */
function imported(Class, filename) {
  try {
    const { plugin, file } = target(filename) ?? {};
    if (!plugin || required.has(filename)) return;
    begin();
    plugin.install({ [Class.name]: Class }, early ? of.fresh : of.used, file);
  } catch (error) {
    tracer.trouble(error);
  }
}

/** A driver is there. */
function begin() {
  contexts.start();
  hashes.load();
}

function isMain(filename, folder, name) {
  try {
    return Module.createRequire(path.join(folder, 'package.json')).resolve(name) === fs.realpathSync(filename);
  } catch {
    return false;
  }
}

function find(name, folder) {
  const file = configured ? configured[name] : beside(name, folder);
  if (!file) return batchers.get(name) ?? null;
  const plugin = require(file);
  if (plugin?.target === name && typeof plugin.install === 'function') return plugin;
  say(`${file} is no SQL driver plugin for ${name}; it isn't traced`);
  return null;
}

/**
 * The npm packages that can hold the plugin for a target: ours, then others'. `node-` stands where a library of Python has
 * the target's name, and in whatever isn't ours: so none is called as what PyPI has for another library.
 */
function packages(name) {
  return [`@memwatch/sql-${name}`, `@memwatch/sql-node-${name}`, `memwatch-sql-node-${name}`];
}

/** The plugin that is installed where the target is, or where the program is; not one that others may have put there. */
function beside(name, folder) {
  if (name.startsWith('@') || name.startsWith('memwatch')) return null;
  for (const from of [folder, process.argv[1]]) {
    if (typeof from !== 'string' || !path.isAbsolute(from)) continue;
    const { resolve } = Module.createRequire(from);
    for (const wanted of packages(name)) {
      let file, why;
      try {
        file = fs.realpathSync(resolve(wanted));
        why = files.distrust(file);
      } catch {
        continue; // not there
      }
      if (!why) return file;
      say(`${file} is not used: ${why}; npm install ${wanted} in a folder of your own`);
    }
  }
  return null;
}

module.exports = { start, tracer };
