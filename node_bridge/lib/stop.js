// Where a debugger stops for then: "break" if V8 can't be asked to stop in the program's own function.
'use strict';

function stop() {
  debugger; // eslint-disable-line no-debugger -- what was written is on standard error; who wrote is below in the call stack
}

module.exports = { stop };
