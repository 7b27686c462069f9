import memwatch from './lib/index.js';

export const { watch, unwatch, share, receive, session, SessionError, CoreError } = memwatch;

