// Prisma's client: what is asked for within a transaction, and each findUnique(), waits for the next tick, in which the
// flow that asked first runs it for all; a promise is then settled for each that asked.
'use strict';

/** Of requests that became one statement, or were one, each has that. Several of a transaction are run one by one. */
const oneByOne = (key, { length }) => length > 1 && key.startsWith('itx-');

function install(exported, { tracer, replace }, _file, loaded) {
  const followed = new WeakSet(); // prototypes of what collects requests: nothing that is exported leads there
  const promises = new WeakMap(); // what waits -> its promise

  function follow(loader) {
    const prototype = loader && Object.getPrototypeOf(loader);
    if (!prototype || followed.has(prototype)) return;
    followed.add(prototype);
    replace(prototype, 'request', (request) => function (asked) {
      const promise = Reflect.apply(request, this, arguments);
      tracer.guard(() => {
        const waits = Object.values(this.batches).map((batch) => batch.at(-1)).find((last) => last?.request === asked);
        if (waits) promises.set(waits, promise);
      });
      return promise;
    });
    replace(prototype, 'dispatchBatches', (dispatch) => function () {
      tracer.guard(() => {
        for (const [key, batch] of Object.entries(this.batches)) {
          if (!oneByOne(key, batch)) for (const each of batch) tracer.shared(promises.get(each));
        }
      });
      return tracer.outside(() => Reflect.apply(dispatch, this, arguments)); // not under what the first had before
    });
  }

  const { getPrismaClient: original } = exported;
  if (typeof original !== 'function') return;
  const getPrismaClient = function () {
    const Client = Reflect.apply(original, this, arguments);
    replace(Client.prototype, '_request', (request) => function () {
      tracer.guard(() => follow(this._requestHandler?.dataloader));
      return Reflect.apply(request, this, arguments);
    });
    return Client;
  };
  // They are getters that can't be replaced.
  const descriptors = Object.getOwnPropertyDescriptors(exported);
  loaded.exports = Object.create(Object.getPrototypeOf(exported), { ...descriptors, getPrismaClient: { enumerable: true, value: getPrismaClient } });
}

module.exports = { name: 'prisma', target: '@prisma/client', files: ['runtime/client.js'], replacesExports: true, install };
