// Compiles src/ into one folder for each way in which source maps come: TypeScript's own output, and a bundle.
'use strict';
const fs = require('node:fs');
const path = require('node:path');
const [packages] = process.argv.slice(2);
const ts = require(path.join(packages, 'typescript'));
const esbuild = require(path.join(packages, 'esbuild'));

const sources = ['board.ts', 'program.ts'];

function tsc(folder, type, options, source = (name) => `../src/${name}`) {
  fs.mkdirSync(folder);
  fs.writeFileSync(`${folder}/package.json`, JSON.stringify({ type: type === 'esm' ? 'module' : 'commonjs' }));
  for (const name of sources) {
    const { outputText, sourceMapText } = ts.transpileModule(fs.readFileSync(`src/${name}`, 'utf8'), {
      fileName: source(name),
      compilerOptions: { module: type === 'esm' ? 'es2022' : 'commonjs', target: 'es2022', ...options },
    });
    const output = `${folder}/${name.replace('.ts', '.js')}`;
    fs.writeFileSync(output, outputText);
    if (!sourceMapText) continue;
    const map = JSON.parse(sourceMapText); // transpileModule() knows no folders: the compiler would write the path
    fs.writeFileSync(`${output}.map`, JSON.stringify({ ...map, sources: [source(name)] }));
  }
}

tsc('commonjs', 'cjs', { sourceMap: true });
tsc('module', 'esm', { sourceMap: true });
tsc('root', 'cjs', { sourceMap: true, sourceRoot: '../src/' }, (name) => name);

const bundled = { entryPoints: ['src/program.ts'], bundle: true, minify: true, platform: 'node', external: ['@memwatch/node'] };
esbuild.buildSync({ ...bundled, sourcemap: true, outfile: 'bundle/program.js' });
esbuild.buildSync({ ...bundled, sourcemap: 'inline', format: 'esm', outfile: 'bundle/program.mjs' });
esbuild.buildSync({ ...bundled, bundle: false, external: undefined, minify: false, entryPoints: sources.map((n) => `src/${n}`),
  sourcemap: 'inline', format: 'cjs', outdir: 'inline' });
