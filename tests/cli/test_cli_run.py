"""``memwatch run``: the program must not notice, and nothing that it writes may be missed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from console_script import SCRIPT, environment

Run = Any

COUNTER = """\
from memwatch_core import watch

def add(n):
    global total
    total += n

total = watch(0, name="total")
for n in (5, 0, 7):
    add(n)
print("total", total)
"""


def write(folder: Path, text: str, name: str = "program.py") -> str:
    (folder / name).write_text(text)
    return name


def test_each_write_is_shown_with_old_new_line_function_and_thread(memwatch: Run, tmp_path: Path) -> None:
    done = memwatch("run", write(tmp_path, COUNTER))
    assert (done.returncode, done.stdout) == (0, "total 12\n"), done.stderr
    lines = [line[14:] for line in done.stderr.splitlines() if not line.startswith("memwatch: ")]
    events = [re.sub(" {2,}", "  ", line) for line in lines if line.startswith("total  ")]
    assert events == [
        "total  0 -> 5  program.py:5  add  MainThread",
        "total  5 (unchanged)  program.py:5  add  MainThread",
        "total  5 -> 12  program.py:5  add  MainThread",
    ]
    assert any(line.startswith("total is watched: 0") and "program.py:7" in line for line in lines)
    said = [line for line in done.stderr.splitlines() if line.startswith("memwatch: ")]
    assert said[0].startswith("memwatch: 3 events on 1 variable by 1 thread; nothing lost (")
    assert "total  3 writes, last 5 -> 12 at program.py:5 add in MainThread" in said[1]
    assert said[-1].startswith("memwatch: session .memwatch/")
    assert "\x1b" not in done.stderr


def test_program_runs_as_the_interpreter_would_run_it(memwatch: Run, tmp_path: Path) -> None:
    """The same report from ``python probe.py`` and from ``memwatch run probe.py``."""
    text = """\
