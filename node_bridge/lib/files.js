// A session's files, and the ownership of files. Files that another user may have put there aren't read, executed or
// written to: the core opens a file only in a folder that belongs to this user and that nobody else can write to
// (files.c), and checks it through its descriptor.
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { getSystemErrorName } = require('node:util');
const native = require('./native');

const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW } = fs.constants;
const MOST = 16 << 20; // bytes
const GROUP = 0o020, OTHERS = 0o002, STICKY = 0o1000;

function checked(result) {
  if (typeof result !== 'number' || result === 0) return result;
  const code = getSystemErrorName(result);
  const own = 'it must be an ordinary file in a folder, no symbolic link, that belongs to you and that nobody else may write to';
  throw Object.assign(new Error(code === 'EPERM' ? own : code), { code });
}

/** The contents of a session's file. Throws an Error with a `code`. */
const read = (folder, name) => checked(native.readFile(folder, name, MOST));

/** Creates a file in a session's folder. Throws an Error with a `code`. */
const write = (folder, name, content) => checked(native.makeFile(folder, name, Buffer.from(content)));

const known = (uid) => uid === 0 || uid === process.geteuid?.();
const octal = (mode) => (mode & 0o7777).toString(8).padStart(4, '0');

/** Creates the folder for sessions, if missing. Throws if other users could replace its contents. */
function base(folder) {
  fs.mkdirSync(folder, { recursive: true, mode: 0o700 });
  const fd = fs.openSync(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  const { uid, mode } = fs.fstatSync(fd);
  fs.closeSync(fd);
  const replaced = mode & (GROUP | OTHERS) && !(mode & STICKY);
  const why = known(uid) ? replaced && `can be written to by others (mode ${octal(mode)})` : `belongs to user ${uid}`;
  if (why) throw Object.assign(new Error(`${folder} ${why}`), { code: `it ${why}` });
}

/**
 * Why code at a path (absolute, links resolved) must not be executed; undefined: it may. A part of the path belongs to
 * neither this user nor root, or is writable for others. Of groups, only the user's own and root's are trusted.
 */
function distrust(file) {
  for (let at = file; ; at = path.dirname(at)) {
    const { uid, gid, mode } = fs.lstatSync(at);
    if (!known(uid)) return `${at} belongs to user ${uid}`;
    const sticky = at !== file && mode & STICKY;
    const group = mode & GROUP && gid !== 0 && gid !== process.getegid?.();
    if (!sticky && (mode & OTHERS || group)) return `${at} can be written to by others (mode ${octal(mode)})`;
    if (at === path.dirname(at)) return undefined;
  }
}

module.exports = { read, write, base, distrust };
