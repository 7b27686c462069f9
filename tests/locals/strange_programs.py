"""Programs that do what few do, with functions; each prints what came of it."""

from __future__ import annotations

DEEP_RECURSION = """
import sys
sys.setrecursionlimit(20000)
def down(n):
    x = n
    if n:
        x = down(n - 1)
    y = x + 1
    return y
print(down(5000))
def forever(n):
    m = n + 1
    return forever(m)
sys.setrecursionlimit(1000)
try:
    forever(0)
except RecursionError as e:
    print("rec", type(e).__name__)
"""

ASYNCHRONOUS_GENERATORS = """
import asyncio
log = []
async def agen(n):
    try:
        for i in range(n):
            total = i
            yield total
    finally:
        done = "closed"
        log.append(done)
async def main():
    g = agen(5)
    async for x in g:
        y = x
        if x == 2: break
    g2 = agen(3)
    await g2.__anext__()
    t = asyncio.create_task(sleeper())
    await asyncio.sleep(0)
    return y
async def sleeper():
    try:
        step = 1
        await asyncio.sleep(100)
    except asyncio.CancelledError as e:
        step = 2
        log.append("cancelled")
        raise
print(asyncio.run(main()))
print(sorted(log))
"""

FINALIZERS = """
import gc, weakref, atexit, threading, time
class Node:
    def __init__(self, n):
        self.me = self
        size = n
        self.n = size
    def __del__(self):
        name = f"n{self.n}"
        total = len(name)
        seen.append(name)
seen = []
def run():
    for i in range(200):
        Node(i)
        if i % 50 == 0:
            k = gc.collect()
    left = len(seen)
    return left
print(run() > 50)
gc.collect()
print(len(seen), seen[0])
def cb(ref):
    dead = "dead"
    seen.append(dead)
def weak():
    o = Node(-1)
    r = weakref.ref(o, cb)
    del o
    gc.collect()
    return r
weak()
print(seen[-2:])
class AtEnd:
    def __del__(self):
        a = 1
        a += 1
        print("del at end", a)
keep = AtEnd()
keep2 = [keep]; keep2.append(keep2)
def bye(n):
    m = n + 1
    print("bye", m)
atexit.register(bye, 3)
def loop():
    i = 0
    while True:
        i += 1
        if i % 1000 == 0: time.sleep(0.0001)
threading.Thread(target=loop, daemon=True).start()
time.sleep(0.05)
"""

FORKS = """
import os, sys
def work(n):
    total = 1
    pid = os.fork()
    if pid == 0:
        total = total + 10
        sub = inner(5)
        print("child", total, sub); sys.stdout.flush()
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    total = total + 100
    return total, status
def inner(x):
    y = x * 2
    return y
inner(1); inner(2)
print(work(1)); sys.stdout.flush()
def gen():
    k = 0
    while True:
        k = k + 1
        yield k
g = gen(); next(g); next(g)
pid = os.fork()
if pid == 0:
    print(next(g)); sys.stdout.flush()
    os._exit(0)
os.waitpid(pid, 0)
print(next(g))
"""

MULTIPROCESSING = """
import multiprocessing as mp, sys
def square(x):
    y = x * x
    return y
def main(method):
    ctx = mp.get_context(method)
    with ctx.Pool(2) as pool:
        r = pool.map(square, range(5))
    print(method, r)
if __name__ == "__main__":
    for m in ("fork", "spawn", "forkserver"):
        main(m)
"""

