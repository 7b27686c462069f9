// Memory of WebAssembly, and code that stores to it.
'use strict';
const { watch, unwatch, share, session } = require('@memwatch/node');

/** (memory $m) (func (export "store") (param $at i32) (param $n i32) (i32.store …)) and with the same two: fill, move, grow. */
function instance(memory) {
  const bytes = (...parts) => parts.flat(9), text = (s) => [s.length, ...Buffer.from(s)], section = (id, content) => [id, content.length, ...content];
  const body = (...code) => [code.length + 2, 0, ...code, 0x0b], AT = [0x20, 0], N = [0x20, 1];
  const code = bytes(
    [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    section(1, bytes(2, [0x60, 2, 0x7f, 0x7f, 0], [0x60, 0, 1, 0x7f])),
    section(2, bytes(1, text(''), text('m'), [2, 1, 1, 8])),
    section(3, [4, 0, 0, 0, 1]),
    section(7, bytes(4, text('store'), 0, 0, text('fill'), 0, 1, text('move'), 0, 2, text('grow'), 0, 3)),
    section(10, bytes(4, body(...AT, ...N, 0x36, 2, 0), body(...AT, ...N, 0x41, 4, 0xfc, 0x0b, 0), body(...AT, ...N, 0x41, 4, 0xfc, 0x0a, 0, 0), body(0x41, 1, 0x40, 0))),
  );
  return new WebAssembly.Instance(new WebAssembly.Module(Uint8Array.from(code)), { '': { m: memory } }).exports;
}

const memory = () => new WebAssembly.Memory({ initial: 1, maximum: 8 });
module.exports = { watch, unwatch, share, session, instance, memory };
