// receipts.js
// Two orders are packed at once; the receipt of the first one says 35 instead of 30.
'use strict';
const { watch, label } = require('@memwatch/node');

const total = watch(new Float64Array(1), { name: 'total' });

async function receipt(prices) {
  total[0] = 0;
  for (const price of prices) {
    await null; // the parcel is weighed; others go on meanwhile
    total[0] += price;
  }
  return total[0];
}

for (const [order, prices] of [['order 17', [10, 20]], ['order 18', [5]]]) {
  label(order, receipt, prices).then((sum) => console.log(`${order}: ${sum}`));
}
