"""What is left in a program when memwatch attach has ended: nothing, but for what docs/attach.md lists."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from programs import attach, attached, events, running

INSIDE = """
import atexit, builtins, gc, importlib._bootstrap as bootstrap, json, os, signal, sqlite3, sys, threading, faulthandler
faulthandler.enable()
exits = []
register, unregister = atexit.register, atexit.unregister
atexit.register = lambda function, *a, **k: (exits.append(function), register(function, *a, **k))[1]
atexit.unregister = lambda function: (exits.__setitem__(slice(None), [f for f in exits if f != function]), unregister(function))[1]
config = {"n": 0}
rows = [1, 2, 3]

class Order:
    __slots__ = ("total",)
    def __init__(self): self.total = 0
order = Order()

def look():
    return {
        "modules": sorted(sys.modules),
        "path": sys.path,
        "finders": [repr(one) for one in sys.meta_path],
        "hooks": [repr(one) for one in sys.path_hooks],
        "exits": [repr(one) for one in exits],
        "foreign": [name for name in ("msgspec", "pydantic", "click") if name in sys.modules],
        "threads": [one.name for one in threading.enumerate()],
        "thread": [repr(vars(threading.Thread)[name]) for name in ("_set_native_id", "name")],
        "import": repr(bootstrap._init_module_attrs),
        "builtins": sorted(vars(builtins)),
        "main": sorted(name for name in globals()),
        "trace": [repr(sys.gettrace()), repr(sys.getprofile()), repr(threading.main_thread())],
        "excepthook": repr(sys.excepthook),
        "connect": repr(sqlite3.connect),
        "sys": sorted(vars(sys)),
        "environment": dict(os.environ),
        "gc": gc.isenabled(),
        "sizes": [sys.getsizeof(config), sys.getsizeof(rows), type(order).__name__],
        "signals": [repr(signal.getsignal(number)) for number in range(1, 32)],
    }

print("ready", flush=True)
for line in sys.stdin:
    if line == "look\\n":
        print(json.dumps(look()), flush=True)
    else:
        config["n"] += 1
        rows.append(rows.pop(0))
        order.total += 1
        print("done", flush=True)
"""
KEPT = {"sys": ["_memwatch_modules"]}
"""What stays, of Python's."""
KEPT_MODULES = sys.stdlib_module_names | {"_cffi_backend", "wrapt", "_sysconfigdata__linux_x86_64-linux-gnu"}


def outside(pid: int) -> dict[str, Any]:
    descriptors = {number: os.readlink(f"/proc/{pid}/fd/{number}") for number in os.listdir(f"/proc/{pid}/fd")}
    status = dict(line.split(":\t") for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
    maps = [line.split(maxsplit=5) for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]
    return {
        "descriptors": descriptors,
        "threads": status["Threads"],
        "blocked": status["SigBlk"],
        "caught": status["SigCgt"],
        "files": {part[5] for part in maps if len(part) == 6 and part[5].startswith("/")},
        "writable code": [part for part in maps if part[1].startswith("rwx")],
    }


def of_python(files: set[str]) -> set[str]:
    return {name for name in files if "memwatch_core" not in name and ".so" not in name and ".memwatch" not in name}


def test_what_is_left_is_what_the_documentation_lists(tmp_path: Path) -> None:
    (tmp_path / "memwatch.toml").write_text('[plugins]\nsql = ["sqlite3"]\n')
    with running(tmp_path, INSIDE) as program:
        program.ask("work")
        before, around = json.loads(program.ask("look")), outside(program.pid)
        targets = ("--watch", "program:rows", "--watch", "program:order.total", "--watch", "late:*", "--track-sql")
        with attached(program, *targets):
            program.ask("work")
            within = json.loads(program.ask("look"))
        assert {one["variable"] for one in events(program)} >= {"program:config", "program:rows", "program:order.total"}
        after, then = json.loads(program.ask("look")), outside(program.pid)
        assert within["connect"] != before["connect"] or len(within["exits"]) > len(before["exits"]), (
            "nothing was installed at all"
        )
        for key, was in before.items():
            if key == "modules":
                assert {name.partition(".")[0] for name in {*after[key]} - {*was}} <= KEPT_MODULES
            elif key in KEPT:
                assert [name for name in after[key] if name not in was] == KEPT[key]
            else:
                assert after[key] == was, key
        assert then["threads"] == around["threads"]
        assert then["blocked"] == around["blocked"]
        assert then["caught"] == around["caught"]
        assert then["writable code"] == around["writable code"]
        new = {number: name for number, name in then["descriptors"].items() if number not in around["descriptors"]}
        assert {name for name in new.values()} <= {"anon_inode:[userfaultfd]"}
        assert not [name for name in then["files"] - around["files"] if ".mwj" in name or "sessions" in name]


def test_the_second_time_leaves_nothing_more_than_the_first(tmp_path: Path) -> None:
    with running(tmp_path, INSIDE) as program:
        attach(program, "--for", "0.1")
        first, around = json.loads(program.ask("look")), outside(program.pid)
        for _ in range(3):
            attach(program, "--for", "0.1")
        assert json.loads(program.ask("look")) == first
        assert outside(program.pid) == around


def test_what_the_program_watches_itself_meanwhile_goes_on(tmp_path: Path) -> None:
    source = """
import sys
from memwatch_core import watch
config = {"n": 0}
total = None
print("ready", flush=True)
for line in sys.stdin:
    if total is None:
        total = watch(0, name="total")
    total += 1
    print(total, flush=True)
"""
    with running(tmp_path, source) as program:
        with attached(program) as host:
            assert program.ask() == "1"
        said = host.stderr.read() if host.stderr and not host.stderr.closed else ""
        assert program.ask() == "2"
        assert program.ask() == "3"
        assert [one["value"] for one in events(program) if one["variable"] == "total"] == [1, 2, 3], said
        program.is_well()


def test_a_program_that_never_imported_threading_keeps_its_main_thread(tmp_path: Path) -> None:
    source = """
import sys
config = {"n": 0}
assert "threading" not in sys.modules
print("ready", flush=True)
for line in sys.stdin:
    import threading
    config["n"] += 1
    print(threading.current_thread() is threading.main_thread(), threading.current_thread().name, flush=True)
"""
    with running(tmp_path, source) as program:
        with attached(program):
            assert program.ask() == "True MainThread"
        assert program.ask() == "True MainThread"
        time.sleep(0.05)
