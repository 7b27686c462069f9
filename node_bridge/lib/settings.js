// A session's settings: from its folder, or from the environment for a session that this process creates. An invalid
// setting is an error that names its place.
'use strict';

const { SessionError } = require('./errors');

const TRACKERS = ['auto', 'uffd-sigbus', 'readonly', 'uffd-queue']; // mw_tracker of memwatch.h, by number
const POLICIES = ['block', 'drop', 'rotate']; // mw_policy
const SMALLEST = 4194304; // bytes: MW_JOURNAL_MIN of memwatch.h

const FRAMES = { most: 128 };
const PATTERNS = { of: 'names' };
const BETWEEN_COMMAS = /(?:\[[^\]]*\]|\{[^}]*\}|[^,])+/g; // one in brackets belongs to a key

/** Valid values of each setting, the default first: a list, a number of bytes, or of frames; any names. */
const KNOWN = {
  core: { tracker: TRACKERS, kernel_writes: ['calls', 'all'] },
  sql: { window: ['until-next', 'statement', 'fetch', 'transaction'], parameters: ['hash', 'none', 'full'] },
  journal: { max_bytes: 0, policy: POLICIES },
  watch: { stack: FRAMES },
  privacy: { variables: PATTERNS },
};
const DEFAULTS = {
  ...Object.fromEntries(Object.entries(KNOWN).map(([section, keys]) =>
    [section, Object.fromEntries(Object.entries(keys).map(([key, known]) => [key, Array.isArray(known) ? known[0] : known]))])),
  watch: { stack: 'auto', track_threads: true, track_sql: false, mutation_depth: 'FULL', when: [], then: 'break' },
  privacy: { variables: [] },
  node: { exact_lines: true },
};

function check(where, known, value) {
  const shown = `${where} is ${JSON.stringify(value)}; it`;
  if (Array.isArray(known)) {
    if (!known.includes(value)) throw new SessionError(`${shown} can be ${known.join(', ')}`);
  } else if (known === PATTERNS) {
    if (!Array.isArray(value) || !value.every((name) => typeof name === 'string' && name.trim())) {
      throw new SessionError(`${shown} must be a list of names, such as ["*token*", "order.card"]`);
    }
  } else if (known === FRAMES) {
    if (value !== 'auto' && !(Number.isSafeInteger(value) && value >= 1 && value <= FRAMES.most)) {
      throw new SessionError(`${shown} must be "auto" or a number of frames, from 1 to ${FRAMES.most}`);
    }
  } else if (!Number.isSafeInteger(value) || (value !== 0 && value < SMALLEST)) {
    throw new SessionError(`${shown} must be 0, for no limit, or at least ${SMALLEST} bytes`);
  }
  return value;
}

/** The defaults, overridden by variables such as MEMWATCH_CORE_TRACKER. Throws SessionError. */
/** @returns {Record<string, any>} */
function ofEnvironment() {
  const settings = structuredClone(DEFAULTS);
  for (const [section, keys] of Object.entries(KNOWN)) {
    for (const [key, known] of Object.entries(keys)) {
      const variable = `MEMWATCH_${section}_${key}`.toUpperCase(), text = process.env[variable];
      if (!text) continue;
      if (known === PATTERNS) {
        settings[section][key] = (text.match(BETWEEN_COMMAS) ?? []).map((name) => name.trim()).filter(Boolean);
        continue;
      }
      const number = /^\d[\d_]*$/.test(text) ? Number(text.replaceAll('_', '')) : text;
      settings[section][key] = check(variable, known, Array.isArray(known) ? text : number);
    }
  }
  return settings;
}

/** The settings given in `file`, with defaults for missing ones. Throws SessionError. */
function ofFile(file, given) {
  const settings = {};
  for (const section of Object.keys(DEFAULTS)) settings[section] = { ...DEFAULTS[section], ...given?.[section] };
  for (const [section, keys] of Object.entries(KNOWN)) {
    for (const [key, known] of Object.entries(keys)) check(`${file}: ${section}.${key}`, known, settings[section][key]);
  }
  return settings;
}

/** Whether one of `patterns` matches a name, as memwatch_core/python/places/node_secrets.c has it. */
function isSecret(patterns, name) {
  const folded = (text) => text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
  const source = (pattern) => folded(pattern).replace(/[\\^$.+()[\]{}|]/g, '\\$&').replaceAll('*', '[^]*').replaceAll('?', '[^]');
  return patterns.some((pattern) => new RegExp(`^${source(pattern)}$`, 'u').test(folded(name)));
}

module.exports = { isSecret, TRACKERS, POLICIES, ofEnvironment, ofFile };
