"""Random call trees in JavaScript: functions that call one another in every way that the language and its library have,
and store at the leaves; V8's own stack trace at the store is told beside it."""

from __future__ import annotations

import random

WAYS = {
    "plain": "G(d);",
    "last": "return G(d);",
    "argument": "String(G(d));",
    "method": "({ go(e) { return G(e); } }).go(d);",
    "computed": "const o = { ['k' + 1](e) { G(e); } }; o.k1(d);",
    "closure": "(() => G(d))();",
    "nested": "const a = () => b(), b = () => c(), c = () => G(d); a();",
    "map": "[0].map(() => G(d));",
    "forEach": "[0, 1].forEach((v) => { if (v) G(d); });",
    "sort": "let once = false; [2, 1].sort((a, b) => { if (!once) { once = true; G(d); } return a - b; });",
    "reduce": "[1].reduce((a) => { G(d); return a; }, 0);",
    "find": "[1].find(() => { G(d); return true; });",
    "flatMap": "[1].flatMap(() => { G(d); return []; });",
    "typed": "new Uint8Array(1).map(() => { G(d); return 1; });",
    "from": "Array.from({ length: 1 }, () => G(d));",
    "Map.forEach": "new Map([[1, 2]]).forEach(() => G(d));",
    "getter": "void ({ get v() { return G(d); } }).v;",
    "setter": "({ set v(e) { G(e); } }).v = d;",
    "static getter": "void (class { static get v() { return G(d); } }).v;",
    "class": "new (class { constructor(e) { G(e); } })(d);",
    "function as class": "new (function () { G(d); })();",
    "derived class": "class A { constructor() { G(d); } } class B extends A { constructor() { super(); } } new B();",
    "default constructor": "class A { constructor() { G(d); } } class B extends A {} new B();",
    "field": "new (class { v = G(d); })();",
    "static block": "(class { static { G(d); } });",
    "private method": "new (class { #go() { G(d); } run() { this.#go(); } })().run();",
    "generator": "for (const v of (function* () { yield G(d); })()) void v;",
    "generator resumed": "const g = (function* () { yield 1; G(d); })(); g.next(); g.next();",
    "generator returned": "const g = (function* () { try { yield 1; } finally { G(d); } })(); g.next(); g.return();",
    "generator thrown into": "const g = (function* () { try { yield 1; } catch { G(d); } })(); g.next(); g.throw(1);",
    "yield*": "const i = function* () { yield G(d); }; for (const v of (function* () { yield* i(); })()) void v;",
    "spread": "const g = function* () { G(d); yield 1; }; void [...g()];",
    "destructuring": "const [v] = { [Symbol.iterator]: () => ({ next() { G(d); return { done: true }; } }) }; void v;",
    "iterator closed": "for (const v of { [Symbol.iterator]: () => ({ next: () => ({ value: 1 }), return() { G(d); return {}; } }) }) { void v; break; }",
    "async": "(async () => { G(d); })();",
    "async generator": "(async function* () { G(d); yield 1; })().next();",
    "executor": "new Promise((done) => { G(d); done(); });",
    "apply": "Reflect.apply(G, null, [d]);",
    "construct": "Reflect.construct(function () { G(d); }, []);",
    "call": "G.call(null, d);",
    "Function.apply": "G.apply(null, [d]);",
    "bind": "G.bind(null, d)();",
    "spread call": "G(...[d]);",
    "try": "try { G(d); } finally { void 0; }",
    "finally": "try { void 0; } finally { G(d); }",
    "catch": "try { throw 1; } catch { G(d); }",
    "eval": "eval('G(d)');",
    "indirect eval": "globalThis.d0 = d; (0, eval)('G(d0)');",
    "new Function": "new Function('e', 'return G(e)')(d);",
    "tag": "((texts, e) => G(e))`a${d}b`;",
    "toString": "void `${{ toString() { G(d); return ''; } }}`;",
    "valueOf": "void +{ valueOf() { G(d); return 1; } };",
    "toPrimitive": "void ({ [Symbol.toPrimitive]() { G(d); return 1; } } < 2);",
    "hasInstance": "void (1 instanceof { [Symbol.hasInstance]() { G(d); return true; } });",
    "default": "((e = G(d)) => e)();",
    "conditional": "d >= 0 ? G(d) : 0;",
    "optional": "G?.(d);",
    "loop": "for (let i = 0; i < 2; i++) { if (i) G(d); }",
    "while": "let i = 2; while (i--) if (!i) G(d);",
    "switch": "switch (d % 2) { case 0: G(d); break; default: G(d); }",
    "label": "out: { G(d); break out; }",
    "recursion": "const r = (n) => { if (n) r(n - 1); else G(d); }; r(3);",
    "named recursion": "(function r(n) { return n ? r(n - 1) + 1 : G(d) + 1; })(2);",
    "mutual recursion": "function even(n) { if (n) odd(n - 1); else G(d); } function odd(n) { if (n) even(n - 1); else G(d); } even(3);",
    "parse": "JSON.parse('[1]', (k, v) => { if (k) G(d); return v; });",
    "stringify": "JSON.stringify({ toJSON() { G(d); } });",
    "replace": "'a'.replace('a', () => G(d));",
    "replace by expression": "'ab'.replace(/b/, () => G(d));",
    "replace all": "'ab'.replace(/b/g, () => G(d));",
    "proxy": "void new Proxy({}, { get() { return G(d); } }).v;",
    "proxy of a function": "new Proxy(() => 0, { apply() { return G(d); } })();",
    "proxy that constructs": "new (new Proxy(class {}, { construct() { G(d); return {}; } }))();",
    "define": "Object.defineProperty({}, 'v', { get() { return G(d); } }).v;",
    "assign": "Object.assign({}, { get v() { return G(d); } });",
    "emitter": "const e = new (require('node:events'))(); e.on('v', () => G(d)); e.emit('v');",
    "event target": "const e = new EventTarget(); e.addEventListener('v', () => G(d)); e.dispatchEvent(new Event('v'));",
    "storage": "new (require('node:async_hooks').AsyncLocalStorage)().run(1, () => G(d));",
    "promisified": "require('node:util').callbackify(async () => 1); require('node:util').deprecate(() => G(d), '')();",
    "vm": "globalThis.d1 = d; require('node:vm').runInThisContext('G(d1)', { filename: 'run.vm' });",
    "accessor of the prototype": "void Object.create({ get v() { return G(d); } }).v;",
    "symbol": "({ [Symbol.for('v')]: () => G(d) })[Symbol.for('v')]();",
    "arguments": "(function () { arguments[0](arguments[1]); })((e) => G(e), d);",
    "more arguments than parameters": "((e) => G(e))(d, 1, 2, 3);",
    "fewer arguments than parameters": "((e, a, b, c) => G(e))(d);",
    "two": "G(d); G(d);",
    "two lines": "G(d)\n  ; G(d);",
}
LEAVES = (
    "x[0] = ++n; told();",
    "x[n & 3] = ++n; told();",
    "if (d) { x[1] = ++n; told(); } else { x[2] = ++n; told(); }",
)
BUILTIN_LEAVES = ("x.fill(++n, 0, 1); told();", "x.set([++n]); told();", "Atomics.store(x, 0, ++n); told();")

