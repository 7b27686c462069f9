"""Attached to and detached at random moments, again and again: a busy program of many threads goes on unharmed."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

from programs import SOAK, attach, events, running

ROUNDS = 100 if SOAK else 2
BUSY = """
import gc, importlib, json, os, random, subprocess, sys, tempfile, threading, time, zlib

config = {"n": 0}
counts = dict.fromkeys(("bump", "allocate", "compress", "collect", "load", "fork", "sleep"), 0)
wrong = []
stop = False

def bump():
    before = config["n"]
    config["n"] = before + 1

def allocate():
    rows = [bytearray(random.randrange(1, 5000)) for _ in range(50)]
    rows.append({i: str(i) for i in range(200)})
    if len(json.loads(json.dumps(list(rows[-1].values())))) != 200:
        wrong.append("allocate")

DATA = os.urandom(30_000) * 4
def compress():
    if zlib.decompress(zlib.compress(DATA)) != DATA:
        wrong.append("compress")

class Cycle:
    def __init__(self): self.me = self
def collect():
    for _ in range(200): Cycle()
    gc.collect()

def load():
    for name in ("colorsys", "chunk_of_ours", "this_is_not_there"):
        sys.modules.pop(name, None)
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != "this_is_not_there":
                wrong.append(repr(error))

def fork():
    pid = os.fork()
    if not pid:
        os._exit(7)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 7:
        wrong.append("fork")

def sleep():
    time.sleep(random.random() / 100)

def forever(work):
    while not stop:
        try:
            work()
            counts[work.__name__] += 1
        except BaseException as error:
            wrong.append(repr(error))
        time.sleep(0.001)

threads = [threading.Thread(target=forever, args=(work,)) for work in (bump, allocate, compress, collect, load, sleep)]
[thread.start() for thread in threads]

def listen():
    global stop
    for line in sys.stdin:
        print(json.dumps([counts, wrong, threading.active_count()]), flush=True)
    stop = True
threading.Thread(target=listen).start()
print("ready", flush=True)
while not stop:  # the main thread: Python, C with the lock, C without it, forks
    forever_once = random.choice((bump, allocate, compress, fork, sleep))
    forever_once()
    counts[forever_once.__name__] += 1
"""


def test_a_busy_program_is_unharmed(tmp_path: Path) -> None:
    (tmp_path / "chunk_of_ours.py").write_text("x = 1\n")
    with running(tmp_path, BUSY, options=("-W", "ignore")) as program:
        before, wrong, threads = json.loads(program.ask())
        assert not wrong
        for _ in range(ROUNDS):
            time.sleep(random.random() / 20)
            done = attach(program, "--for", "0.3", timeout=150)
            assert events(program), done.stderr
            after, wrong, now = json.loads(program.ask())
            assert not wrong, wrong
            assert now == threads
            assert all(after[name] > before[name] for name in after), (before, after)
            before = after
        program.is_well()
