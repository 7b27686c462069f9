// The loops that benchmarks/node.py times: told which by a line of standard input, answers with ns of CPU time for each
// round; "quickest" is the best of many.
'use strict';
const memwatch = process.argv[2] && require(process.argv[2]);
const native = memwatch && require(`${process.argv[2]}/lib/native.js`);

const STORES = 20_000;
const WORK = 400_000;
const watched = memwatch?.watch(new Int32Array(16), { name: 'watched' });

function store(array, n) {
  for (let i = 0; i < n; i++) array[i & 15] = i;
}

function loop(from, to, n) { // arrays that aren't watched
  let total = 0;
  for (let i = 0; i < n; i++) {
    to[i & 1023] = total;
    total = (total + from[(i * 7) & 1023]) | 0;
    from[(i + 1) & 1023] = i;
  }
  return total;
}

function work(numbers, objects, n) { // and objects, calls, strings
  let total = 0;
  for (let i = 0; i < n; i++) {
    numbers[i & 1023] = total;
    objects[i & 63].total += numbers[(i * 7) & 1023];
    if ((i & 1023) === 0) total += JSON.stringify(objects[i & 63]).length;
    total = (total + i) | 0;
  }
  return total;
}

const from = new Int32Array(1024), to = new Int32Array(1024), numbers = new Float64Array(1024);
const objects = Array.from({ length: 64 }, () => ({ total: 0 }));
const loops = {
  store: [() => store(watched, STORES), STORES],
  loop: [() => loop(from, to, WORK), WORK],
  work: [() => work(numbers, objects, WORK), WORK],
};

function timed([run, rounds]) {
  const start = process.cpuUsage();
  run();
  const { user, system } = process.cpuUsage(start);
  return (user + system) * 1e3 / rounds;
}

require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const [name, how] = line.split(' ');
  native?.lines(how !== 'bare');
  timed(loops[name]); // warm
  const times = Array.from({ length: how === 'quickest' ? 40 : 1 }, () => timed(loops[name]));
  console.log(Math.min(...times));
});
