"""Functions that bind names in every way that Python has: each way of binding in each kind of place that has names.

``SOURCE`` is the text of a module; its ``main()`` runs them all, and returns what they have come to.
"""

from __future__ import annotations

import sys
import textwrap

HEAD = '''
import asyncio, contextlib

class Box:
    def __init__(self): self.x = 0; self.items = [0, 0, 0]
    def __repr__(self): return "Box"
    def __setitem__(self, k, v): pass
    def __getitem__(self, k): return k

class Number:
    """Whose operators in place return other objects."""
    def __init__(self, n): self.n = n
    def __iadd__(self, other): return Number(self.n + other)
    def __repr__(self): return f"Number({self.n})"

class Point:
    __match_args__ = ("x", "y")
    def __init__(self, x, y): self.x = x; self.y = y
    def __repr__(self): return "Point"

@contextlib.contextmanager
def manager(value, swallows=False):
    try: yield value
    except ValueError:
        if not swallows: raise

@contextlib.asynccontextmanager
async def amanager(value): yield value

async def arange(n):
    for number in range(n): yield number

async def nothing(value=None):
    await asyncio.sleep(0)
    return value

def raising(kind=ValueError): raise kind("no")

counted = 0
def result(names):
    names = {k: v for k, v in names.items() if k in ("a", "b", "c", "d", "e")}
    text = repr(sorted(names.items(), key=lambda item: item[0]))
    import re
    return re.sub(r"0x[0-9a-f]+", "", re.sub(r"\\w+\\.<locals>\\.", "", text))
'''

