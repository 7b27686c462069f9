// A mean that is wrong now and then: two workers keep the readings of a thermometer, the main thread averages them. Who
// wrote what, and where?  npm install && memwatch run thermometer.js
'use strict';
const { Worker, isMainThread, workerData, threadId } = require('node:worker_threads');
const { watch, share, receive } = require('@memwatch/node');

const READINGS = 5;

function record(board, degrees) {
  const next = board[0]; // how many there are
  board[1 + next] = degrees;
  board[0] = next + 1; // the other worker may have read the same number: then a reading is lost
}

function mean(board) {
  const n = board[0];
  return board.subarray(1, 1 + n).reduce((sum, degrees) => sum + degrees, 0) / n;
}

if (isMainThread) {
  const board = watch(new Float64Array(1 + 2 * READINGS), { name: 'board' });
  let working = 2;
  const ended = () => {
    if (--working) return;
    console.log(`${board[0]} readings of ${2 * READINGS}, mean ${mean(board).toFixed(1)}`);
  };
  for (let i = 0; i < 2; i++) new Worker(__filename, { workerData: share(board) }).on('exit', ended);
} else {
  const board = receive(workerData);
  for (let i = 0; i < READINGS; i++) record(board, 20 + threadId);
}
