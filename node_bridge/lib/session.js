// The session of this process: finds or creates it, reads its settings, opens its journal. There is one journal for the
// process, whichever thread comes first. docs/journal-format.md describes the folder.
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const files = require('./files');
const native = require('./native');
const { SessionError, core } = require('./errors');
const { TRACKERS, POLICIES, ofEnvironment, ofFile } = require('./settings');
const { version } = require('../package.json');

let joined; // this thread's view of the journal

/** The open session. If there is none, opens the one that MEMWATCH_SESSION names, or a new one in .memwatch. */
function current() {
  if (joined && native.opened()?.[1]) return joined;
  const opened = native.opened();
  if (opened && !opened[1]) {
    throw new SessionError(`closed session: this process has closed its journal ${opened[0]}; watch before that`);
  }
  if (opened) return enter(member(path.dirname(opened[0])));
  return join(process.env.MEMWATCH_SESSION || create(process.env.MEMWATCH_JOURNAL_FOLDER || '.memwatch'));
}

function join(folder) {
  const session = member(path.resolve(folder));
  const { tracker, kernel_writes } = session.settings.core, { stack } = session.settings.watch;
  const wanted = tracker === 'auto' && kernel_writes === 'all' ? 'uffd-queue' : tracker;
  session.tracker = core('memwatch can\'t start', () => native.start(TRACKERS.indexOf(wanted)));
  core('no call stacks can be kept', () => native.keepCallers(stack === 'auto' ? 0 : stack - 1));
  const { max_bytes, policy } = session.settings.journal;
  try {
    native.open(path.join(session.folder, `${process.pid}-node.mwj`), Buffer.from(session.id, 'hex'), max_bytes, POLICIES.indexOf(policy));
  } catch (cause) {
    // another thread may have been faster
    if (!native.opened()?.[1]) core(`${session.folder}: the journal can't be opened`, () => { throw cause; });
  }
  return enter(session);
}

function enter(session) {
  native.nameThread(native.threadLabel);
  return (joined = session);
}

function read(folder, name, what) {
  try {
    return JSON.parse(files.read(folder, name).toString());
  } catch (cause) {
    throw new SessionError(`${path.join(folder, name)}: ${what} can't be read (${cause.message}); \`memwatch run\` makes a session`, { cause });
  }
}

function member(folder) {
  const description = read(folder, 'session.json', 'the description of the session');
  if (description.format !== 1 || !/^[0-9a-f]{32}$/.test(description.session)) {
    throw new SessionError(`${folder}: a session of format ${description.format}; this MemWatch knows format 1`);
  }
  const { settings } = read(folder, 'settings.json', 'the session\'s settings');
  return { folder, id: description.session, settings: ofFile(path.join(folder, 'settings.json'), settings) };
}

/** Creates the folder of a new session in `base`. */
function create(base) {
  const id = native.randomBytes(16);
  const now = new Date().toISOString(); // 2026-11-23T15:04:05.123Z
  const folder = path.resolve(base, `${now.slice(0, 19).replace(/[-:]/g, '').replace('T', '-')}-${id.toString('hex').slice(0, 6)}`);
  const description = {
    format: 1,
    session: id.toString('hex'),
    started: now,
    command: [process.execPath, ...process.execArgv, ...process.argv.slice(1)],
    memwatch: version,
  };
  const { node, ...shared } = ofEnvironment(); // node: only for this runtime
  const settings = { settings: { ...shared, journal: { ...shared.journal, folder: path.dirname(folder) } }, sources: {}, file: null };
  try {
    files.base(path.dirname(folder));
    fs.mkdirSync(folder, { mode: 0o700 });
    for (const [name, content] of [
      ['key', native.randomBytes(32)],
      ['settings.json', JSON.stringify(settings, null, 1)],
      ['session.json', `${JSON.stringify(description)}\n`], // last: marks the folder as a session
    ]) files.write(folder, name, content);
  } catch (cause) {
    throw new SessionError(`${folder}: the session's folder can't be made (${cause.code}); set MEMWATCH_JOURNAL_FOLDER to a folder that you can write to`, { cause });
  }
  return folder;
}

/** The 32-byte key of the session's hashes of SQL statements and parameters. */
function key() {
  return files.read(current().folder, 'key');
}

function session() {
  const { folder } = current();
  const [journal] = native.opened();
  return Object.freeze({ folder, journal, tracker: native.start(0), stats: () => native.stats(), close: () => native.close() });
}

module.exports = { current, key, session };