WAYS = {
    "one": "a = 1",
    "chain": "a = b = c = 'x'",
    "annotated": "a: int = 1\nb: str",
    "augmented": "a = 7\na += 1\na -= 2\na *= 3\na //= 2\na %= 5\na **= 2\na <<= 3\na >>= 1\na |= 1\na &= 7\na ^= 2\na = 4\na /= 2",
    "augmented_other": "a = Number(1)\na += 1\nb = [1]\nb += [2]\nc = 'x'\nc += 'y'\nc += 'z'",
    "same": "a = b = 5\na = a\na = b",
    "tuple": "a, b = 1, 2\n(a, b), c = (3, 4), 5",
    "swap": "a, b, c = 1, 2, 3\na, b = b, a\na, b, c = c, a, b",
    "starred": "a, *b = 1, 2, 3\n*a, b = (1, 2, 3)\n[a, (b, *c), d] = 1, (2, 3, 4), 5",
    "mixed": "o = Box()\na, o.x, o.items[0], o['k'], b = 1, 2, 3, 4, 5\na = o.x = o.items[1] = 6",
    "failing": "try: a, (b, c) = 1, 5\nexcept TypeError: d = 1",
    "conditional": "a = 1 if counted >= 0 else 2\nb = a and 3\nc = a or 4\nd = not a",
    "branch": "if counted >= 0: a = 1\nelse: a = 2\nif counted < 0: b = 1\nelif counted >= 0: b = 2",
    "for": "for a in range(3): b = a",
    "for_else": "for a in 'xy': pass\nelse: b = 1\nfor c in (): pass\nelse: d = 2",
    "for_tuple": "for a, (b, *c) in [(1, (2, 3)), (4, (5,))]: d = a + b",
    "for_attribute": "o = Box()\nfor o.x in range(2): a = o.x\nfor o.items[0] in range(2): b = 1",
    "for_break": "for a in range(5):\n    if a == 1: continue\n    if a == 3: break\n    b = a",
    "while": "a = 0\nwhile a < 3:\n    a += 1\n    b = a\nelse: c = a",
    "walrus": "if (a := 1) and (b := a + 1): c = (d := b)\nwhile (a := a + 1) < 4: pass",
    "with": "with manager(1) as a, manager(a + 1) as b: c = b",
    "with_tuple": "with manager((1, (2, 3))) as (a, (b, c)): d = 1",
    "with_swallowed": "with manager(1, True) as a:\n    b = 1\n    raising()\nc = 2",
    "with_attribute": "o = Box()\nwith manager(1) as o.x: a = o.x",
    "except": "try: raising()\nexcept ValueError as e: a = str(e)",
    "except_return": "for b in range(2):\n    try: raising()\n    except ValueError as e:\n        if b: break\n        continue",
    "except_deleted": "try: raising()\nexcept ValueError as e:\n    del e\n    a = 1",
    "except_rebound": "try: raising()\nexcept ValueError as e:\n    e = 5\n    a = e",
    "except_again": "try:\n    try: raising()\n    except ValueError as e: raising(KeyError)\nexcept KeyError as d: a = 1",
    "except_nested": "try: raising()\nexcept ValueError as e:\n    try: raising(KeyError)\n    except KeyError as d: b = 1\n    finally: c = 2",
    "finally": "try: a = 1\nfinally: b = 2",
    "finally_raises": "try:\n    try: raising()\n    finally: a = 1\nexcept ValueError: b = 2",
    "else": "try: a = 1\nexcept ValueError as e: b = 1\nelse: c = 3",
    "delete": "a = 1\ndel a\na = b = 2\ndel a, b\na = b = c = 3\ndel (a, [b, c])\nd = 4",
    "delete_twice": "a = 1\ndel a\ntry: del a\nexcept NameError: b = 1",
    "none_deleted": "a = None; del a\nb = 2",
    "import": "import json as a\nfrom os import path as b, sep as c\nimport os.path as d",
    "function": "def a(x, y=1): z = x + y; return z\nb = a(1)\nc = a(1, 2)",
    "decorated": "def d(f): return f\n@d\ndef a(): return 1\nb = a()",
    "class": "class a:\n    x = 1\n    x += 1\n    def m(self, p): t = p; return t\n    del x\n    y = 2\nb = a().m(3)",
    "class_scope": "class a:\n    rows = [i for i in range(2)]\n    first, *rest = rows\n    for one in rows: last = one\n    if last: both = (last, first)",
    "lambda": "a = lambda x: (y := x) + y\nb = a(2)",
    "comprehension": "a = [i for i in range(3)]\nb = {i for i in a}\nc = {i: j for i, j in zip('xy', a)}\nd = list(i for i in a if i)",
    "comprehension_same": "i = 'kept'\na = [i for i in range(3)]\nb = i\nc = [[i for i in range(2)] for i in range(2)]\nd = i",
    "comprehension_unbound": "a = [c for c in range(2)]\nb = [c for c in range(2)]\nc = 5",
    "comprehension_captured": "a = [(lambda: i)() for i in range(3)]\nb = [f() for f in [lambda j=j: j for j in range(2)]]",
    "comprehension_fails": "try: a = [raising() for b in range(3)]\nexcept ValueError: c = 1",
    "comprehension_walrus": "a = [b := i for i in range(3)]\nc = any((d := i) > 1 for i in a)\nd = [[(e := j) for j in range(i)] for i in range(3)]",
    "match_value": "match 5:\n    case 1: a = 1\n    case 5 | 6: b = 2\n    case _: c = 3",
    "match_capture": "match 5:\n    case int() as a if a > 9: b = 1\n    case a if a > 1: c = a",
    "match_sequence": "match [1, 2, 3]:\n    case [a, b]: d = 1\n    case [a, *b, 9]: d = 2\n    case [a, *b]: d = 3\nmatch (1, (2, 3)):\n    case (c, (d, 5)): e = 1\n    case (c, (d, e)): pass",
    "match_mapping": "match {'k': 1, 'l': 2}:\n    case {'x': a}: d = 1\n    case {'k': a, **b}: d = 2",
    "match_class": "match Point(1, 2):\n    case Point(x=9, y=a): d = 1\n    case Point(a, b) as c: d = 2",
    "match_or": "match (1, 'x'):\n    case (int() as a, str() as b) | (str() as b, int() as a): c = a\nmatch [4]:\n    case [(5 as d) | (4 as d)]: e = d",
    "match_guard": "match 4:\n    case a if (b := a + 1) > 9: c = 1\n    case a if (b := a + 2) > 5: c = 2",
    "star_call": "def f(*p, **k): return p, k\na = f(*[1, 2], **{'x': 3})\nb, c = f(1)",
    "long": "\n".join(f"a = {n} if counted >= 0 else b" for n in range(40)),
    "text": "a = f'{(b := 5)!r:>{(c := 4)}}'",
    "assert": "assert (a := 5) > 1, (b := 'no')\nc = 1",
    "import_all": "import os, sys as b\na = os.sep",
    "slices": "a = [1, 2, 3]\na[0:1] = [4, 5]\nb = a[1:]\na[:] = []",
    "ellipsis": "a = ...\nb = (yield_ := 1)",
}
if sys.version_info >= (3, 11):
    WAYS["except_star"] = (
        "try: raise ExceptionGroup('g', [ValueError(1), KeyError(2)])\n"
        "except* ValueError as e: a = len(e.exceptions)\nexcept* KeyError as d: b = 1"
    )
