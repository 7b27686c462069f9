// node --require @memwatch/node/register app.js: follows the program's code from its first line, so that every store has
// its line. `memwatch run` loads it through NODE_OPTIONS, in children and workers too. The journal is created at the
// first watch(): a program without one leaves nothing behind.
//
// Every program pays for what is loaded here: only what following code requires. watch() loads the rest.
'use strict';

try {
  const native = require('./lib/native'), asked = require('./lib/asked');
  // Code of these two tiers carries no source positions. It is interpreted or optimised instead. From now on V8 rejects
  // cached code that was made without these flags, Node's own included.
  if (asked.exactLines && native.threadLabel === 'main') for (const tier of ['sparkplug', 'maglev']) native.setFlag(`--no-${tier}`);
  require('./lib/spans').lookOut();
  if (asked.sql) require('./lib/drivers').start(true);
} catch (error) {
  require('./lib/printed').say(error.message); // the program goes on; its watch() will report it again
}
