// What is asked for before the program's first line: by the settings of its session or, without one, by the environment.
'use strict';

const path = require('node:path');
const files = require('./files');

const folder = process.env.MEMWATCH_SESSION;

/** A file of the session that the program runs in; undefined if there is none, or `memwatch run` hasn't made it. */
function ofSession(name) {
  if (!folder) return undefined;
  try {
    return JSON.parse(files.read(path.resolve(folder), name).toString());
  } catch {
    return undefined;
  }
}

const { settings, sources } = ofSession('settings.json') ?? {};

module.exports = {
  ofSession,
  exactLines: folder ? settings?.node?.exact_lines !== false : process.env.MEMWATCH_NODE_EXACT_LINES !== 'false',
  sql: Boolean(settings?.watch?.track_sql || (sources?.['plugins.sql'] && settings?.plugins?.sql?.length)),
};
