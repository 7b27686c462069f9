"""Servers that fork their workers: an event of one worker in the journal of another, or in none."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import matrix
import pytest
from test_forks import by_process

WORKERS, REQUESTS = 4, 80
SOAK = bool(os.environ.get("MEMWATCH_SOAK"))
TRACKERS = ["uffd-sigbus", "readonly", "uffd-queue"] if SOAK else ["uffd-sigbus", "readonly"]

APP = """
import os
from memwatch_core import watch

hits = watch(0, name="hits")
last = watch((0, 0), name="last", format="<qq", fields=("number", "worker"))
view = memoryview(last).cast("B").cast("q")

def app(environment, start):
    global hits
    hits += 1             # announced
    view[1] = os.getpid() # a store
    start("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.getpid()}".encode()]
"""

TASKS = """
import os
from celery import Celery
from memwatch_core import watch

where = os.environ["BROKER"]
app = Celery("tasks", broker="filesystem://", backend="file://" + where + "/results")
app.conf.update(
    broker_transport_options={"data_folder_in": where + "/queue", "data_folder_out": where + "/queue",
                              "control_folder": where + "/control"},
    worker_prefetch_multiplier=1,
)
hits = watch(0, name="hits") if os.environ.get("EARLY") else None

@app.task
def hit():
    global hits
    if hits is None:
        hits = watch(0, name="hits")
    hits += 1
    view = memoryview(hits).cast("B").cast("q")
    view[0] = view[0] + 1
    return os.getpid()
"""

SEND = "import tasks, time; print([r.get(timeout=60, interval=0.02) for r in [tasks.hit.delay() for _ in range(24)]])"


@contextmanager
def running(folder: Path, tracker: str, *command: str, **environment: str) -> Iterator[Callable[[], Path]]:
    """A server under ``memwatch run``; what is given ends it and returns the session's folder."""
    sessions = folder / "sessions"
    options = ["--quiet", "--tracker", tracker, "--folder", str(sessions), "--sink", "jsonl"]
    with open(folder / "output", "wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "memwatch_core.cli", "run", *options, *command],
            cwd=folder,
            env={**os.environ, **environment},
            stdout=output,
            stderr=output,
        )

    def end() -> Path:
        for patience in (15, 15, 60):  # uWSGI's master may overlook a worker that begins to wait, untraced as well
            server.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                server.wait(patience)
                break
        assert server.returncode is not None, (folder / "output").read_text()[-3000:]
        (session,) = sessions.iterdir()
        return session

    try:
        yield end
    finally:
        if server.poll() is None:
            server.kill()
            server.wait()


def until(what: Callable[[], Any], folder: Path) -> None:
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline, (folder / "output").read_text()[-3000:]
        time.sleep(0.05)


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=60)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        try:
            self.sock.connect(str(self.path))
        except OSError:
            self.sock.close()
            raise


def listens(path: Path) -> bool:
    with closing(UnixConnection(path)) as connection:
        try:
            connection.connect()
        except OSError:
            return False
        return True


def ask(path: Path) -> int:
    """The process that answers."""
    with closing(UnixConnection(path)) as connection:
        connection.request("GET", "/")
        answer = connection.getresponse()
        assert answer.status == 200
        return int(answer.read())


def requests(path: Path) -> dict[int, int]:
    """How many requests each process answers."""
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda _: ask(path), range(REQUESTS)))
    return {pid: answers.count(pid) for pid in set(answers)}


def assert_each_counts_its_own(session: Path, answered: dict[int, int]) -> None:
    events, lost = by_process(session)
    assert not lost
    wrote = {pid: {name: len(found) for name, found in of.items()} for pid, of in events.items()}
    assert wrote == {pid: {"hits": count, "last": count} for pid, count in answered.items()}
    for pid, of in events.items():
        assert [event.new for event in of["hits"]] == list(range(1, answered[pid] + 1))
        assert {event.origin for event in of["last"]} == {"store"}
        assert {event.new.worker for event in of["last"]} == {pid}
        assert {Path(event.site.file).name for event in of["hits"] if event.site} == {"web.py"}


