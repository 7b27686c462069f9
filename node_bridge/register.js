// node --require @memwatch/node/register app.js: follows the program's code before its first line runs, so that every store has
// its line. `memwatch run` loads it through NODE_OPTIONS, in children and workers too. The journal is made with the first
// watch(): a program that never calls it leaves nothing behind.
//
// Every program pays for what is loaded here, so that is what it takes to follow code; watch() loads the rest.
'use strict';

try {
  const native = require('./lib/native'), asked = require('./lib/asked');
  // Code of these two tiers carries no source positions. What they would have compiled is interpreted, or optimised. From
  // here on V8 takes no code from caches that were made without these flags, Node's own included.
  if (asked.exactLines && native.threadLabel === 'main') for (const tier of ['sparkplug', 'maglev']) native.setFlag(`--no-${tier}`);
  if (asked.sql) require('./lib/drivers').start(true);
} catch (error) {
  require('./lib/printed').say(error.message); // the program goes on; its watch() will say so again
}
