// Runs each file of tests in a process of its own, as many at once as told. argv: where the outcomes go; how many; seconds that one
// may take; the files.
'use strict';
const { spawn } = require('node:child_process');
const fs = require('node:fs');

const [where, atOnce, seconds, ...files] = process.argv.slice(2);
const outcomes = {}, waiting = [...files];

function one(file) {
  return new Promise((done) => {
    const child = spawn(process.execPath, [file], { stdio: ['ignore', 'inherit', 'inherit'], timeout: seconds * 1000, killSignal: 'SIGKILL' });
    child.on('close', (status, signal) => { outcomes[file] = status === 0 ? 'passed' : `failed: ${signal ?? status}`; done(); });
  });
}

(async () => {
  await Promise.all(Array.from({ length: Number(atOnce) }, async () => { while (waiting.length) await one(waiting.shift()); }));
  fs.writeFileSync(where, JSON.stringify(outcomes));
})();
