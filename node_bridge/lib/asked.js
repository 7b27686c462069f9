// What to load before the program's first line: from the session's settings or, without a session, from the
// environment.
'use strict';

const path = require('node:path');
const files = require('./files');

const folder = process.env.MEMWATCH_SESSION;

/** A file of the program's session; undefined if there is no session, or `memwatch run` didn't write the file. */
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