HEAD = """\
'use strict';
const { watch } = require('@memwatch/node');
globalThis.require = require;
globalThis.x = watch(new Int32Array(4), { name: 'x' });
globalThis.n = 0;
const all = [];
Error.stackTraceLimit = 400;
const prepare = (error, sites) => sites;
globalThis.told = function told() {
  const before = Error.prepareStackTrace, holder = {};
  Error.prepareStackTrace = prepare;
  Error.captureStackTrace(holder, told);
  const sites = holder.stack;
  Error.prepareStackTrace = before;
  all.push(sites.filter((site) => !site.isNative() && !site.isAsync() && !/^node:/.test(site.getFileName() ?? '')
    && (site.getFileName() || site.isEval())).map((site) => [site.getFileName() ?? '<eval>', site.getLineNumber(), site.getColumnNumber()]));
  return 1;
};
process.on('exit', () => require('node:fs').writeFileSync(process.env.TOLD ?? 'told.json', JSON.stringify(all)));
"""


def sources(seed: int, count: int, rounds: int, files: int = 3, builtins: bool = True) -> dict[str, str]:
    """The files of a program, the first of which starts it."""
    rng = random.Random(seed)
    ways, texts = list(WAYS), [[] for _ in range(files)]  # type: list[str], list[list[str]]
    rng.shuffle(ways)
    leaves = max(2, count // 6)
    for number in range(count):
        if number >= count - leaves:
            pool = LEAVES + BUILTIN_LEAVES if builtins and rng.random() < 0.4 else LEAVES
            body = rng.choice(pool)
        else:
            way = ways[number % len(ways)]
            callee = rng.randrange(number + 1, min(count, number + 1 + max(2, count // 8)))
            body = WAYS[way].replace("G(", f"f{callee}(").replace("G", f"f{callee}") if "G" in WAYS[way] else ""
        pad = " " * rng.randrange(4) + "void 0;\n" * rng.randrange(3)
        texts[rng.randrange(files)].append(f"globalThis.f{number} = function f{number}(d) {{\n{pad}{body}\n}};")
    names = [f"part{part}.js" for part in range(files)]
    program = HEAD + "".join(f"require('./{name}');\n" for name in names)
    starts = range(0, count, max(1, count // 12))
    program += f"for (let round = 0; round < {rounds}; round++) {{\n"
    program += "".join(f"  f{start}(round & 1);\n" for start in starts) + "}\n"
    return {"program.js": program} | {name: "\n".join(part) for name, part in zip(names, texts, strict=True)}
