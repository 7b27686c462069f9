// What `make lint` asks of JavaScript. It has installed the rules into .node/lint.
'use strict';

const { createRequire } = require('node:module');
const installed = createRequire(`${__dirname}/.node/lint/`);
const js = installed('@eslint/js');
const globals = installed('globals');

module.exports = [
  { ignores: ['.*/', 'build/', 'dist/', 'site/', '**/node_modules/', 'node_bridge/{build,core,prebuilds}/'] },
  js.configs.recommended,
  {
    languageOptions: { ecmaVersion: 2023, sourceType: 'commonjs', globals: globals.node },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      eqeqeq: ['error', 'always', { null: 'ignore' }],
      'no-unused-vars': ['error', { varsIgnorePattern: '^_$', argsIgnorePattern: '^_$', ignoreRestSiblings: true }],
      'no-var': 'error',
      'prefer-const': ['error', { destructuring: 'all' }],
      // Length and complexity; an exception gives its reason beside it. Each `??`, `?.` and default value counts as a branch.
      complexity: ['error', 20],
      'max-depth': ['error', 4],
      'max-lines-per-function': ['error', 60],
    },
  },
  { files: ['**/*.mjs'], languageOptions: { sourceType: 'module' } },
  // What a driver puts in place of a library's functions shares what it has found in that library: functions in one function.
  { files: ['plugins/**'], rules: { 'max-lines-per-function': ['error', 120] } },
];
