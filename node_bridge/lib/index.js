'use strict';

const { watch, unwatch, share, receive } = require('./watch');
const { session } = require('./session');
const { label } = require('./requests');
const { SessionError, CoreError, ConditionError } = require('./errors');

require('./spans').lookOut();
if (require('./asked').sql) require('./drivers').start();

module.exports = { watch, unwatch, share, receive, label, session, SessionError, CoreError, ConditionError };
