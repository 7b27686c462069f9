"""Below a program under ``memwatch run`` is only what the interpreter itself puts there: frames, counts of calls."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from console_script import SCRIPT, environment

PROGRAMS = {
    "frames": """
import inspect, sys, threading
def f():
    return [(frame.filename.rpartition("/")[2], frame.lineno, frame.function) for frame in inspect.stack(0)]
print(f())
print(sorted(len(inspect.getouterframes(frame, 0)) for frame in sys._current_frames().values()))
thread = threading.Thread(target=lambda: print(f()))
thread.start()
thread.join()
""",
    "how deep": """
import sys
def f(n=0):
    try:
        return f(n + 1)
    except RecursionError:
        return n
class Deep:
    def __init__(self, n): self.n = n
    def __repr__(self): return repr(Deep(self.n - 1)) if self.n else ""
def fails(n):
    try:
        repr(Deep(n))
    except RecursionError:
        return True
print(f())
print(next(n for n in range(2000) if fails(n)))
sys.setrecursionlimit(300)
print(f(), sys.getrecursionlimit())
import deeper
""",
    "how deep in C": """
import sys
if sys.version_info < (3, 14):
    found, step = 0, 1 << 18
    while step:
        rows = []
        for _ in range(found + step): rows = [rows]
        try:
            repr(rows)
            found += step
        except RecursionError:
            pass
        while rows: rows = rows.pop()
        step >>= 1
    print(found)
""",
    "a traceback": "def f():\n    1 / 0\nf()\n",
    "a traceback in a thread": """
import threading
def f():
    1 / 0
thread = threading.Thread(target=f, name="t")
thread.start()
thread.join()
""",
    "a wrong line": "def f(:\n",
    "a wrong import": "import nothing_such\n",
    "a warning": "import warnings\nwarnings.warn('told', stacklevel=1)\nwarnings.warn('told', stacklevel=3)\n",
    "a dump": "import faulthandler\nfaulthandler.dump_traceback(all_threads=False)\n",
    "an exit": "import sys\nsys.exit('so long')\n",
    "an exit function": "import atexit, inspect\natexit.register(lambda: print(len(inspect.stack(0))))\n",
    "a hook": "import sys\nsys.excepthook = lambda kind, error, at: print(kind, at.tb_frame.f_code.co_name)\n1 / 0\n",
    "a generator and a greenlet": """
import inspect
def g():
    yield len(inspect.stack(0))
print(list(g()))
try:
    import greenlet
    print(greenlet.greenlet(lambda: len(inspect.stack(0))).switch(), len(inspect.stack(0)))
except ImportError:
    pass
""",
    "a fork": """
import inspect, os, sys
if pid := os.fork():
    os.waitpid(pid, 0)
print(len(inspect.stack(0)), flush=True)
""",
    "names": "print(list(globals()), __spec__ and __spec__.name, globals().get('__cached__'))",
    "its own runpy": """
import runpy, sys
print("exec" in vars(runpy), runpy.run_path("deeper.py")["DEPTH"] > 100)
""",
}
DEEPER = "def f(n=0):\n    try: return f(n + 1)\n    except RecursionError: return n\nDEPTH = f()\nprint(DEPTH)\n"
WAYS = [["program.py"], ["-m", "program"], ["-m", "pack"], ["pack"]]
ALL = ["--track-all-vars", "--track-locals"]


EACH = [*((way, []) for way in WAYS), (["-m", "pack"], ALL)]
SOAK = bool(os.environ.get("MEMWATCH_SOAK"))


@pytest.mark.parametrize(
    ("program", "way", "options"),
    [
        (program, *each)
        for i, program in enumerate(PROGRAMS)
        for j, each in enumerate(EACH)
        if SOAK or not i or i % len(EACH) == j
    ],
    ids=lambda words: words if isinstance(words, str) else " ".join(words),
)
def test_a_program_finds_the_same_below_it(program: str, way: list[str], options: list[str], tmp_path: Path) -> None:
    (tmp_path / "pack").mkdir()
    for file in ("program.py", "pack/__main__.py"):
        (tmp_path / file).write_text(PROGRAMS[program])
    for file in ("deeper.py", "pack/deeper.py"):
        (tmp_path / file).write_text(DEEPER)
    if way != ["pack"]:
        (tmp_path / "pack" / "__init__.py").write_text("")
    said = []
    for command in ([sys.executable], [str(SCRIPT), "run", "--quiet", "--sink", "jsonl", *options]):
        done = subprocess.run(
            [*command, *way], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=120, check=False
        )
        said.append((done.returncode, done.stdout, done.stderr))
    assert said[1] == said[0]
    assert said[0][1:] != ("", "") or program == "how deep in C"


@pytest.mark.parametrize("name", ["nothing_such", "pack", "pack.nothing", "pack.broken", "json.decoder:x"])
def test_a_module_that_can_not_be_run_is_refused_in_the_interpreters_words(name: str, tmp_path: Path) -> None:
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").write_text("")
    (tmp_path / "pack" / "broken.py").write_text("def f(:\n")
    said = []
    for command in ([sys.executable], [str(SCRIPT), "run", "--quiet"]):
        done = subprocess.run(
            [*command, "-m", name], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip
        said.append((done.returncode, done.stdout, done.stderr))
    assert said[0][0] != 0
    assert said[1] == said[0]


@pytest.mark.parametrize("way", WAYS, ids=" ".join)
def test_runpys_functions_are_no_callers(way: list[str], tmp_path: Path) -> None:
    (tmp_path / "pack").mkdir()
    for file in ("program.py", "pack/__main__.py"):
        (tmp_path / file).write_text("from memwatch_core import watch\nx = watch(1)\ndef f():\n    x.value = 2\nf()\n")
    command = [str(SCRIPT), "run", "--quiet", "--sink", "jsonl", *way]
    subprocess.run(command, cwd=tmp_path, env=environment(), timeout=60, check=True)
    lines = map(json.loads, (tmp_path / "events.jsonl").read_text().splitlines())
    (event,) = [line for line in lines if "seq" in line]
    assert event["site"]["function"] == "f"
    assert [frame["function"] for frame in event["stack"]] == ["<module>"]
