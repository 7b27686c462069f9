// Libraries that settle promises for several flows at once, with the result of one statement: each flow that awaits
// such a promise gets the batch's statement. For any other promise that several flows await, only one of them gets it.
'use strict';

const { replace, owner } = require('./patches');
const prisma = require('./prisma');

/** Marks the promises returned by an object's method as such. */
function batches(tracer, object, name) {
  return replace(owner(object, name), name, (original) => function () {
    return tracer.shared(Reflect.apply(original, this, arguments));
  });
}

/** Packages that have no plugin of their own -> methods of their class. */
const METHODS = { dataloader: ['load'] }; // the others call it

const batchers = new Map(Object.entries(METHODS).map(([target, names]) => [target, {
  name: target,
  target,
  install(exported, tools) {
    for (const name of names) tools.batches((exported.default ?? exported).prototype, name);
  },
}]));
batchers.set(prisma.target, prisma);

module.exports = { batches, batchers };
