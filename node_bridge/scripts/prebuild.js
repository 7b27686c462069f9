// Builds the addon for the Node.js that runs this, and puts it where node-gyp-build finds it: one binary for each ABI,
// with the decoder beside it.
'use strict';
const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const here = path.join(__dirname, '..');
const target = path.join(here, 'prebuilds', `${process.platform}-${process.arch}`);
const prefix = path.dirname(path.dirname(fs.realpathSync(process.execPath)));

const env = { ...process.env };
const headers = path.join(prefix, 'include', 'node', 'node_version.h');
if (fs.existsSync(headers)) env.npm_config_nodedir = prefix; // those of this very Node: nothing is downloaded
const output = execFileSync(process.execPath, [gyp(), 'rebuild', '--release', '--silent', '-j', '2'], {
  cwd: here, env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'],
});
if (process.env.npm_config_loglevel === 'verbose') process.stdout.write(output);

const built = path.join(here, 'build', 'Release', 'memwatch.node');
const addon = path.join(target, `node.abi${process.versions.modules}.node`);
fs.mkdirSync(target, { recursive: true });
execFileSync('strip', ['--strip-debug', '-o', addon, built]);
for (const line of execFileSync('ldd', [built], { encoding: 'utf8' }).split('\n')) {
  const [, name, file] = /^\s*(lib(?:Zydis|Zycore)\S*) => (\S+)/.exec(line) ?? [];
  if (name) fs.copyFileSync(fs.realpathSync(file), path.join(target, name));
}
fs.cpSync(path.join(here, '..', 'licenses'), path.join(target, 'licenses'), { recursive: true }); // the decoder's
fs.rmSync(path.join(here, 'build'), { recursive: true });
console.log(path.relative(process.cwd(), addon));

/** node-gyp as npm carries it. */
function gyp() {
  const { npm_config_node_gyp: given, npm_execpath: npm } = process.env;
  const inNpm = 'node_modules/node-gyp/bin/node-gyp.js';
  const candidates = [
    given,
    npm && path.join(npm, '..', '..', inNpm),
    path.join(prefix, 'lib/node_modules/npm', inNpm),
    path.join('/usr/lib/node_modules/npm', inNpm),
    '/usr/share/nodejs/node-gyp/bin/node-gyp.js',
  ];
  const found = candidates.find((file) => file && fs.existsSync(file));
  if (!found) throw new Error('node-gyp not found: run this as npm run prebuild');
  return found;
}