def serve_and_count(folder: Path, tracker: str, *command: str) -> None:
    (folder / "web.py").write_text(APP)
    path = Path(os.path.relpath(folder / "socket"))
    with running(folder, tracker, *command) as end:
        until(lambda: listens(path), folder)
        answered = requests(path)
        session = end()
    assert sum(answered.values()) == REQUESTS
    assert_each_counts_its_own(session, answered)


@pytest.mark.parametrize("tracker", TRACKERS)
@pytest.mark.parametrize("preload", [False, True], ids=["late", "preload"])
@pytest.mark.parametrize("kind", ["sync", "gthread"])
def test_each_worker_of_gunicorn_counts_its_own(kind: str, preload: bool, tracker: str, tmp_path: Path) -> None:
    pytest.importorskip("gunicorn")
    matrix.record("servers that fork their workers", f"gunicorn {kind}{' --preload' * preload}", tracker)
    options = ["-b", "unix:socket", "-w", str(WORKERS), "-k", kind, "--threads", "1" if kind == "sync" else "4"]
    options += ["--preload"] * preload + ["--no-control-socket"]
    serve_and_count(tmp_path, tracker, "-m", "gunicorn", *options, "web:app")


@pytest.mark.parametrize("tracker", TRACKERS)
@pytest.mark.parametrize("lazy", [False, True], ids=["master", "lazy"])
def test_each_worker_of_uwsgi_counts_its_own(lazy: bool, tracker: str, tmp_path: Path) -> None:
    """A server in C, which forks by libc: the interpreter is in it, not around it."""
    if shutil.which("uwsgi", path=Path(sys.executable).parent) is None:
        pytest.skip("pip install pyuwsgi")
    matrix.record("servers that fork their workers", f"uWSGI{' --lazy-apps' * lazy}", tracker)
    options = ["--http-socket", "socket", "--master", "-p", str(WORKERS), "--wsgi-file", "web.py", "--callable", "app"]
    options += ["--die-on-term", "--need-app", "--single-interpreter", "--home", sys.prefix] + ["--lazy-apps"] * lazy
    uwsgi = str(Path(sys.executable).with_name("uwsgi"))
    serve_and_count(tmp_path, tracker, "--", uwsgi, *options, "--threads", "1")


@pytest.mark.parametrize(
    ("early", "tracker"),
    [(early, tracker) for early in (False, True) for tracker in TRACKERS if SOAK or (early and tracker == TRACKERS[0])],
)
def test_each_worker_of_celery_counts_its_own(early: bool, tracker: str, tmp_path: Path) -> None:
    pytest.importorskip("celery")
    matrix.record("servers that fork their workers", f"celery prefork{', watched before' * early}", tracker)
    for name in ("queue", "results", "control"):
        (tmp_path / name).mkdir()
    (tmp_path / "tasks.py").write_text(TASKS)
    environment = {"BROKER": str(tmp_path), "PYTHONPATH": str(tmp_path), "C_FORCE_ROOT": "1"}
    worker = ["-m", "celery", "-A", "tasks", "worker", "-P", "prefork", "-c", "2", "-l", "INFO", "--without-mingle"]
    with running(tmp_path, tracker, *worker, "--without-gossip", EARLY="1" if early else "", **environment) as end:
        until(lambda: " ready." in (tmp_path / "output").read_text(), tmp_path)
        sent = subprocess.run(
            [sys.executable, "-c", SEND],
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert sent.returncode == 0, (sent.stderr[-2000:], (tmp_path / "output").read_text()[-2000:])
        session = end()
    ran: list[int] = eval(sent.stdout)
    events, lost = by_process(session)
    assert not lost
    assert {pid: len(of["hits"]) for pid, of in events.items()} == {pid: 2 * ran.count(pid) for pid in set(ran)}
    for of in events.values():
        assert [event.new for event in of["hits"]] == list(range(1, len(of["hits"]) + 1))