if sys.version_info >= (3, 12):
    WAYS["type_parameters"] = "def a[T](x: T) -> T: y = x; return y\nb = a(1)\nclass c[T]:\n    z = 1\ntype d = int"

ASYNC_WAYS = {
    "await": "a = await nothing(1)\nb, c = await nothing((1, 2))",
    "async_for": "async for a in arange(3): b = a\nelse: c = 1",
    "async_with": "async with amanager(1) as a, amanager((2, 3)) as (b, c): d = a",
    "async_comprehension": "a = [i async for i in arange(3)]\nb = [await nothing(i) for i in range(2)]\nc = {i: 1 async for i in arange(2)}",
    "async_walrus": "if (a := await nothing(1)): b = (c := await nothing(2))",
    "async_except": "try:\n    await nothing()\n    raising()\nexcept ValueError as e: a = await nothing(str(e))",
    "gather": "a = await asyncio.gather(*[nothing(n) for n in range(3)])",
}

PLACES = {
    "plain": "def {name}():\n{block}\n    return result(locals())\n",
    "loop": "def {name}():\n    for turn in range(2):\n{block2}\n    return result(locals())\n",
    "guarded": "def {name}():\n    try:\n{block2}\n    finally: done = 1\n    return result(locals())\n",
    "inside_with": "def {name}():\n    with manager(0) as turn:\n{block2}\n    return result(locals())\n",
    "branches": "def {name}():\n    for turn in range(2):\n        if turn:\n{block3}\n        else:\n{block3}\n    return result(locals())\n",
    "generator": "def {name}():\n    got = yield 1\n{block}\n    got = yield result(locals())\n{block}\n    return result(locals())\n",
    "method": "class {name}_class:\n    def method(self, p=1):\n{block2}\n        return result(locals())\ndef {name}(): return {name}_class().method()\n",
    "recursion": "def {name}(depth=2):\n{block}\n    if depth: below = {name}(depth - 1)\n{block}\n    return result(locals())\n",
    "closure": "def {name}():\n    {names} = None\n    def inner():\n        nonlocal {listed}\n{block2}\n        return 1\n    inner()\n    done = inner()\n    return result(locals())\n",
    "cells": "def {name}():\n    {names} = None\n    def inner(): return {tuple}\n{block}\n    return result(locals())\n",
    "globals": "def {name}():\n    global {listed}\n{block}\n    return 1\n",
    "body": "def {name}():\n    class body:\n{block2}\n    return result(vars(body))\n",
    "coroutine": "async def {name}():\n    await nothing()\n{block}\n    await nothing()\n    return result(locals())\n",
    "async_generator": "async def {name}():\n    got = yield 1\n{block}\n    yield result(locals())\n",
}
_ASYNC = ("coroutine", "async_generator")

