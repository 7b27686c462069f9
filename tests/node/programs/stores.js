// Every way of JavaScript and of Node to write to a buffer. Counts what must be one store each, looks at the values, and
// ends with what the buffer holds, for whoever replays the events.
'use strict';
const { watch, session } = require('@memwatch/node');
const crypto = require('node:crypto');

const N = Number(process.argv[2] ?? 3000);
const SIZE = 1 << 15;
const { stats } = session();
const ab = watch(new ArrayBuffer(SIZE), { name: 'all' });
const I32 = new Int32Array(ab), F64 = new Float64Array(ab), B64 = new BigInt64Array(ab), U8 = new Uint8Array(ab);
const kinds = [Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array, Float32Array, Float64Array];
let failed = 0;

function seen(name, store, holds = () => true, count = undefined) {
  const before = stats().stores;
  store();
  const n = stats().stores - before;
  if ((count === undefined ? n > 0 : n === count) && holds()) return;
  failed++;
  console.log(`${name}: ${n} stores, expected ${count ?? 'some'}; holds: ${holds()}`);
}

// ---- element stores in loops, through the tiers
function hotI32(a, n) { for (let i = 0; i < n; i++) a[i & 1023] = i; }
function hotF64(a, n) { for (let i = 0; i < n; i++) a[5] = i + 0.5; }
function hotB64(a, n) { for (let i = 0; i < n; i++) a[3] = BigInt(i); }
function hotInc(a, n) { for (let i = 0; i < n; i++) a[7]++; }
function hotAny(a, n) { for (let i = 0; i < n; i++) a[i & 15] = i; }
seen('Int32Array', () => hotI32(I32, N), () => I32[(N - 1) & 1023] === N - 1, N);
seen('Float64Array', () => hotF64(F64, N), () => F64[5] === N - 0.5, N);
seen('BigInt64Array', () => hotB64(B64, N), () => B64[3] === BigInt(N - 1), N);
I32[7] = 0;
seen('++', () => hotInc(I32, N), () => I32[7] === N, N);
for (const kind of kinds) seen(`one function, ${kind.name}`, () => hotAny(new kind(ab), N >> 2), undefined, N >> 2);

// ---- optimised, deoptimised, optimised again; code made and thrown away, so that its addresses are used again
for (let round = 0; round < 8; round++) {
  const stores = 1 + (round % 3);
  const f = new Function(`return function f${round}(a, n) { for (let i = 0; i < n; i++) { a[i & 63] = i * ${round}; ${'a[1] = i;'.repeat(round % 3)} } }`)();
  seen(`new function ${round}`, () => f(I32, N), undefined, N * stores);
  seen(`deoptimised ${round}`, () => f(F64, N >> 3), undefined, (N >> 3) * stores);
  if (globalThis.gc && round % 3 === 2) globalThis.gc();
}

// ---- builtins
const mixed = Int32Array.from({ length: 1000 }, (_, i) => (i * 7) % 1000);
const v = I32.subarray(0, 1000), bytes = U8.subarray(0, 30000), f = F64.subarray(0, 1000);
seen('fill', () => v.fill(9), () => v.every((x) => x === 9));
seen('fill bytes', () => bytes.fill(77), () => bytes.every((x) => x === 77));
seen('fill doubles', () => f.fill(1.5), () => f.every((x) => x === 1.5));
seen('set from its kind', () => v.set(mixed), () => v.every((x, i) => x === mixed[i]));
seen('set from an array', () => v.set(Array.from(mixed).reverse()), () => v[0] === mixed[999]);
seen('set converting', () => f.set(mixed), () => f.every((x, i) => x === mixed[i]));
seen('set much', () => bytes.set(new Uint8Array(30000).fill(3)), () => bytes.every((x) => x === 3));
v.set(mixed);
seen('copyWithin', () => v.copyWithin(0, 500), () => v[0] === mixed[500]);
v.set(mixed);
seen('copyWithin, overlapping', () => v.copyWithin(1, 0), () => v[1] === mixed[0] && v[999] === mixed[998]);
v.set(mixed);
seen('sort', () => v.sort(), () => v.every((x, i) => x === i));
seen('sort with a function', () => v.sort((a, b) => b - a), () => v[0] === 999);
seen('reverse', () => v.reverse(), () => v[0] === 0);
seen('destructuring and friends', () => {
  [v[0], v[1]] = [41, 42];
  Object.assign(v, [1, 2, 3]);
  Reflect.set(v, 5, 6);
  v[6] &&= 1;
  v[7] += 3;
  Array.prototype.fill.call(v, 8, 9, 12);
}, () => v[0] === 1 && v[5] === 6 && v[9] === 8);

