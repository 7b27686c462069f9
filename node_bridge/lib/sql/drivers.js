// When drivers are traced: not before something asks for SQL. From then on, a driver plugin patches its target once the
// program has loaded it, by require or import; nothing is loaded on our own account.
//
// A plugin is a module {name, target, files, install(exports, tools, file)}: docs/sql.md, "Writing a driver for
// Node.js". Under `memwatch run` the configuration names the plugins, and drivers.json in the session's folder has
// their paths. Otherwise a plugin is used if it is installed beside the target or the program: see `packages`.
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
const { Following } = require('./following');
const { replace, owner, peek } = require('./patches');

const PACKAGE = /^(.*[\\/]node_modules[\\/]((?:@[^\\/]+[\\/])?[^\\/]+))[\\/]/s; // the innermost package
const named = ofSession('drivers.json');
const configured = named && (named.node ?? {}); // target's name -> the plugin's module; undefined: not configured
const tracer = new Tracer();
const known = new Map(); // name of a package -> its plugin, or null
const linked = new Map(); // folder in no node_modules -> the package that it belongs to, or null
const patched = new WeakSet(); // exports
const required = new Set(); // files of CommonJS
const tools = {
  tracer, replace, owner, peek, batches: (object, name) => batches(tracer, object, name),
  following: (dialect, open) => new Following(dialect, open),
};
const of = { fresh: Object.freeze({ ...tools, fresh: true }), used: Object.freeze({ ...tools, fresh: false }) };
let started = false, early = false;

/**
 * Follows what the program loads from now on, and patches at once what it has loaded already. Called before the
 * program's first line, with `first`, if the session's settings ask for SQL; otherwise by the first watch() with
 * trackSQL.
 */
function start(first = false) {
  if (started) {
    if (foreign) scan(); // loaded since the last watch()
    return;
  }
  [started, early] = [true, first];
  // Every module enters the cache before it runs, imported CommonJS as well. Noticed there, no function of ours is on
  // the stack when the program's modules run: their stack traces look as usual.
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

/** Called before a module runs: if it is a driver's, patches it after it has run. */
function expect(filename, module) {
  try {
    const { plugin } = (module && target(filename)) ?? {};
    if (!plugin) return;
    const name = plugin.replacesExports ? '_compile' : 'load'; // load() ends when Node has noted the exports for importers
    const { [name]: original } = module;
    Object.defineProperty(module, name, {
      configurable: true,
      writable: true, // compilers put their own around it
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

/** The plugin for a file, and the file's path in its package; undefined: none. */
function target(filename) {
  if (typeof filename !== 'string') return undefined;
  const [, folder, name] = PACKAGE.exec(filename) ?? linkedPackage(path.dirname(filename)) ?? [];
  if (!name) return undefined;
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

/** Called for the first promise of a class in an imported file. */
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

/** Called with the first driver. */
function begin() {
  contexts.start();
  hashes.load();
}

function isMain(filename, folder, name) {
  const { resolve } = Module.createRequire(path.join(folder, 'package.json'));
  const real = attempt(() => fs.realpathSync(filename)); // none of a file that isn't one
  // A linked package isn't found by its name, nor by its folder what `exports` alone names.
  return real !== undefined && [name, folder].some((wanted) => attempt(() => fs.realpathSync(resolve(wanted))) === real);
}

function attempt(f) {
  try {
    return f();
  } catch {
    return undefined;
  }
}

/** [folder, folder, name] of a package that the program has in its node_modules as a link to elsewhere: one of a workspace. */
function linkedPackage(folder) {
  if (linked.has(folder)) return linked.get(folder);
  const name = attempt(() => JSON.parse(fs.readFileSync(path.join(folder, 'package.json'), 'utf8')).name);
  const above = path.dirname(folder);
  let found = null;
  if (typeof name === 'string') found = isLinked(name, folder) ? [folder, folder, name] : null;
  else if (above !== folder) found = linkedPackage(above); // a package.json without a name says of what kind the files below are
  linked.set(folder, found);
  return found;
}

function isLinked(name, folder) {
  const places = programs().flatMap((from) => Module.createRequire(from).resolve.paths(name) ?? []);
  return places.some((place) => attempt(() => fs.realpathSync(path.join(place, name))) === folder);
}

/** From where the program requires: its script, or the working folder if there is none (`--eval`, a worker with `eval`). */
function programs() {
  const [, script] = process.argv;
  const isFile = typeof script === 'string' && path.isAbsolute(script) && /** @type {any} */ (process)._eval === undefined;
  if (!isFile) return [path.join(attempt(() => process.cwd()) ?? path.sep, 'program.js')];
  return [...new Set([attempt(() => fs.realpathSync(script)) ?? script, script])];
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
 * The npm packages that may hold a target's plugin: ours, then others'. The prefix `node-` is for libraries whose name
 * is also a Python library's, and for all packages that aren't ours: so none has the name of a PyPI package for another
 * library.
 */
function packages(name) {
  return [`@memwatch/sql-${name}`, `@memwatch/sql-node-${name}`, `memwatch-sql-node-${name}`];
}

/** The plugin installed beside the target, or beside the program, unless another user may have put it there. */
function beside(name, folder) {
  if (name.startsWith('@') || name.startsWith('memwatch')) return null;
  for (const from of [folder, ...programs()]) {
    const { resolve } = Module.createRequire(from);
    for (const wanted of packages(name)) {
      let file, why;
      try {
        file = fs.realpathSync(resolve(wanted));
        why = files.distrust(file);
      } catch {
        continue; // not installed
      }
      if (!why) return file;
      say(`${file} is not used: ${why}; npm install ${wanted} in a folder of your own`);
    }
  }
  return null;
}

module.exports = { start, tracer };
