/** For authors of SQL driver plugins: docs/sql.md, "Writing a driver for Node.js". */

/** A statement, for the driver; null if it isn't traced. */
export type Token = object | null;

export interface StatementBegins {
  /** The plugin's name, as events show it. */
  driver: string;
  /** How literals are quoted. Default: unknown; statements are masked most cautiously. */
  dialect?: 'sqlite' | 'postgresql' | 'mysql';
  statement: unknown;
  /** An array or a plain object; for anything else, only the class is recorded. */
  parameters?: unknown;
  /** `parameters` is an array of rows. */
  many?: boolean;
  /** An object that lives as long as the connection. */
  connection?: object;
  /** The connection's database, never with a password. A function of the connection is called once for each. */
  database?: string | ((connection: any) => string | undefined);
  /** "host:port", or the path of a socket. */
  server?: string | ((connection: any) => string | undefined);
}

export interface StatementEnds {
  /** Number of rows changed or returned. */
  rows?: number;
  error?: unknown;
  /** Whether the connection is in a transaction now, if known. */
  inTransaction?: boolean;
  /** If the statement ended its transaction, it was by a rollback, whatever its text. */
  rolledBack?: boolean;
  /** More rows will come. */
  fetchable?: boolean;
}

/** No method throws, except what a given function throws. */
export interface Tracer {
  readonly troubles: number;
  /** A function is called with the arguments after it; so is that of guard(). */
  begin<A extends unknown[]>(of: StatementBegins | ((...args: A) => StatementBegins), ...args: A): Token;
  end(token: Token, ends?: StatementEnds): void;
  run<A extends unknown[], R>(token: Token, f: (...args: A) => R, ...args: A): R;
  /** As run(), if f does no more than to settle a promise that the library has made: it is cheaper. */
  settle<A extends unknown[], R>(token: Token, f: (...args: A) => R, ...args: A): R;
  fetched(token: Token, count: number, options?: { exhausted?: boolean; enter?: boolean }): void;
  /**
   * `allFetched`: the program has all rows and may still use them, so the statement stays in force until the next one.
   */
  cursorClosed(token: Token, allFetched?: boolean): void;
  transactionEnds(connection: object, outcome: 'committed' | 'rolled back' | 'closed'): void;
  savepoint(connection: object, name: string, what: 'set' | 'released' | 'rolled back'): void;
  within<R>(f: (own: <T>(callback: T) => T) => R, options?: { driver?: string; token?: Token }): R;
  outside<R>(f: () => R): R;
  shared<T>(promise: T): T;
  bind<T>(callback: T): T;
  guard<A extends unknown[], R>(f: (...args: A) => R, ...args: A): R | undefined;
}

/** Whether a connection is in a transaction, for a library that doesn't let out what the server says. */
export interface Following {
  /** Undefined: it isn't known. */
  open: boolean | undefined;
  /** After a text was run, of one statement or several: whether one is open now. */
  after(text: string): boolean | undefined;
  /** After one has failed. `commits`: a COMMIT that fails rolls back, as PostgreSQL does. */
  failed(text: string, commits?: boolean): boolean | undefined;
}

export interface Tools {
  readonly tracer: Tracer;
  /** Whether the library was just loaded: none of its connections can be in a transaction that began unseen. */
  readonly fresh: boolean;
  /**
   * Replaces `owner[name]` by `make(original)`, with the same name, length and attributes; false if it isn't a
   * function.
   */
  replace(owner: object | null | undefined, name: string, make: (original: Function) => Function): boolean;
  /** The object itself or the prototype that has the property as its own: where to replace it. */
  owner(object: object | null | undefined, name: string): object | null | undefined;
  /**
   * Promises returned by `object[name]` are settled for several flows at once: each flow that awaits one gets the
   * statement.
   */
  batches(object: object | null | undefined, name: string): boolean;
  /** Follows whether a connection is in a transaction by the texts of its statements; `open`: whether it is now, if known. */
  following(dialect: string, open: boolean | undefined): Following;
  /** A property of what the program has passed, without running its code: of a getter or a proxy, undefined. */
  peek(object: unknown, name: PropertyKey): any;
}

export interface DriverPlugin {
  name: string;
  /** The npm package to trace. */
  target: string;
  /** Files of the package to patch, relative to its folder. Default: the one that `require(target)` loads. */
  files?: readonly string[];
  /**
   * Patches exports that the program has just loaded: the target's, or those of one of `files`. For an ECMAScript
   * module: an object with a subclass of Promise whose first promise is being made.
   */
  install(exports: any, tools: Tools, file: string, module: { exports: any }): void;
  /** install() puts others in their place: `module.exports = …`. Of CommonJS. */
  replacesExports?: boolean;
}
