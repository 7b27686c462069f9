// The addon: one for the process, started once for each thread, however many copies of this package there are (if several
// are installed, or a test runner loads it anew, in a realm of its own, for each test file).
//
//   start(tracker) -> name            stats()  nameThread(label)
//   keepCallers(most)                 of each event from now on; 0: none
//   open(path, session, max_bytes, policy)  close()  opened() -> [path, still open] | undefined
//   readFile(folder, name, most) -> Buffer   makeFile(folder, name, Buffer)   or -errno: a session's file, see files.js
//   attach()                          follows this thread's code from now on: lines are known for what is compiled later
//   shared(expression)                its value, evaluated once in a thread, in the main realm; the same for all copies
//   isFirstThread()                   whether this is no worker, without loading node:worker_threads
//   learn(name)                       learns which bytecodes store or call, from a function that does nothing else
//   watch(buffer, offset, length, flags, start, stop) -> [id, buffer]     a copy of the bytes, watched
//   original(file, line, column) -> [file, line, column] | undefined | null   the original position; undefined: no source
//                                     map; null: unknown, the file differs from the script of its name
//   lines(on)                         switches lines off, for benchmarks
//   setFlag(text)  randomBytes(n) -> Buffer   as in node:v8 and node:crypto, without loading these
//   describe(id, json)  unwatch(id)   share(id)  receive(id) -> buffer   isDetachable(buffer): no WebAssembly memory
//   openContext(id, json)  updateContext(id, json)                        records of a SQL statement
//   contextSays(id, text)             what a statement is, for conditions that ask for it
//   arm(variable, program, unit, action, letter, size, name, when, listens) -> handle   has a variable's events judged; undefined: there
//                                     are too many   isArmed(handle)   see breaks.js, as for these:
//   prepareBreaks(deliver, stop, thread)  takeHits() -> [[handle, index, offset, old, new, time, more, file, line, function, thread,
//                                     tid, how, changed]]   acting(yes): what this thread stores meanwhile, nobody acts on
//   contextIds() -> the first of 65536 ids that are this thread's
//   contextSlot() -> Uint32Array(1)   the id in force in this thread, where JavaScript mirrors it
//   pullContexts()  markContext(id)   where the core pulls it from V8 (see contexts.js)
//   contextFrame() -> [Int32Array(2), Int32Array(1)]   where V8 has what is current: its address; how often it was moved
//   currentFrame() -> what is current in V8, to be handed back only; null: it can't be   restoreFrame(what it was)
//   tellRequest(object, json) -> its number   what the object says, members of JSON: see requests.js, as for all of these
//   pullRequests(storage, value)      whether what storages hold is found by looking; it holds value now. undefined: this Node has it elsewhere
//   followSpans(storage)              of OpenTelemetry   requestSlots(executing) -> Uint32Array(3)   numbers in force: span, label; in which
//                                     callback. The array that begins with the id of the one that runs, if it is known
//   followToken(token, statement)     goneTokens() -> Uint32Array(1)   how many tokens are gone that nobody holds any more;
//   goneStatements() -> array         theirs, and the count is 0 again
//   readStatement(text, dialect) -> [text without literals, action, savepoint, whether its case counts]   see sql/statements.js
//   hash(key, bytes)  hashNumber(key, number)  hashText(key, text) -> 16 hex digits   SipHash-2-4 of a parameter's form;
//                                     undefined: its form is made in sql/parameters.js
//   beginStatement(id, tell, head, where, key, values)      what is current stands for the statement, and its record is made of
//                                     head, where, the time and hashes of the values; without a key, of a text: undefined.
//                                     Without `tell`, nothing is written: the end of the record's text, from the id on. false,
//                                     and nothing is written: hash() is needed for a value
//   endStatement(id, outcome, rows, ended, transaction, autocommit)   outcome as JSON; -1: not known
//   now()                             the time of day in us
'use strict';

const { binary } = require('./binary');
const common = require('./common');

/** The runtime, if it isn't Node.js, even if it imitates Node.js. */
function other() {
  const { bun, deno } = process.versions;
  if (bun) return `Bun ${bun}`;
  return deno && `Deno ${deno}`;
}

/** @returns {{ common: any, [name: string]: any }} */
function load() {
  if (other()) throw new Error(`memwatch runs in Node.js only, and this is ${other()}, which lacks the parts of V8's interface that tell the line of a store: run the program with node`);
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new Error(`memwatch runs on 64-bit Linux on x86-64 only (its core runs machine instructions); this is ${process.platform} on ${process.arch}`);
  }
  let native;
  try {
    native = require(binary());
  } catch (cause) {
    throw new Error(
      `memwatch's addon can't be loaded by Node.js ${process.versions.node} (ABI ${process.versions.modules}). `
        + 'Build it, in the program\'s folder: apt-get install g++ make libzydis-dev, npm explore @memwatch/node -- npm run prebuild. '
        + `The reason: ${cause.message}`,
      { cause },
    );
  }
  native.attach();
  native.common = native.shared(common);
  if (!native.common.learnt) native.common.learnt = learn(native);
  const { threadId, isMainThread } = native.isFirstThread() ? { threadId: 0, isMainThread: true } : require('node:worker_threads');
  native.threadId = threadId;
  native.threadLabel = isMainThread ? 'main' : `worker ${threadId}`;
  return native;
}

function memwatchLearn(a, f, v) {
  a[0] = v; a[v]++; a.f = v;
  f(); f(v); f(v, v); f(v, v, v); f(...a.list);
  a.g(); a.g(v); a.g(v, v); a.g(v, v, v); a.g(...a.list);
  new f(v); new f(...a.list);
}

function learn(native) {
  const f = function () {};
  memwatchLearn(Object.assign([0], { f, g: f, list: [] }), f, 0);
  return native.learn('memwatchLearn');
}

module.exports = load();
