// Stores of every kind and tier; after each, the test is told where the last one came from: show(case, its source text).
'use strict';
const fs = require('node:fs');
const { watch, session } = require('@memwatch/node');
const other = require('./lines_other.js');

const { stats } = session();
const source = { 'lines.js': fs.readFileSync(__filename, 'utf8'), 'lines_other.js': fs.readFileSync(`${__dirname}/lines_other.js`, 'utf8') };
const shown = [];
function show(name, text, file = 'lines.js') {
  const line = source[file].slice(0, source[file].indexOf(text)).split('\n').length;
  shown.push({ case: name, file, line, seq: stats().stores });
}
process.on('exit', () => console.log(JSON.stringify(shown)));

const ab = watch(new ArrayBuffer(4096), { name: 'ab' });
const a = new Int32Array(ab), f64 = new Float64Array(ab), dv = new DataView(ab), buf = Buffer.from(ab);
let i;

function plain(n) {
  let z = n * 2;
  z += 1;
  a[3] = z;
  return z;
}
plain(1); show('interpreted', 'a[3] = z');
function inc() {
  const q = 1;
  a[4] += q;
  return q;
}
inc(); show('interpreted, compound', 'a[4] += q');
function two(x) {
  a[1] = x;
  if (x > 3) {
    a[2] = x;
  } else {
    a[5] = x;
  }
}
two(1); show('interpreted, else', 'a[5] = x');
two(9); show('interpreted, if', 'a[2] = x');
for (i = 0; i < 400; i++) plain(i);
plain(1); show('warm', 'a[3] = z');
for (i = 0; i < 10000; i++) plain(i);
plain(1); show('optimised', 'a[3] = z');
for (i = 0; i < 10000; i++) two(i & 7);
two(1); show('optimised, else', 'a[5] = x');
two(9); show('optimised, if', 'a[2] = x');

function small(x) {
  a[6] = x;
}
function outer(n) {
  let s = 0;
  for (let k = 0; k < n; k++) {
    small(k);
    s += k;
  }
  return s;
}
outer(20000); show('inlined, replaced on the stack', 'a[6] = x');
outer(2000); show('inlined', 'a[6] = x');
function outer2(n) {
  for (let k = 0; k < n; k++) {
    other.put(a, 7, k);
  }
}
outer2(20000); show('inlined from another file, replaced on the stack', 'array[at] = value', 'lines_other.js');
outer2(2000); show('inlined from another file', 'array[at] = value', 'lines_other.js');
function loop(n) {
  for (let k = 0; k < n; k++) {
    f64[k & 7] = k + 0.5;
    a[40] = k;
    a[41] = k;
  }
}
loop(10000); show('last of three in a loop', 'a[41] = k');
function straight() {
  a[50] = 1;
  a[51] = 2;
  a[52] = 3;
}
for (i = 0; i < 10000; i++) straight();
straight(); show('optimised, straight line', 'a[52] = 3');

function fill() {
  const q = 3;
  a.fill(q, 0, 4);
  return q;
}
fill(); show('fill', 'a.fill(q');
for (i = 0; i < 5000; i++) fill();
fill(); show('fill from optimised code', 'a.fill(q');
const numbers = new Int32Array([1, 2, 3, 4]);
function set() {
  a.set(numbers, 4);
  return 1;
}
set(); show('set', 'a.set(numbers');
for (i = 0; i < 5000; i++) set();
set(); show('set from optimised code', 'a.set(numbers');
function sort() {
  a.subarray(0, 10).sort();
  return 1;
}
sort(); show('sort', '.sort()');
function each() {
  [1, 2, 3].forEach((x) => {
    a[60] = x;
  });
  return 1;
}
each(); show('callback', 'a[60] = x');
for (i = 0; i < 3000; i++) each();
each(); show('callback, optimised', 'a[60] = x');
function atomic() {
  Atomics.add(a, 0, 1);
  return 1;
}
atomic(); show('Atomics', 'Atomics.add(a, 0');
for (i = 0; i < 10000; i++) atomic();
atomic(); show('Atomics, optimised', 'Atomics.add(a, 0');
function viewed() {
  dv.setInt32(8, 77, true);
  return 1;
}
viewed(); show('DataView', 'dv.setInt32(8');
for (i = 0; i < 10000; i++) viewed();
viewed(); show('DataView, optimised', 'dv.setInt32(8');
function text() {
  buf.write('hello', 0);
  return 1;
}
text(); show('in C++ below JavaScript of Node', "buf.write('hello'");
function number() {
  buf.writeInt32LE(7, 16);
  return 1;
}
number(); show('in JavaScript of Node', 'buf.writeInt32LE(7');
class K {
  static put(x) {
    a[80] = x;
  }
}
K.put(1); show('static method', 'a[80] = x');
for (i = 0; i < 200; i++) K.put(i);
K.put(1); show('static method, warm', 'a[80] = x');
function* steps() {
  yield 1;
  a[81] = 1;
  yield 2;
}
const it = steps();
it.next();
it.next(); show('generator', 'a[81] = 1');
for (i = 0; i < 300; i++) inc();
inc(); show('compound, warm', 'a[4] += q');
for (i = 0; i < 900; i++) inc();
inc(); show('compound, warmer', 'a[4] += q');
a[90] = 1; show('module', 'a[90] = 1');
async function later() {
  await null;
  a[70] = 1; show('after await', 'a[70] = 1');
  await new Promise((done) => setTimeout(done, 1));
  a[71] = 1; show('after a timer', 'a[71] = 1');
}
later();
