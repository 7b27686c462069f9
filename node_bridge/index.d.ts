/// <reference types="node" />

/** What can be watched: a value backed by a buffer. */
export type BufferLike = NodeJS.ArrayBufferView | ArrayBuffer;

export interface WatchOptions {
  /** Events say which thread wrote. Default: the session's setting, true. */
  trackThreads?: boolean;
  /** Events say which SQL statement was in force. Default: the session's setting, false. */
  trackSQL?: boolean;
  /** Bytes whose changes are reported: all, or those from start up to (not including) stop. */
  mutationDepth?: 'FULL' | readonly [start: number, stop: number];
  /** Default: the name of the variable that the call is assigned to. */
  name?: string;
  /**
   * Watch a copy of a value that can't be watched in place: a part of a larger buffer (Node's small Buffers are),
   * resizable and shared buffers, WebAssembly memory. Only writes through the returned array are seen. Default: false;
   * such a value is an error.
   */
  copy?: boolean;
  /**
   * Its values aren't recorded, only which bytes change, and whether they become what they were before. So are those of
   * arrays whose name the session's `[privacy] variables` has. Default: false.
   */
  secret?: boolean;
  /**
   * A condition, judged at every write: 'new < 0', 'new > 2 * old and site.file like "*orders.js"'. docs/breaks.md has the
   * language. Default, where `then` is given: 'changed'.
   */
  when?: string;
  /**
   * What is done where it is met. "break": the debugger that is attached stops; without one, as "dump". "dump": what was
   * written, and the stack of the store, to standard error. A function: called with a Hit, in a microtask, in this thread.
   * Default, where `when` is given: "break".
   */
  then?: 'break' | 'dump' | ((hit: Hit) => unknown);
}

/** A write that met a condition. Frozen. */
export interface Hit {
  /** The name of what is watched. */
  readonly variable: string;
  /** What was written: "total[3]"; of a DataView or an ArrayBuffer, the name. */
  readonly path: string;
  /** Of the number that was written, the first of several; undefined of a DataView or an ArrayBuffer. */
  readonly index: number | undefined;
  /** Where it begins, in bytes. */
  readonly offset: number;
  /** That number before; of a DataView or an ArrayBuffer, the bytes that were written. Undefined of a secret, or not known. */
  readonly old: number | bigint | Buffer | undefined;
  readonly new: number | bigint | Buffer | undefined;
  /** Whether bytes differ; undefined of a secret. */
  readonly changed: boolean | undefined;
  /** "main", "worker 3", or what the kernel calls the thread that wrote. */
  readonly thread: string;
  /** The kernel's number of it. */
  readonly tid: number;
  /** The line that wrote; undefined: not known. */
  readonly site: { readonly file: string; readonly line: number; readonly function: string } | undefined;
  readonly origin: 'announced' | 'store' | 'syscall' | 'kernel' | 'found' | undefined;
  /** The condition as it was given. */
  readonly when: string | undefined;
  /** ms since 1970, with a fraction. */
  readonly time: number;
  /** Other writes that met the same condition in that thread before anybody could act. */
  readonly more: number;
  readonly secret: boolean;
}

/**
 * Watches a value: `let x = watch(new Int32Array(1))`. Returns an array of the same class with the same contents,
 * over watched pages; the given array stays as it was, unwatched. A view of a part of its buffer is an error, unless
 * `copy` is true: writes through the buffer's other views would not be seen.
 * @throws TypeError for a value that can't be watched, RangeError for one that is too large,
 *   ConditionError for a wrong `when` or `then`, SessionError if the session is closed, CoreError if the core refuses.
 */
export function watch<T extends BufferLike>(value: T, options?: Readonly<WatchOptions>): T;

/**
 * Ends a watch; returns a plain copy of the array's contents. Views of the watched array stay valid; writes through
 * them are no longer seen.
 * @throws TypeError for a value that isn't watched, SessionError if its watch has ended.
 */
export function unwatch<T extends BufferLike>(value: T): T;

/** A handle of a watched array for another thread: plain data, for workerData or postMessage(). */
export interface Shared<T extends BufferLike = BufferLike> {
  readonly kind: string;
  readonly process: number;
  readonly id: number;
  readonly name: string;
  /** Whether conditions are judged of it. */
  readonly judged?: boolean;
  readonly class: string;
  readonly offset: number;
  readonly length: number;
  /** Only for the type: the class of the array. */
  readonly array?: T;
}

/** Lets other threads of this process receive() the array. Its pages stay until unwatch(). */
export function share<T extends BufferLike>(value: T): Shared<T>;

/** The shared array in this thread, over the same memory: stores of every thread are seen. */
export function receive<T extends BufferLike>(shared: Shared<T>): T;

/**
 * Calls f, with the arguments, and returns what it returns. Events say on whose behalf they happened: the label is in force
 * in f and in all that it starts, as an AsyncLocalStorage's store would be, in this thread; so on into promises and timers
 * that outlive f.
 * @throws TypeError if the text isn't a string, or f is no function, or a generator function, whose code would run
 *   outside; RangeError if the text is empty.
 */
export function label<A extends unknown[], R>(text: string, f: (...args: A) => R, ...args: A): R;

export interface Session {
  /** For `memwatch log FOLDER`. */
  readonly folder: string;
  readonly journal: string;
  /** "uffd-sigbus", "readonly" or "uffd-queue". */
  readonly tracker: string;
  stats(): { stores: number; lost: number; forms: number; chained: number; variables: number; pages: number; codes: number; walks: number; inexact: number };
  /** Ends every watch of the process and completes the journal. */
  close(): void;
}

/** The session that this process writes to; opens one if there is none. */
export function session(): Session;

/** The session can't be opened, or is closed. */
export class SessionError extends Error {
  readonly code: 'ERR_MEMWATCH_SESSION';
}

/** A condition (`when`) can't be read, or asks for what a variable hasn't; there is no such action. The message shows where. */
export class ConditionError extends Error {
  readonly code: 'ERR_MEMWATCH_CONDITION';
  /** What is wrong, in one line. */
  readonly why: string;
}

/** The core refused. */
export class CoreError extends Error {
  readonly code: 'ERR_MEMWATCH_CORE';
  readonly errno: number;
}
