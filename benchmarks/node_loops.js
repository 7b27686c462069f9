// The loops that benchmarks/node.py times: told which by a line of standard input, answers with ns for each round.
'use strict';
const memwatch = process.argv[2] && require(process.argv[2]);
const native = memwatch && require(`${process.argv[2]}/lib/native.js`);

const STORES = 20_000;
const WORK = 400_000;
const watched = memwatch?.watch(new Int32Array(16), { name: 'watched' });

function store(array, n) {
  for (let i = 0; i < n; i++) array[i & 15] = i;
}

function work(numbers, objects, n) { // typed arrays, objects, calls, strings: nothing watched
  let total = 0;
  for (let i = 0; i < n; i++) {
    numbers[i & 1023] = total;
    objects[i & 63].total += numbers[(i * 7) & 1023];
    if ((i & 1023) === 0) total += JSON.stringify(objects[i & 63]).length;
    total = (total + i) | 0;
  }
  return total;
}

const numbers = new Float64Array(1024);
const objects = Array.from({ length: 64 }, () => ({ total: 0 }));
const loops = {
  store: () => store(watched, STORES),
  work: () => work(numbers, objects, WORK),
};

require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const [loop, lines] = line.split(' ');
  native?.lines(lines !== 'bare');
  loops[loop](); // warm
  const start = process.hrtime.bigint();
  loops[loop]();
  console.log(Number(process.hrtime.bigint() - start) / (loop === 'store' ? STORES : WORK));
});