TRACERS = """
import sys
seen = []
def f(a):
    b = a + 1
    c = b * 2
    return c
def tracer(frame, event, arg):
    if frame.f_code.co_name in ("f",):
        seen.append((event, frame.f_lineno, sorted(frame.f_locals)))
    return tracer
sys.settrace(tracer)
f(1)
sys.settrace(None)
prof = []
def profiler(frame, event, arg):
    if frame.f_code.co_name == "f": prof.append((event, frame.f_lineno))
sys.setprofile(profiler)
f(2)
sys.setprofile(None)
print(seen); print(prof)
def jumps(frame, event, arg):
    if frame.f_code.co_name == "f" and event == "line" and frame.f_locals.get("b") == 11 and not done:
        done.append(1)
        frame.f_lineno = frame.f_code.co_firstlineno + 1
    return jumps
done = []
sys.settrace(jumps)
print(f(10))
sys.settrace(None)
if hasattr(sys, "monitoring"):
    m = sys.monitoring
    ev = []
    m.use_tool_id(2, "mine")
    m.register_callback(2, m.events.LINE, lambda code, line: ev.append(line) if code.co_name == "f" else None)
    m.register_callback(2, m.events.INSTRUCTION, lambda code, off: None)
    m.set_events(2, m.events.LINE | m.events.INSTRUCTION)
    f(3)
    m.set_events(2, 0); m.free_tool_id(2)
    print(ev)
"""

EXEC_AND_NAMESPACES = """
def f(a):
    exec("b = a + 1; print(b)", {"a": a})
    c = eval("a * 2")
    d = [x for x in range(a)]
    code = compile("def inner(q):\\n    r = q\\n    return r\\n", "<made>", "exec")
    ns = {}
    exec(code, ns)
    e = ns["inner"](3)
    loc = locals()
    return c, d, e, sorted(loc)
print(f(4))
class Meta(type):
    @classmethod
    def __prepare__(m, name, bases):
        class D(dict):
            def __setitem__(self, k, v):
                if not k.startswith("__"): print("set", k)
                super().__setitem__(k, v)
        return D()
class A(metaclass=Meta):
    x = 1
    x += 1
    for i in range(2): y = i
    def m(self):
        z = self.x
        return z
    del i
    __slots__ = ("a", "b")
    def __init__(self): self.a = 1
print(A().m(), A.__slots__)
"""

MEMORY_USED_AGAIN = """
def f(n):
    x = 1.5 * n
    y = x
    del x
    x = 2.5 * n
    t = (x, y)
    del t
    t = (y, x)
    return t
for i in range(50):
    f(i)
def gens(n):
    def g(k):
        i = k
        yield i
        i = k + 1.5
        yield i
    for j in range(n):
        z = list(g(j))
    return z
print(gens(300))
"""

KINDS_OF_FUNCTIONS = """
class P:
    __slots__ = ("x", "y", "__dict__")
    x0 = 1
    def __init__(self, x):
        self.x = x
        t = x
        self.y = t
    @property
    def area(self):
        r = self.x * self.y
        return r
    @staticmethod
    def s(a, /, b, *c, d=1, **e):
        b = a
        return a, b, c, d, e
    @classmethod
    def k(cls, *args):
        n = cls.x0
        return n
print(P(3).area, P.s(1, 2, 3, d=4, e=5), P.k())
import functools
@functools.lru_cache
def cached(x):
    y = x
    return y
print(cached(1), cached(1))
@functools.singledispatch
def sd(x):
    r = "o"
    return r
@sd.register
def _(x: int):
    r = "i"
    return r
print(sd("s"), sd(1))
def star(*a, **k):
    a = a + (1,)
    k = dict(k, z=1)
    return a, k
print(star(1, b=2))
"""

MANY_LOCALS = (
    "def wide(p):\n"
    + "".join(f"    v{i} = p + {i}\n" for i in range(300))
    + "    return v299\n"
    + f"def given(p, {', '.join(f'a{i}={i}' for i in range(300))}):\n"
    + "".join(f"    a{i} += p\n" for i in range(300))
    + "    return a299\n"
    + "def long(p):\n    for i in range(2):\n        if p:\n"
    + "".join(f"            x{i % 7} = p + {i}\n" for i in range(3000))
    + "    return x0\n"
    "print(wide(1), given(4), long(3))\n"
)
PROGRAMS = {name.lower(): text for name, text in globals().items() if name.isupper() and isinstance(text, str)}
