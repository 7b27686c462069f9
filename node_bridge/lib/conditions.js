// Makes of a condition (when: 'new < 0') the program of bytes by which the core judges events: what memwatch_core/conditions.py
// does for Python, to the byte. tests/node/test_node_conditions.py holds them together. The instructions are those of
// memwatch_core/core/journal/predicate.h.
'use strict';

const { part, read, refusal } = require('./conditions_text');
const { repr } = require('./like_python');

const OPERATORS = {
  '<': 32, '<=': 33, '==': 34, '!=': 35, '>': 36, '>=': 37, in: 38, like: 39, not: 40, and: 41, or: 42,
  '+': 48, '-': 49, '*': 50, '/': 51, '//': 52, '%': 53, negate: 54,
};
const FUNCTIONS = { abs: 55, len: 56 };
const [INT, FLOAT, TEXT, BYTES, NONE, TRUE, FALSE, ABSENT] = [1, 2, 3, 4, 5, 6, 7, 8];
const [NUMBER, CHANGED, PATH, SITE, THREAD, THREAD_ID, STATEMENT] = [16, 20, 24, 25, 29, 30, 31];
const SITES = { file: 26, line: 27, function: 28 };
const [TEST, DECIDED] = [64, 66];
const MIRRORED = { '<': '>', '<=': '>=', '>': '<', '>=': '<=', '==': '==', '!=': '!=' };
const ARITHMETIC = ['+', '-', '*', '/', '//', '%'];
const [PROGRAM_MAX, VALUES_MAX] = [4096, 16];

/**
 * What the bytes of a variable mean.
 * @typedef {{ kind: 'number' | 'struct' | 'other', variable: string, letter: string, size: number, count: number, secret: boolean }} Shape
 *   letter: of Python's struct module, for numbers of `size` bytes, little-endian, of which there are `count`
 */

/** The program of a condition for such a variable. Throws ConditionError: it can't be read, or says what this hasn't. */
function compile(text, shape) {
  const program = new Compiler(text, shape).emit(read(text));
  if (program.length > PROGRAM_MAX) throw refusal(text, 0, 'the condition is too long');
  return program;
}

const isName = (one, ...values) => one.kind === 'name' && values.includes(one.value);
const isInt64 = (value) => typeof value === 'bigint' && BigInt.asIntN(64, value) === value;

function packed(size, write) {
  const bytes = Buffer.alloc(size);
  write(bytes);
  return bytes;
}

class Compiler {
  constructor(text, shape) {
    this.text = text;
    this.shape = shape;
    this.held = 0;
  }

  refusal(at, why) {
    return refusal(this.text, at, why);
  }

  /** The instructions that leave the value of a part. */
  emit(one) {
    if (one.kind === 'constant') return typeof one.value === 'bigint' && !isInt64(one.value) ? this.large(one) : this.push(one, this.constant(one.value));
    if (one.kind === 'absent') return this.push(one, Buffer.of(ABSENT));
    if (one.kind === 'name') return this.push(one, this.named(one));
    if (one.kind === 'call') return Buffer.concat([this.emit(one.parts[0]), Buffer.of(FUNCTIONS[one.value])]);
    if (one.kind === 'tuple') throw this.refusal(one.at, 'a list stands behind in, or not in: new in (1, 2)');
    if (one.kind === 'in' && one.parts[1].kind === 'tuple') return this.oneOf(one);
    const patterns = ['like', '==', '!='].includes(one.kind) ? this.patterns(one) : [];
    if (patterns.length && one.kind === '!=') return Buffer.concat([this.emit({ ...one, kind: '==' }), Buffer.of(OPERATORS.not)]);
    if (patterns.length) return this.anyOf(one.parts[0], patterns);
    this.checkKinds(one);
    if (one.kind === 'and' || one.kind === 'or') return this.short(one);
    const tested = one.kind in MIRRORED && this.tested(one);
    if (tested) return this.push(one, tested);
    const code = one.parts.map((below) => this.emit(below));
    this.held -= one.parts.length - 1;
    return Buffer.concat([...code, Buffer.of(OPERATORS[one.kind])]);
  }

  /** a and b: b is left out where a decides. */
  short({ kind, parts }) {
    const [left, right] = parts.map((below) => this.emit(below));
    this.held--;
    const rest = Buffer.concat([right, Buffer.of(OPERATORS[kind])]);
    return Buffer.concat([left, packed(4, (bytes) => { bytes[0] = DECIDED; bytes[1] = OPERATORS[kind]; bytes.writeUInt16LE(rest.length, 2); }), rest]);
  }

  /** new < 0 in one instruction; undefined: it is none of these. */
  tested({ kind, parts: [left, right] }) {
    if (left.kind === 'constant') [left, right, kind] = [right, left, MIRRORED[kind]];
    const { shape } = this;
    if (right.kind !== 'constant' || !isInt64(right.value) || !isName(left, 'old', 'new') || shape.secret) return undefined;
    if (shape.kind === 'other' || (shape.kind === 'number' && left.keys.length)) return undefined;
    const index = shape.kind === 'struct' ? this.index(left) : 0;
    if (shape.letter !== 'q') return undefined;
    return packed(15, (bytes) => {
      bytes.set([TEST, Number(left.value === 'new'), OPERATORS[kind]]);
      bytes.writeUInt32LE(index * shape.size, 3);
      bytes.writeBigInt64LE(right.value, 7);
    });
  }

  push(one, instruction) {
    if (++this.held > VALUES_MAX) throw this.refusal(one.at, 'the condition is nested too deep');
    return instruction;
  }