import __main__, json, os, sys, threading, atexit
import helper
report = {
    "argv": sys.argv, "path0": sys.path[0], "file": __file__, "name": __name__, "doc": __doc__, "spec": str(__spec__),
    "package": __package__, "globals": sorted(globals()), "main": __main__.__dict__ is globals(), "cwd": os.getcwd(),
    "helper": helper.HERE, "stdin": sys.stdin.read(), "loader": type(__loader__).__name__,
    "builtins": __builtins__ is __import__("builtins"), "annotations": globals().get("__annotations__"),
}
atexit.register(lambda: print("exit", __name__, json is not None))
threading.Timer(0.05, lambda: print("late", __name__)).start()
print(json.dumps(report, indent=1))
"""
    inner = tmp_path / "inner"
    inner.mkdir()
    write(inner, text, "probe.py")
    write(inner, "HERE = __file__", "helper.py")
    for arguments in (["inner/probe.py"], ["-m", "inner.probe"], ["inner"]):
        (inner / "__main__.py").write_text(text)
        env = environment() | ({"PYTHONPATH": str(inner)} if arguments[0] == "-m" else {})
        results = [
            subprocess.run(
                [*command, *arguments, "-x", "--", "é"], cwd=tmp_path, env=env, input="in", capture_output=True,
                text=True, timeout=60, check=False,
            )
            for command in ([sys.executable], [str(SCRIPT), "run", "--quiet"])
        ]  # fmt: skip
        assert results[0].returncode == results[1].returncode == 0, results[1].stderr
        plain, watched = (re.sub("0x[0-9a-f]+", "0x", result.stdout) for result in results)
        assert plain == watched


@pytest.mark.parametrize(
    ("ending", "status"),
    [
        ("import sys; sys.exit(7)", 7),
        ("raise SystemExit('so long')", 1),
        ("def f():\n    1 / 0\nf()", 1),
        ("raise KeyboardInterrupt", -signal.SIGINT),
        ("import os; os.kill(os.getpid(), 9)", -signal.SIGKILL),
        ("import os; os.abort()", -signal.SIGABRT),
        ("import os; os._exit(3)", 3),
        ("a b", 1),
    ],
)
def test_end_of_the_program_passes_through_with_its_messages(
    memwatch: Run, tmp_path: Path, ending: str, status: int
) -> None:
    name = write(tmp_path, ending + "\n")
    plain = subprocess.run([sys.executable, name], cwd=tmp_path, env=environment(), capture_output=True, check=False)
    done = memwatch("run", "--quiet", name)
    assert done.returncode == plain.returncode == status
    own = [line for line in done.stderr.splitlines(keepends=True) if "-python.mwj: " not in line]
    assert "".join(own) == plain.stderr.decode(), "no frame of ours, no word of ours"


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        ("pass", "exit status 0"),
        ("raise SystemExit(7)", "exit status 7"),
        ("import os; os.abort()", "killed by SIGABRT"),
    ],
)
def test_summary_says_how_the_program_ended(memwatch: Run, tmp_path: Path, ending: str, said: str) -> None:
    done = memwatch("run", write(tmp_path, ending + "\n"))
    assert re.search(rf"^memwatch: no variable was watched: .* \(\d+\.\d\d s, {said}\)$", done.stderr, re.M), (
        done.stderr
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("handled", [True, False])
def test_signal_reaches_the_program(tmp_path: Path, number: signal.Signals, handled: bool) -> None:
    handler = f"signal.signal({int(number)}, lambda *_: sys.exit(5))\n" if handled else ""
    wait = "while True:\n    time.sleep(0.1)\n"  # a signal just before a long sleep would wait for its end
    name = write(tmp_path, f"import signal, sys, time\n{handler}print('ready', flush=True)\n{wait}")
    process = subprocess.Popen(
        [SCRIPT, "run", "--quiet", name],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(number)
    process.communicate(timeout=20)
    assert process.returncode == (5 if handled else -number)


def test_interrupt_from_the_terminal_comes_once(tmp_path: Path) -> None:
    """Ctrl-C goes to the whole group: forwarding it as well would interrupt the program twice."""
    name = write(
        tmp_path,
        "import signal, sys, time\ncount = 0\ndef on(*_):\n    global count\n    count += 1\n"
        "signal.signal(signal.SIGINT, on)\nprint('ready', flush=True)\nend = time.monotonic() + 1\n"
        "while time.monotonic() < end:\n    time.sleep(0.01)\nprint(count)\n",
    )
    control, terminal = os.openpty()
    try:
        process = subprocess.Popen(
            [SCRIPT, "run", "--quiet", name], cwd=tmp_path, env=environment(), stdin=terminal, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, start_new_session=True,
            preexec_fn=lambda: __import__("fcntl").ioctl(0, __import__("termios").TIOCSCTTY, 0),
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        os.write(control, b"\x03")
        out, _ = process.communicate(timeout=20)
        assert out == b"1\n"
        assert process.returncode == 0
    finally:
        os.close(control)
        os.close(terminal)


def test_what_was_written_before_a_kill_is_shown(memwatch: Run, tmp_path: Path) -> None:
    name = write(tmp_path, COUNTER + "import os\nos.kill(os.getpid(), 9)\n")
    done = memwatch("run", name)
    assert done.returncode == -signal.SIGKILL
    assert done.stderr.count("MainThread") >= 3
    assert "memwatch: 3 events on 1 variable by 1 thread; nothing lost" in done.stderr


def test_processes_that_the_program_starts_write_into_the_same_session(memwatch: Run, tmp_path: Path) -> None:
    write(tmp_path, COUNTER, "child.py")
    name = write(
        tmp_path, COUNTER + "import subprocess, sys\nsubprocess.run([sys.executable, 'child.py'], check=True)\n"
    )
    done = memwatch("run", name)
    assert done.stdout == "total 12\ntotal 12\n", done.stderr
    assert "memwatch: 6 events on 2 variables by 2 threads; nothing lost" in done.stderr
    assert re.search(r"child\.py:5  add +\d+/MainThread", done.stderr)


def test_command_after_two_dashes_takes_part_at_its_first_watch(memwatch: Run, tmp_path: Path) -> None:
    name = write(tmp_path, COUNTER)
    done = memwatch("run", "--", sys.executable, "-X", "dev", name)
    assert (done.returncode, done.stdout) == (0, "total 12\n"), done.stderr
    assert "memwatch: 3 events on 1 variable" in done.stderr
    done = memwatch("run", "--", "sh", "-c", "exit 9")
    assert done.returncode == 9
    assert "memwatch: no variable was watched: the program must call memwatch_core.watch()" in done.stderr
    assert "read it again" not in done.stderr, "there is nothing to be read"


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["nosuch.py"], 2, "nosuch.py: the script can't be read: No such file or directory; for a command write"),
        (["/bin/sh"], 2, "/bin/sh: not a Python script; for a command write: memwatch run -- COMMAND"),
        (["--", "nosuchcommand"], 127, "nosuchcommand: can't be started: no such command"),
        (["--", "./program.py"], 126, "./program.py: can't be started: Permission denied"),
        (["--sink", "nosuch", "program.py"], 2, "--sink: plugins.sinks names 'nosuch': no installed distribution"),
        (["--tracker", "best", "program.py"], 2, "--tracker: core.tracker = \"best\": must be 'auto'"),
        (["--mutation-depth", "8:4", "program.py"], 2, "--mutation-depth: watch.mutation_depth = \"8:4\": must be"),
        (["--folder", "program.py", "program.py"], 2, "session's folder can't be made"),
        (["--config", "nosuch.toml", "program.py"], 2, "nosuch.toml: the configuration can't be read"),
    ],
)  # fmt: skip
def test_what_can_not_be_done_is_said_before_the_program_starts(
    memwatch: Run, tmp_path: Path, arguments: list[str], status: int, message: str
) -> None:
    write(tmp_path, "open('started', 'w')\n")
    done = memwatch("run", *arguments)
    assert done.returncode == status
    assert message in done.stderr
    assert done.stderr.startswith("memwatch: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert not (tmp_path / "started").exists()


def test_unwritable_journal_folder_is_one_error(memwatch: Run, tmp_path: Path) -> None:
    write(tmp_path, "open('started', 'w')\n")
    done = memwatch("run", "program.py", MEMWATCH_JOURNAL_FOLDER="/proc/nowhere")
    assert done.returncode == 2
    assert "/proc/nowhere: the session's folder can't be made" in done.stderr
    assert "--folder" in done.stderr
    assert not (tmp_path / "started").exists()


def test_sink_that_raises_costs_the_others_and_the_program_nothing(memwatch: Run, tmp_path: Path) -> None:
    (tmp_path / "memwatch.toml").write_text(
        "[plugins]\nsinks = ['failing', 'console']\n[sinks.failing]\nat = 'write'\nafter = 1\n"
    )
    name = write(tmp_path, COUNTER + "import time; time.sleep(0.3)\nadd(1)\n")
    done = memwatch("run", name, fakes=["failing_sink"])
    assert done.returncode == 0
    assert done.stderr.count("memwatch: sink 'failing' failed in write() (OSError: no write today)") == 1
    assert "memwatch: 4 events on 1 variable" in done.stderr
    assert len(re.findall(r"total .* add +MainThread", done.stderr)) == 4


def test_reader_that_goes_away_does_not_disturb_the_program(tmp_path: Path) -> None:
    name = write(
        tmp_path,
        "from memwatch_core import watch\nn = watch(0, name='n')\nfor i in range(20000):\n    n += 1\n"
        "open('finished', 'w').write(str(n))\nraise SystemExit(4)\n",
    )
    done = subprocess.run(
        ["bash", "-c", f"'{SCRIPT}' run {name} 2>&1 >/dev/null | head -n 3; exit ${{PIPESTATUS[0]}}"],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (tmp_path / "finished").read_text() == "20000"
    assert done.returncode == 4
    assert len(done.stdout.splitlines()) == 3
    assert done.stderr == ""


def test_sql_statement_is_shown_where_it_was_asked_for(memwatch: Run, tmp_path: Path) -> None:
    name = write(
        tmp_path,
        """\
