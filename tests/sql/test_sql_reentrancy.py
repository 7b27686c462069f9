"""Risk: the program's own code runs in the middle of ours, or ours in the middle of the interpreter's, and finds half
changed structures: a crash, other results than untraced, a statement that never ends.

Axes: what runs in between (finalizers, callbacks of weak references, signals, trace functions, other threads), what it
does (runs SQL on the same or another connection, watches, writes to a watched value, closes the connection), what it
interrupts (a statement, fetching, a commit; a variable of a context being set, a context being copied), the window.
Collections run at almost every allocation: before Python 3.12 that means anywhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

WINDOWS = ("statement", "fetch", "until-next", "transaction")
SOAK = "MEMWATCH_SOAK" in os.environ
ROUNDS = 2000 if SOAK else 100

ISSUE = """
import random, sqlite3
from memwatch_core import watch
total = watch(0, track_sql=%s)
c = sqlite3.connect(":memory:"); c.execute("create table log (a)")
class Session:
    def __init__(self, n): self.parts = [[self] for _ in range(n)]
    def __del__(self): c.execute("insert into log values (1)")
for i in range(20_000):
    Session(random.randrange(5)); c.execute("select ?", (i,)).fetchone()
print("done")
"""

COMMON = """
import contextvars, gc, sqlite3, sys, threading, weakref
if TRACED:
    from memwatch_core import watch
    value = watch(0, name="value", track_sql=True)
else:
    def watch(value, **options): return [value][0]
    value = 0
c = sqlite3.connect(":memory:", isolation_level=None)
other = sqlite3.connect(":memory:")
for each in (c, other): each.execute("create table log (a)")
own = contextvars.ContextVar("the program's", default=0)
cursor = c.cursor()
ran = 0

def run_sql():
    c.execute("insert into log values (1)")

def run_sql_elsewhere():
    other.execute("insert into log values (1)")
    other.commit()

def fetch():
    assert c.execute("select 1 union select 2").fetchall() == [(1,), (2,)]

def watch_more():
    more = watch(5, name="more")
    more += 1

def write():
    global value
    value += 1

def close():
    mine = sqlite3.connect(":memory:")
    rows = mine.execute("select 1")
    mine.close()

def fail():
    try:
        c.execute("select * from nowhere")
    except sqlite3.OperationalError:
        pass

def in_a_context():
    contextvars.copy_context().run(run_sql)

class Cyclic:
    def __init__(self): self.me = [self, [self]]
    def __del__(self):
        global ran
        ran += 1
        DOES()

class Counted:
    pass

def called_back(ref):
    global ran
    ran += 1
    DOES()

refs = []
def litter():
    Cyclic()
    thing = Counted()
    thing.me = thing
    refs.append(weakref.ref(thing, called_back))
    del refs[:-5]

def statement(i): assert c.execute("select ?", (i,)).fetchone() == (i,)
def statement_of_a_cursor(i): assert cursor.execute("select ?, ?", (i, {"k": [i]}["k"][0])).fetchall() == [(i, i)]
def many(i): c.executemany("insert into log values (?)", [(i,), (i + 1,)])
def new_connection(i):
    with sqlite3.connect(":memory:") as mine:
        assert mine.execute("select ?", (str(i),)).fetchone() == (str(i),)
def transaction(i):
    c.execute("begin"); c.execute("savepoint s"); c.execute("insert into log values (?)", (i,))
    c.execute("rollback to s"); c.execute("release s"); c.rollback() if i % 2 else c.commit()
def fresh_text(i): assert c.execute(f"select {i} as name_{i}").fetchone() == (i,)
def set_variable(i):
    own.set((i, [i])); assert own.get() == (i, [i])
def reset_variable(i): own.reset(own.set([i]))
def copy(i): contextvars.copy_context()
def in_a_thread(i):
    if i % 20 == 0:
        thread = threading.Thread(target=statement, args=(i,)); thread.start(); thread.join()

gc.collect()
gc.set_threshold(1)
for i in range(ROUNDS):
    litter()
    MEETS(i)
    if TRACED: value += 1