  /** A whole number that the instruction for one has no room for. */
  large({ value, at }) {
    const high = value >> 32n, low = value & 0xffffffffn;
    const constant = (number) => part('constant', at, { value: number });
    return this.emit(part('+', at, { parts: [part('*', at, { parts: [constant(high), constant(2n ** 32n)] }), constant(low)] }));
  }

  constant(value) {
    if (value === null || typeof value === 'boolean') return Buffer.of(value === null ? NONE : value ? TRUE : FALSE);
    if (typeof value === 'bigint') return packed(9, (bytes) => { bytes[0] = INT; bytes.writeBigInt64LE(value, 1); });
    if (typeof value === 'number') return packed(9, (bytes) => { bytes[0] = FLOAT; bytes.writeDoubleLE(value, 1); });
    const data = Buffer.from(value);
    return Buffer.concat([packed(3, (bytes) => { bytes[0] = typeof value === 'string' ? TEXT : BYTES; bytes.writeUInt16LE(data.length, 1); }), data]);
  }

  // ---- several ----

  /** new in (1, 2): each is compared; an empty list has nothing. */
  oneOf({ at, parts: [left, right] }) {
    const code = right.parts.map((one, number) => {
      const compared = this.emit(part('==', at, { parts: [left, one] }));
      if (!number) return compared;
      this.held--;
      return Buffer.concat([compared, Buffer.of(OPERATORS.or)]);
    });
    return code.length ? Buffer.concat(code) : this.push(left, Buffer.of(FALSE));
  }

  anyOf(left, patterns) {
    return Buffer.concat(patterns.map((pattern, number) => {
      const code = [this.emit(left), this.push(left, this.constant(pattern)), Buffer.of(OPERATORS.like, ...(number ? [OPERATORS.or] : []))];
      this.held -= number ? 2 : 1;
      return Buffer.concat(code);
    }));
  }

  /** Of a place in the source: a file is named by the end of its path, as people do. */
  patterns({ parts: [left, right] }) {
    const ofFile = isName(left, 'site') && (!left.keys.length || (left.keys.length === 1 && left.keys[0] === 'file'));
    if (!ofFile || right.kind !== 'constant' || typeof right.value !== 'string') return [];
    return /^[/*]/.test(right.value) ? [right.value] : [right.value, `*/${right.value}`];
  }

  // ---- names ----

  named(one) {
    const [key] = one.keys;
    switch (one.value) {
      case 'old':
      case 'new': return this.value(one);
      case 'variable':
      case 'path': return this.constant(this.shape.variable);
      case 'site': return Buffer.of(key === undefined ? SITE : SITES[key]);
      case 'thread': return Buffer.of(key === 'id' ? THREAD_ID : THREAD);
      default: return Buffer.of({ changed: CHANGED, statement: STATEMENT, path: PATH }[one.value]);
    }
  }

  value(one) {
    const { shape } = this, side = Number(one.value === 'new');
    if (shape.secret) throw this.refusal(one.at, `${repr(shape.variable)} is a secret: its value isn't judged; changed says if it is another`);
    if (shape.kind === 'struct') return this.field(side, this.index(one));
    if (one.keys.length) throw this.refusal(one.at, `the value of ${repr(shape.variable)} has no parts: compare ${one.value}`);
    if (shape.kind === 'number') return this.field(side, 0);
    throw this.refusal(one.at, `values like that of ${repr(shape.variable)} aren't compared; changed can be asked`);
  }

  index(one) {
    const { count, variable } = this.shape;
    const key = one.keys.length === 1 ? one.keys[0] : undefined;
    if (typeof key === 'bigint' && key < count) return Number(key);
    throw this.refusal(one.at, `${repr(variable)} is a struct, of which a field is compared: ${one.value}[0] to ${one.value}[${count - 1}]`);
  }

  field(side, index) {
    const { letter, size } = this.shape;
    return packed(8, (bytes) => {
      bytes.set([NUMBER, side, letter.charCodeAt(0), 1]);
      bytes.writeUInt32LE(index * size, 4);
    });
  }

  // ---- what can't be right ----

  /** 'number', 'text', 'bytes'; '': it isn't known. */
  kind(one) {
    if (one.kind === 'constant') {
      if (typeof one.value === 'string') return 'text';
      return one.value === null ? '' : Buffer.isBuffer(one.value) ? 'bytes' : 'number';
    }
    if (ARITHMETIC.includes(one.kind) || one.kind === 'negate' || one.kind === 'call') return 'number';
    if (one.kind !== 'name') return '';
    if (isName(one, 'old', 'new')) return this.kindOfValue(one);
    if (one.value === 'changed' || one.keys[0] === 'line' || one.keys[0] === 'id') return 'number';
    return one.value === 'statement' ? '' : 'text';
  }

  kindOfValue(one) {
    const { kind, secret } = this.shape;
    if (kind === 'struct' && !secret) this.index(one);
    return kind === 'number' || (kind === 'struct' && !secret) ? 'number' : '';
  }

  /** A comparison that could never be known is a mistake. */
  checkKinds({ kind, at, parts }) {
    if (parts.length !== 2 || kind === 'and' || kind === 'or') return;
    const [left, right] = parts.map((below) => this.kind(below));
    if (ARITHMETIC.includes(kind)) {
      const wrong = [left, right].find((found) => found && found !== 'number');
      if (wrong) throw this.refusal(at, `${kind} computes with numbers, not with ${wrong}`);
      return;
    }
    if (kind === 'like' && [left, right].some((found) => found && found !== 'text')) {
      throw this.refusal(at, 'like compares a text with a pattern: path like "*.total"');
    }
    if (left && right && left !== right) throw this.refusal(at, `${left} is never compared with ${right}`);
  }
}

module.exports = { compile };