import sqlite3
from memwatch_core import watch
db = sqlite3.connect(":memory:")
db.execute("CREATE TABLE orders (qty INTEGER)")
db.execute("INSERT INTO orders VALUES (4)")
total = watch(0, name="total")
for (qty,) in db.execute("SELECT qty FROM orders WHERE qty > 3"):
    total += qty
""",
    )
    done = memwatch("run", "--track-sql", name)
    assert re.search(r"total +0 -> 4 .*program\.py:8 .*sqlite3: SELECT qty FROM orders WHERE qty > \?", done.stderr)
    assert "under 1 SQL statement; nothing lost" in done.stderr
    done = memwatch("run", name)
    assert "SELECT" not in done.stderr


def test_threads_are_named_and_can_be_left_out(memwatch: Run, tmp_path: Path) -> None:
    name = write(
        tmp_path,
        """\
import threading
from memwatch_core import watch
total = watch(0, name="total")
def work():
    global total
    for _ in range(10):
        total += 1
threads = [threading.Thread(target=work, name=f"worker-{i}") for i in range(3)]
[t.start() for t in threads]
[t.join() for t in threads]
""",
    )
    done = memwatch("run", name)
    assert "memwatch: 30 events on 1 variable by 3 threads; nothing lost" in done.stderr
    for i in range(3):
        assert len(re.findall(rf"total .* work +worker-{i}\b", done.stderr)) >= 10
    done = memwatch("run", "--no-track-threads", name)
    assert "memwatch: 30 events on 1 variable; nothing lost" in done.stderr
    assert not re.search(r"total .* work +worker", done.stderr)


def test_settings_reach_the_program_from_file_environment_and_options(memwatch: Run, tmp_path: Path) -> None:
    (tmp_path / "memwatch.toml").write_text("[core]\ntracker = 'uffd-sigbus'\n[journal]\nfolder = 'sessions'\n")
    name = write(tmp_path, COUNTER)
    done = memwatch("run", "--tracker", "readonly", "--sink", "console", name, MEMWATCH_SINKS_CONSOLE_SHOW="changes")
    assert "(unchanged)" not in done.stderr
    assert "is watched" not in done.stderr
    session = next((tmp_path / "sessions").iterdir())
    assert json.loads((session / "settings.json").read_text())["sources"]["core.tracker"] == ["caller", "--tracker"]
    assert b"readonly" in next(session.glob("*.mwj")).read_bytes()[:128]
    assert oct(session.stat().st_mode & 0o777) == "0o700"
    assert {oct(path.stat().st_mode & 0o777) for path in session.iterdir()} == {"0o600"}


def test_events_arrive_while_the_program_runs(tmp_path: Path) -> None:
    name = write(tmp_path, COUNTER + "import sys\nsys.stdin.read()\n")
    process = subprocess.Popen(
        [SCRIPT, "run", name], cwd=tmp_path, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        deadline = time.monotonic() + 20
        while "5 -> 12" not in process.stderr.readline():
            assert time.monotonic() < deadline
        assert process.poll() is None
    finally:
        process.communicate(timeout=20)


GONE = """\
import shutil, sys, time
from memwatch_core import watch
total = watch(0, name="total")
total += 1
if "seen" in sys.argv:
    import json, os
    from pathlib import Path
    while '"seq"' not in (Path("events.jsonl").read_text() if os.path.exists("events.jsonl") else ""):
        time.sleep(0.01)  # now the reader has the journal open
shutil.rmtree(".memwatch")
for _ in range(500):
    total += 1
sys.exit(5)
"""


@pytest.mark.parametrize("seen", [True, False])
def test_program_that_removes_the_session_is_not_said_to_have_watched_nothing(
    memwatch: Run, tmp_path: Path, seen: bool
) -> None:
    done = memwatch("run", "--sink", "jsonl", write(tmp_path, GONE), *(["seen"] if seen else []))
    assert done.returncode == 5, "the exit status is the program's"
    (first, *_, last) = [line for line in done.stderr.splitlines() if line.startswith("memwatch: ")]
    if seen:  # what is open can be read to its end
        assert first.startswith("memwatch: 501 events on 1 variable by 1 thread; ")
        lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
        assert [line["new"] for line in lines if "seq" in line] == [*range(1, 502)]
    assert "the session's folder was removed while it was in use: EVENTS MAY BE MISSING" in first
    assert "no variable was watched" not in done.stderr
    assert re.fullmatch(r"memwatch: session \S+ is gone: it can't be read again", last)
