// Builds the addon for the running Node.js: prebuilds/linux-x64/node.abi<number>.node, with the decoder beside it.
// There is one file for each ABI, so that versions don't overwrite each other.
'use strict';
const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { binary } = require('../lib/binary');

const here = path.join(__dirname, '..');
const { node, modules } = process.versions;
const prefix = path.dirname(path.dirname(fs.realpathSync(process.execPath)));

function build() {
  const env = { ...process.env };
  if (abiOf(prefix)) env.npm_config_nodedir = prefix; // this Node's own headers: nothing is downloaded
  const headers = env.npm_config_nodedir && abiOf(env.npm_config_nodedir);
  if (headers && headers !== modules) {
    throw new Error(`npm_config_nodedir=${env.npm_config_nodedir} has headers of another Node.js (ABI ${headers}), and this is ${node} (ABI ${modules}): `
      + 'name a folder with its own, or leave it out, then they are downloaded');
  }
  const options = ['rebuild', '--release', '--silent', '-j', '2', '--', `-Dabi=${modules}`];
  const output = execFileSync(process.execPath, [gyp(), ...options], { cwd: here, env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
  if (env.npm_config_loglevel === 'verbose') process.stdout.write(output);

  const built = path.join(here, 'build', 'Release', 'memwatch.node');
  const target = path.dirname(binary());
  fs.mkdirSync(target, { recursive: true });
  fs.rmSync(binary(), { force: true }); // not overwritten: a process may have it mapped
  execFileSync('strip', ['--strip-debug', '-o', binary(), built]);
  for (const line of execFileSync('ldd', [built], { encoding: 'utf8' }).split('\n')) {
    const [, name, file] = /^\s*(lib(?:Zydis|Zycore)\S*) => (\S+)/.exec(line) ?? [];
    if (!name) continue;
    const beside = path.join(target, name);
    fs.copyFileSync(fs.realpathSync(file), `${beside}.new`);
    fs.renameSync(`${beside}.new`, beside); // not overwritten either
  }
  const packed = path.join(here, 'core', 'licenses');
  const licenses = fs.existsSync(packed) ? packed : path.join(here, '..', 'licenses'); // the decoder's
  fs.cpSync(licenses, path.join(target, 'licenses'), { recursive: true });
  fs.rmSync(path.join(here, 'build'), { recursive: true });
}

/** NODE_MODULE_VERSION of the headers in a folder. */
function abiOf(folder) {
  try {
    return /#define NODE_MODULE_VERSION (\d+)/.exec(fs.readFileSync(path.join(folder, 'include', 'node', 'node_version.h'), 'utf8'))?.[1];
  } catch {
    return undefined;
  }
}

/** npm's node-gyp. */
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

module.exports = { build };
if (require.main === module) {
  try {
    build();
    console.log(path.relative(process.cwd(), binary()));
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
