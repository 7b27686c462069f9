// sensors.js
// Four sensors, each with its slot; the reading of the third one comes out as another's.
'use strict';
const { watch } = require('@memwatch/node');

const board = watch(new Float64Array(4), { name: 'board' });

function store(sensor, degrees) {
  board[sensor - 1] = degrees;
}

function calibrate(sensor) {
  board[sensor] = 0; // sensors count from 1
}

for (let sensor = 1; sensor <= 4; sensor++) store(sensor, 20 + sensor);
calibrate(2);
console.log(`the third sensor says ${board[2]}`);