gc.set_threshold(0)
assert ran > ROUNDS // 4, ran
print(c.execute("select count(*) > 0 from log").fetchone() is not None, "done")
"""

DOES = ("run_sql", "run_sql_elsewhere", "fetch", "watch_more", "write", "close", "fail", "in_a_context")
MEETS = ("statement", "statement_of_a_cursor", "many", "new_connection", "transaction", "fresh_text", "set_variable",
         "reset_variable", "copy", "in_a_thread")  # fmt: skip


def run(folder: Path, program: str, *, window: str = "until-next") -> str:
    (folder / "program.py").write_text(program)
    environment = {"MEMWATCH_SQL_WINDOW": window, "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=folder, env=environment, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, f"status {done.returncode}: {done.stderr[-2000:]}"
    assert "memwatch" not in done.stderr, done.stderr
    return done.stdout


@pytest.mark.parametrize("track_sql", [False, True])
def test_finalizer_that_runs_sql_does_not_crash_the_program(tmp_path: Path, track_sql: bool) -> None:
    assert run(tmp_path, ISSUE % track_sql) == "done\n"


PAIRS = [(does, window) for i, does in enumerate(DOES) for j, window in enumerate(WINDOWS) if SOAK or i % 4 == j]


@pytest.mark.parametrize(("does", "window"), PAIRS)
def test_whatever_comes_in_between_the_program_gets_the_same(tmp_path: Path, does: str, window: str) -> None:
    """One process for all that is met: it crashes, or it doesn't."""
    got = []
    for traced in (False, True):
        head = f"TRACED, ROUNDS = {traced}, {ROUNDS}\n"
        body = COMMON.replace("DOES()", f"{does}()").replace("MEETS(i)", f"({', '.join(MEETS)})[i % {len(MEETS)}](i)")
        got.append(run(tmp_path, head + body, window=window))
    assert got[0] == got[1]


SIGNALS = """
import random, signal, sqlite3
from memwatch_core import watch
from memwatch_core.native.tracing import in_force
value = watch(0, track_sql=True)

class Rows(dict):
    pass

class Interrupted(KIND):
    pass

raised = caught = 0
def handler(number, frame):
    global raised
    raised += 1
    raise Interrupted

c = sqlite3.connect(":memory:", isolation_level=None)
c.execute("create table log (a)")
class Handlers:
    def method(self, number, frame): handler(number, frame)
    def __call__(self, *args): handler(*args)

signal.signal(signal.SIGALRM, HANDLER)
before = 0
for i in range(ROUNDS):
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, 2e-4))
        try:
            while True:
                c.execute(f"select {i} as name_{i % 997}, ?", (Rows(),) if i % 3 else (i,)).fetchone()
        except sqlite3.Error:
            while True:
                with c:
                    c.execute("insert into log values (?)", (str(i) * 9,))
                    c.executemany("insert into log values (?)", [(i,)])
    except Interrupted:
        caught += 1
    while c.in_transaction: c.rollback()
    c.execute(f"select {i}").fetchone()
    after = in_force()
    assert after > before, (i, before, after)   # a statement of its own, and no part of one that seems to run still
    before = after
assert raised == caught == ROUNDS, (raised, caught)
print("done")
"""


@pytest.mark.parametrize(
    ("kind", "handler"),
    [
        ("KeyboardInterrupt", "handler"),
        ("Exception", "handler"),
        ("Exception", "Handlers().method"),
        ("TimeoutError", "Handlers()"),
    ],
)
def test_signal_reaches_the_program_and_leaves_no_statement_running(tmp_path: Path, kind: str, handler: str) -> None:
    rounds = 20_000 if SOAK else 1500
    program = SIGNALS.replace("KIND", kind).replace("HANDLER", handler)
    assert run(tmp_path, f"ROUNDS = {rounds}\n{program}") == "done\n"


TRACE_FUNCTION = """
import sqlite3, sys, threading
from memwatch_core import watch
value = watch(0, track_sql=True)
c = sqlite3.connect(":memory:")
seen = set()

class Quit(Exception):
    pass

def trace(frame, event, arg):
    if "memwatch_core" in frame.f_code.co_filename: seen.add(frame.f_code.co_filename)
    if event == "call" and frame.f_code.co_name == "quits":
        raise Quit
    return trace

def quits(): pass

for how in (sys.settrace, sys.setprofile):
    how(trace)
    for i in range(5):
        c.execute(f"select {i}, ?", ([1].__len__(),)).fetchall()
        c.commit()
    try:
        quits()
    except Quit:
        print("quit")
    how(None)
print(seen)
"""


def test_trace_functions_see_of_ours_the_frames_of_traced_methods_only(tmp_path: Path) -> None:
    assert run(tmp_path, TRACE_FUNCTION) == "quit\nquit\nset()\n"