PARAMETERS = """
def p_plain(a, b=2, *c, d=4, **e): a = a + 1; return a, b, c, d, sorted(e)
def p_positional(a, b=2, /, c=3): return a, b, c
def p_rebound(a, b):
    a, b = b, a
    del a
    return b
def p_captured(a, b):
    def inner():
        nonlocal a
        a += b
        return a
    return inner() + a
def p_deleted(a):
    del a
    a = 1
    return a
def p_generator(a):
    while True:
        try: a = yield a
        except ValueError as e: a = str(e)
        finally: b = a
def p_delegating(a):
    b = yield from p_generator(a)
    return b
def p_closed(a):
    try:
        while True: a = yield a
    finally: b = a
def p_property():
    class Thing:
        def __init__(self, v): self._v = v
        @property
        def v(self): found = self._v; return found
        @v.setter
        def v(self, value): checked = value; self._v = checked
        @staticmethod
        def s(x): y = x; return y
        @classmethod
        def c(cls, x): y = cls(x); return y.v
    t = Thing(1); t.v = 5; u = Thing.s(2); w = Thing.c(3)
    return t.v, u, w
def p_threads():
    import threading
    def work(n, out):
        total = 0
        for i in range(n): total += i
        out.append(total)
    out = []
    for n in range(3):
        t = threading.Thread(target=work, args=(n + 2, out)); t.start(); t.join()
    return out
def p_exec():
    space = {}
    exec("def f(a):\\n    b = a\\n    return b\\nc = f(1)", space)
    c = space["c"]
    return c
def p_deep(n): r = n if n < 2 else p_deep(n - 1) + p_deep(n - 2); return r
def p_many():
    a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = a8 = a9 = b0 = b1 = b2 = b3 = b4 = b5 = b6 = b7 = b8 = b9 = 0
    (a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, b0, b1) = range(12)
    return a0 + b1
def parameters():
    out = [p_plain(1), p_plain(1, 2, 3, 4, d=5, x=6), p_positional(1), p_positional(1, 2, c=5), p_rebound(1, 2)]
    out += [p_captured(1, 2), p_deleted(1), p_property(), p_threads(), p_exec(), p_deep(5), p_many()]
    for make in (p_generator, p_delegating, p_closed):
        g = make(1); h = make(2)
        out += [next(g), next(h), g.send(3), h.send(4)]
        if make is not p_closed: out.append(g.throw(ValueError("thrown")))
        g.close()
        del h
    return out
"""


def _names(block: str) -> list[str]:
    code = compile("def f():\n" + textwrap.indent(block, "    "), "", "exec").co_consts[0]
    return sorted({*code.co_varnames, *code.co_cellvars} - {"i", "j"})


def _function(name: str, place: str, block: str) -> str:
    names = _names(block) if "await" not in block and "async" not in block else ["a"]
    blocks = {f"block{n if n > 1 else ''}": textwrap.indent(block, "    " * n) for n in (1, 2, 3)}
    listed = ", ".join(names)
    return PLACES[place].format(name=name, names=" = ".join(names), listed=listed, tuple=f"({listed},)", **blocks)


def _source() -> str:
    functions = []
    for place in PLACES:
        ways = {**WAYS, **ASYNC_WAYS} if place in _ASYNC else WAYS
        for way, block in ways.items():
            unfit = {
                "body": ("type_parameters", "comprehension_walrus"),
                "closure": ("annotated", "type_parameters"),
                "globals": ("annotated", "type_parameters"),
            }
            if way not in unfit.get(place, ()):
                functions.append((f"{place}_{way}", _function(f"{place}_{way}", place, block)))
    run = "\n".join(f"    out.append(run({name}))" for name, _ in functions)
    return (
        HEAD
        + "\n".join(text for _, text in functions)
        + PARAMETERS
        + textwrap.dedent(
            """
            def run(f):
                try:
                    made = f()
                    if hasattr(made, "__next__"): return list(made)
                    if hasattr(made, "__await__"): return asyncio.run(made)
                    if hasattr(made, "__anext__"):
                        async def all_of(): return [one async for one in made]
                        return asyncio.run(all_of())
                    return made
                except NameError as error: return repr(error)
            """
        )
        + f"def main():\n    out = [parameters()]\n{run}\n    return out\n"
    )


SOURCE = _source()
COUNT = SOURCE.count("def ")
