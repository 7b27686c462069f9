// Sends orders out: "chairs euros" by the line, answered with how many chairs are left. See stockroom.py.
'use strict';
const readline = require('node:readline');
const { Client } = require('pg');
const { watch } = require('@memwatch/node');

const left = watch(new Int32Array(1));

async function ship(client, chairs, euros) {
  await client.query('BEGIN');
  try {
    const { rows } = await client.query('UPDATE stock SET chairs = chairs - $1 RETURNING chairs', [chairs]);
    left[0] = rows[0].chairs; // too early: it may yet be rolled back
    await client.query('INSERT INTO payments VALUES ($1)', [euros]);
    await client.query('COMMIT');
  } catch {
    await client.query('ROLLBACK');
  }
}

async function main() {
  const client = new Client(); // wherever PGHOST, PGUSER ... say
  await client.connect();
  for await (const order of readline.createInterface({ input: process.stdin })) {
    await ship(client, ...order.split(' ').map(Number));
    console.log(left[0]);
  }
  await client.end();
}

main();
