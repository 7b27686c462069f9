'use strict';

const { watch, unwatch, share, receive } = require('./watch');
const { session } = require('./session');
const { SessionError, CoreError } = require('./errors');

if (require('./asked').sql) require('./drivers').start();

module.exports = { watch, unwatch, share, receive, session, SessionError, CoreError };
