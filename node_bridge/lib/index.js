'use strict';

const { watch, unwatch, share, receive } = require('./watch');
const { session } = require('./session');
const { SessionError, CoreError } = require('./errors');

require('./drivers').startIfAsked();

module.exports = { watch, unwatch, share, receive, session, SessionError, CoreError };
