/** For authors of SQL driver plugins: docs/sql.md, "Writing a driver for Node.js". */

/** A statement, in the driver's hands; null if it isn't traced. */
export type Token = object | null;

export interface StatementBegins {
  /** The plugin's name, as events show it. */
  driver: string;
  /** How literals are quoted. Left out: unknown, statements are masked with the greatest caution. */
  dialect?: 'sqlite' | 'postgresql' | 'mysql';
  statement: unknown;
  /** An array or a plain object; of anything else only the class is kept. */
  parameters?: unknown;
  /** `parameters` is an array of rows. */
  many?: boolean;
  /** An object that lives as long as the connection. */
  connection?: object;
  /** Of what the connection is to, never with a password. A function of the connection is asked once for each. */
  database?: string | ((connection: any) => string | undefined);
  /** "host:port", or the path of a socket. */
  server?: string | ((connection: any) => string | undefined);
}

export interface StatementEnds {
  /** How many rows it changed or returned. */
  rows?: number;
  error?: unknown;
  /** Whether the connection is in a transaction now, if that is known. */
  inTransaction?: boolean;
  /** If it ended its transaction, then by a rollback, whatever it says. */
  rolledBack?: boolean;
  /** More rows will come. */
  fetchable?: boolean;
}

/** No method throws but what the given function does. */
export interface Tracer {
  readonly troubles: number;
  /** A function is called with the arguments after it; so is that of guard(). */
  begin<A extends unknown[]>(of: StatementBegins | ((...args: A) => StatementBegins), ...args: A): Token;
  end(token: Token, ends?: StatementEnds): void;
  run<A extends unknown[], R>(token: Token, f: (...args: A) => R, ...args: A): R;
  /** As run(), if f does no more than to settle a promise that the library has made: it is cheaper. */
  settle<A extends unknown[], R>(token: Token, f: (...args: A) => R, ...args: A): R;
  fetched(token: Token, count: number, options?: { exhausted?: boolean; enter?: boolean }): void;
  /** `allFetched`: the program has all rows; it may go on with them, so the statement stays in force until the next. */
  cursorClosed(token: Token, allFetched?: boolean): void;
  transactionEnds(connection: object, outcome: 'committed' | 'rolled back' | 'closed'): void;
  savepoint(connection: object, name: string, what: 'set' | 'released' | 'rolled back'): void;
  within<R>(f: (own: <T>(callback: T) => T) => R, options?: { driver?: string; token?: Token }): R;
  outside<R>(f: () => R): R;
  shared<T>(promise: T): T;
  bind<T>(callback: T): T;
  guard<A extends unknown[], R>(f: (...args: A) => R, ...args: A): R | undefined;
}

export interface Tools {
  readonly tracer: Tracer;
  /** The library is new: no connection of its can be in a transaction that nobody has seen begin. */
  readonly fresh: boolean;
  /** Replaces `owner[name]` by `make(original)`, with the same name, length and place; false if it is no function. */
  replace(owner: object | null | undefined, name: string, make: (original: Function) => Function): boolean;
  /** Of an object and its prototypes, the one that has the property itself: where to replace it. */
  owner(object: object | null | undefined, name: string): object | null | undefined;
  /** Promises that `object[name]` returns are settled for several flows at once: each that awaits one has the statement. */
  batches(object: object | null | undefined, name: string): boolean;
  /** A property of what the program has passed, without running its code: of a getter or a proxy, undefined. */
  peek(object: unknown, name: PropertyKey): any;
}

export interface DriverPlugin {
  name: string;
  /** The npm package that it traces. */
  target: string;
  /** Files of the package that are patched, relative to its folder. Left out: the one that `require(target)` gives. */
  files?: readonly string[];
  /**
   * Patches what the program has just loaded: the target's exports, or those of one of `files`. Of an ECMAScript module: an object
   * with a class of promises, of which the first is being made.
   */
  install(exports: any, tools: Tools, file: string): void;
}
