import memwatch from './lib/index.js';

export const { watch, unwatch, share, receive, label, session, SessionError, CoreError, ConditionError } = memwatch;