// ---- Atomics
function add(a, n) { for (let i = 0; i < n; i++) Atomics.add(a, 0, 1); }
function store(a, n) { for (let i = 0; i < n; i++) Atomics.store(a, 0, i); }
function exchange(a, n) { for (let i = 0; i < n; i++) Atomics.compareExchange(a, 0, i, i + 1); }
v[0] = 0;
seen('Atomics.add', () => add(v, N), () => v[0] === N, N);
seen('Atomics.store', () => store(v, N), () => v[0] === N - 1, N);
v[0] = 0;
seen('Atomics.compareExchange', () => exchange(v, N), () => v[0] === N, N);
seen('Atomics, the others', () => {
  v[0] = 5;
  Atomics.exchange(v, 2, 4);
  Atomics.or(v, 2, 1);
  Atomics.sub(v, 0, 1);
  Atomics.and(v, 3, 0);
  Atomics.xor(v, 3, 6);
  Atomics.add(B64, 300, 5n);
}, () => v[0] === 4 && v[2] === 5 && v[3] === 6);

// ---- DataView and Buffer
const view = new DataView(ab, 0, 4096), buffer = Buffer.from(ab, 0, 16384);
function viewed(d, n) { for (let i = 0; i < n; i++) { d.setInt32(4, i, true); d.setFloat64(9, i, true); d.setInt16(33, i); d.setUint8(40, i); } }
function written(b, n) { for (let i = 0; i < n; i++) b.writeInt32LE(i, 4); }
seen('DataView', () => viewed(view, N >> 2), () => view.getInt32(4, true) === (N >> 2) - 1 && view.getFloat64(9, true) === (N >> 2) - 1);
seen('DataView, bigint', () => view.setBigInt64(100, 12345678901n, true), () => view.getBigInt64(100, true) === 12345678901n);
seen('writeInt32LE', () => written(buffer, N >> 2), () => buffer.readInt32LE(4) === (N >> 2) - 1, N >> 2 << 2);
seen('write utf8', () => buffer.write('héllo wörld'.repeat(50), 10), () => buffer.toString('utf8', 10, 20).startsWith('héllo'));
seen('write latin1', () => buffer.write('hello'.repeat(300), 0, 'latin1'), () => buffer.toString('latin1', 100, 105) === 'hello');
seen('write hex, base64, utf16le', () => {
  buffer.write('deadbeef', 0, 'hex');
  buffer.write('aGVsbG8gd29ybGQ=', 100, 'base64');
  buffer.write('hi', 200, 'utf16le');
}, () => buffer[0] === 0xde && buffer.toString('latin1', 100, 105) === 'hello');
seen('copy', () => Buffer.from('x'.repeat(5000)).copy(buffer, 3), () => buffer[3] === 120 && buffer[5002] === 120);
seen('write numbers', () => {
  buffer.writeDoubleLE(3.25, 3);
  buffer.writeBigInt64LE(5n, 16);
  buffer.writeFloatBE(1.5, 24);
}, () => buffer.readDoubleLE(3) === 3.25 && buffer.readBigInt64LE(16) === 5n && buffer.readFloatBE(24) === 1.5);
seen('fill with a string', () => buffer.fill('abc', 0, 5000), () => buffer[4] === 98);
seen('swap32', () => buffer.subarray(0, 1024).swap32());
seen('TextEncoder.encodeInto', () => new TextEncoder().encodeInto('hello €'.repeat(20), bytes), () => bytes[0] === 104);

// ---- native code of Node, on this thread and on others
seen('randomFillSync', () => crypto.randomFillSync(bytes.subarray(0, 5000)));
const zlib = require('node:zlib');
const packed = zlib.deflateRawSync(Buffer.alloc(20000, 'memwatch'));
seen('hash', () => buffer.set(crypto.createHash('sha256').update('x').digest(), 0));
const before = stats().stores;
crypto.randomFill(bytes, 100, 5000, (error) => {
  if (error || stats().stores === before) failed++, console.log('randomFill on a thread of the pool:', error);
  seen('inflate and copy', () => zlib.inflateRawSync(packed).copy(buffer), () => buffer.toString('latin1', 0, 8) === 'memwatch');
  console.log(`${failed} failed; holds ${crypto.createHash('sha256').update(U8).digest('hex')}`);
  process.exitCode = failed ? 1 : 0;
});
