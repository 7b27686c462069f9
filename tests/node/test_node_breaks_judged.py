"""What is judged, against JavaScript's own arithmetic: random conditions, random stores, each kind of number."""

from __future__ import annotations

import json
import random

import pytest
from nodejs import ONCE, Node

KINDS = {
    "Int8Array": (-128, 127), "Uint8Array": (0, 255), "Uint8ClampedArray": (0, 255), "Int16Array": (-3000, 3000),
    "Uint16Array": (0, 60000), "Int32Array": (-9, 9), "Uint32Array": (0, 2**32 - 1), "Float32Array": (-50, 50),
    "Float64Array": (-9, 9), "Buffer": (0, 255), "BigInt64Array": (-(2**63), 2**63 - 1), "BigUint64Array": (0, 2**64 - 1),
    "Float16Array": (-60, 60),
}  # fmt: skip

PROGRAM = """
    const { watch } = require('@memwatch/node');
    const { kind, cases, stores } = JSON.parse(require('fs').readFileSync('cases.json', 'utf8'));
    const isBig = kind.startsWith('Big');
    // Python's words for what JavaScript has otherwise; undefined: not known.
    const known = (f) => (a, b) => (a === undefined || b === undefined ? undefined : f(a, b));
    const ops = {
      '+': known((a, b) => a + b), '-': known((a, b) => a - b), '*': known((a, b) => a * b),
      '%': known((a, b) => (Number(b) === 0 ? undefined : ((a % b) + b) % b)),
      '<': known((a, b) => a < b), '<=': known((a, b) => a <= b), '==': known((a, b) => a == b), '!=': known((a, b) => a != b),
      '>': known((a, b) => a > b), '>=': known((a, b) => a >= b),
      and: (a, b) => (truth(a) === false || truth(b) === false ? false : truth(a) === undefined || truth(b) === undefined ? undefined : true),
      or: (a, b) => (truth(a) || truth(b) ? true : truth(a) === undefined || truth(b) === undefined ? undefined : false),
    };
    const truth = (a) => (a === undefined ? undefined : Boolean(a) || Number.isNaN(a));
    const exact = (n) => (isBig ? BigInt(n) : Number(n));
    function judge(tree, old, next) {
      if (tree === 'old') return old;
      if (tree === 'new') return next;
      if (typeof tree === 'string') return exact(tree);
      const [op, a, b] = tree, left = judge(a, old, next), right = b === undefined ? undefined : judge(b, old, next);
      if (op === 'not') return truth(left) === undefined ? undefined : !truth(left);
      if (op === 'abs') return left === undefined ? undefined : left < 0 ? -left : left;
      return ops[op](left, right);
    }
    const make = () => (kind === 'Buffer' ? Buffer.alloc(3) : new globalThis[kind](3));
    (async () => {
      const wrong = [];
      let met = 0;
      for (const { when, tree } of cases) {
        let told = 0;
        const x = watch(make(), { name: 'x', when, then: (hit) => { told += 1 + hit.more; } });
        let expected = 0;
        for (const [index, value] of stores) {
          const old = x[index];
          x[index] = exact(value);
          if (truth(judge(tree, old, x[index])) === true) expected++;
        }
        await null; await null; await null;
        if (told !== expected) wrong.push({ when, told, expected });
        met += expected;
      }
      console.log(JSON.stringify({ wrong, met }));
    })();
"""


def number(source: random.Random, low: int, high: int, ops: str, depth: int = 0) -> tuple[str, object]:
    if depth > 1 or source.random() < 0.4:
        word = source.choice(
            ["new", "old", "new", str(source.randint(low, high)), str(source.randint(max(low, -3), 3))]
        )
        return (f"({word})" if word.startswith("-") else word), word
    left, one = number(source, low, high, ops, depth + 1)
    if source.random() < 0.15:
        return f"abs({left})", ["abs", one]
    op = source.choice(ops)
    right, other = number(source, low, high, ops, depth + 1)
    return f"({left} {op} {right})", [op, one, other]


def made(source: random.Random, low: int, high: int, ops: str, depth: int = 0) -> tuple[str, object]:
    """A condition as text, and as the tree that the program judges."""
    kind = source.random()
    if depth > 2 or kind < 0.1:
        return number(source, low, high, ops)
    if kind < 0.6:
        op = source.choice(["<", "<=", "==", "!=", ">", ">="])
        (left, one), (right, other) = number(source, low, high, ops), number(source, low, high, ops)
        return f"({left} {op} {right})", [op, one, other]
    left, one = made(source, low, high, ops, depth + 1)
    if kind < 0.7:
        return f"(not {left})", ["not", one]
    right, other = made(source, low, high, ops, depth + 1)
    op = source.choice(["and", "or"])
    return f"({left} {op} {right})", [op, one, other]


@ONCE
@pytest.mark.parametrize("kind", KINDS)
def test_random_conditions_are_met_by_the_stores_that_meet_them(node: Node, kind: str) -> None:
    if kind == "Float16Array":
        node = Node(24, node.folder / "24") if node.version < 24 else node
    source, (low, high) = random.Random(kind), KINDS[kind]
    small = max(low, -(2**20)), min(high, 2**20)  # so that doubles are exact
    # What isn't known has tests of its own: a product of more than 127 bits, a remainder of what is infinite.
    ops = "+-%" if kind.startswith("Big") else "+-*" if kind.startswith("Float") else "+-*%"
    cases = [{"when": text, "tree": tree} for text, tree in (made(source, *small, ops) for _ in range(150))]
    stores = [(source.randrange(3), str(source.randint(low, high))) for _ in range(40)]
    if kind.startswith("Float"):
        stores += [(source.randrange(3), word) for word in ("NaN", "Infinity", "-Infinity", "-0", "0.5", "-2.25", "6e-8", "1e-5")]  # fmt: skip
    (node.folder / "cases.json").write_text(json.dumps({"kind": kind, "cases": cases, "stores": stores}))
    node.write(PROGRAM)
    result = json.loads(node.run("program.js").stdout)
    assert not result["wrong"]
    assert result["met"] > 500


@ONCE
def test_numbers_by_their_place_are_judged_at_every_store(node: Node) -> None:
    node.write("""
        const { watch } = require('@memwatch/node');
        (async () => {
          const told = [], next = () => {};
          const x = watch(new Int16Array(600), { name: 'x', when: 'new[599] - old[0] > 5 and new[3] == 0', then: (hit) => told.push(hit.path, hit.old, hit.new, hit.more) });
          for (const [i, n] of [[599, 6], [0, 1], [1, 9], [599, 7], [3, 1], [599, 9], [3, 0]]) { x[i] = n; next(); await null; await null; }
          console.log(told.join());
        })();
    """)
    assert node.run("program.js").stdout == "x[599],0,6,0,x[0],0,1,0,x[599],6,7,0,x[3],1,0,0\n"
