// The call site of watch(), and the name that its result is assigned to.
'use strict';

const fs = require('node:fs');
const { fileURLToPath } = require('node:url');
const native = require('./native');

// The text before "watch("; or, if a compiler wrote "(0, memwatch.watch)(", before the last parenthesis.
const ASSIGNED = /([A-Za-z_$][\w$]*(?:\.#?[A-Za-z_$][\w$]*)*)\s*(?:(?::[^=]*)?=|:)\s*(?:\(0,\s*)?(?:(?:[\w$]+|require\([^)]*\))\.)*(?:[\w$]+\)?)?$/;
const lines = new Map(); // file -> its lines

/** The caller of the function `below`: {file, line, column, function}, or null if unknown. */
function callSite(below) {
  const { prepareStackTrace, stackTraceLimit } = Error;
  const holder = {};
  try {
    Error.stackTraceLimit = 1;
    Error.prepareStackTrace = (_, sites) => sites;
    Error.captureStackTrace(holder, below);
    const [site] = holder.stack;
    const name = site?.getScriptNameOrSourceURL();
    if (!name) return null;
    return {
      file: name.startsWith('file://') ? fileURLToPath(name) : name,
      line: site.getLineNumber() ?? 0,
      column: site.getColumnNumber() ?? 0,
      function: site.getFunctionName() ?? (isWhole(site) ? '<module>' : '<anonymous>'),
    };
  } catch {
    return null; // frozen intrinsics
  } finally {
    try {
      Error.prepareStackTrace = prepareStackTrace;
      Error.stackTraceLimit = stackTraceLimit;
    } catch { /* as above */ }
  }
}

/** Whether the calling function is the module itself. */
function isWhole(site) {
  return site.getEnclosingLineNumber?.() === 1 && site.getEnclosingColumnNumber?.() === 1;
}

/** The original position from a source map; the given one if there is no map; null if unknown. */
function original(site) {
  const found = site && native.original(site.file, site.line, site.column);
  if (!found) return found === null ? null : site;
  const [file, line, column] = found;
  return { ...site, file, line, column };
}

/** "total" of `const total = watch(`, "this.total", or undefined. */
function assignedName(site) {
  try {
    if (!site) return undefined;
    if (!lines.has(site.file)) lines.set(site.file, fs.readFileSync(site.file, 'utf8').split('\n'));
    return ASSIGNED.exec(lines.get(site.file)[site.line - 1].slice(0, site.column - 1))?.[1];
  } catch {
    return undefined; // not a file: eval, a bundle in memory
  }
}

module.exports = { callSite, original, assignedName };
