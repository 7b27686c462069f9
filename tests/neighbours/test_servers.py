"""Servers with workers and reloaders: an event of one process in the journal of another or in none, a wrong line, a
process that is left over, another exit status."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from servers_beside import CLI, Server, events, need, nobody_is_left, serving

DJANGO = """
import os, sys
import django
from django.conf import settings
from django.http import HttpResponse
from django.urls import path
import state

settings.configure(DEBUG=True, SECRET_KEY="x", ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], USE_TZ=True,
                   INSTALLED_APPS=["django.contrib.staticfiles"], STATIC_URL="static/")
urlpatterns = [path("", lambda request: HttpResponse(f"{os.getpid()} {state.hit()}"))]

if __name__ == "__main__":
    from django.core.management import execute_from_command_line
    execute_from_command_line(sys.argv)
"""
FLASK = """
import os
from flask import Flask
import state

app = Flask(__name__)

@app.route("/")
def index():
    return f"{os.getpid()} {state.hit()}"
"""
HTTP = """
import sys
from wsgiref.simple_server import make_server
from app import wsgi
make_server("127.0.0.1", int(sys.argv[1]), wsgi).serve_forever()
"""
Arguments = Callable[[int], list[str]]
GUNICORN = ["-m", "gunicorn", "--no-control-socket", "--graceful-timeout", "3"]
WORKERS: dict[str, tuple[str, Arguments]] = {
    "gunicorn": ("gunicorn", lambda port: [*GUNICORN, "-b", f"127.0.0.1:{port}", "-w", "2", "app:wsgi"]),
    "gunicorn --preload": (
        "gunicorn",
        lambda port: [*GUNICORN, "--preload", "-b", f"127.0.0.1:{port}", "-w", "2", "app:wsgi"],
    ),
    "gunicorn --max-requests": (
        "gunicorn",
        lambda port: [*GUNICORN, "--max-requests", "3", "-b", f"127.0.0.1:{port}", "-w", "2", "app:wsgi"],
    ),
    "uvicorn": ("uvicorn", lambda port: ["-m", "uvicorn", "--port", str(port), "app:asgi"]),
    "uvicorn --workers": ("uvicorn", lambda port: ["-m", "uvicorn", "--port", str(port), "--workers", "2", "app:asgi"]),
}
RELOADERS: dict[str, tuple[str, Arguments]] = {
    "gunicorn --reload": (
        "gunicorn",
        lambda port: [*GUNICORN, "--reload", "-b", f"127.0.0.1:{port}", "-w", "1", "app:wsgi"],
    ),
    "uvicorn --reload": ("uvicorn", lambda port: ["-m", "uvicorn", "--reload", "--port", str(port), "app:asgi"]),
    "Django's runserver": ("django", lambda port: ["manage.py", "runserver", f"127.0.0.1:{port}"]),
    "Flask --debug": ("flask", lambda port: ["-m", "flask", "--app", "web", "--debug", "run", "--port", str(port)]),
    "watchfiles": (
        "watchfiles",
        lambda port: ["-m", "watchfiles", f"{sys.executable} serve.py {port}", "."],
    ),
}


def prepare(folder: Path) -> None:
    (folder / "manage.py").write_text(DJANGO)
    (folder / "web.py").write_text(FLASK)
    (folder / "serve.py").write_text(HTTP)


def assert_all_is_told(server: Server) -> None:
    written = server.written()
    assert {pid: values for pid, values in written.items() if values} == server.answers
    for values in written.values():
        assert values == [*range(1, len(values) + 1)]


@pytest.mark.parametrize("which", WORKERS)
def test_each_worker_has_a_journal_of_its_own_and_all_is_told(which: str, tmp_path: Path) -> None:
    module, arguments = WORKERS[which]
    need(module)
    with serving(tmp_path, arguments) as server:
        server.until_it_answers()
        for _ in range(12):
            server.until_it_answers()
        assert server.end() == 0, server.said()
        nobody_is_left(tmp_path)
        assert_all_is_told(server)
    if "max-requests" in which:
        assert len(server.answers) > 2, "no worker was replaced"


@pytest.mark.parametrize("which", RELOADERS)
def test_a_process_that_a_reloader_starts_anew_is_watched_as_well(which: str, tmp_path: Path) -> None:
    module, arguments = RELOADERS[which]
    need(module)
    prepare(tmp_path)
    with serving(tmp_path, arguments) as server:
        first = server.until_it_answers()
        server.ask()
        time.sleep(1.5)  # times of change are whole seconds to some
        for name in ("app.py", "manage.py", "web.py"):
            with open(tmp_path / name, "a") as file:
                file.write("\n# changed\n")
        second = server.until_it_answers(other_than=frozenset({first}))
        server.ask()
        assert second != first
        status = server.end()
        assert status in (0, -signal.SIGTERM, 143), server.said()
        nobody_is_left(tmp_path)
        assert_all_is_told(server)


def test_a_server_that_is_killed_leaves_what_it_wrote(tmp_path: Path) -> None:
    prepare(tmp_path)
    with serving(tmp_path, lambda port: ["serve.py", str(port)]) as server:
        pid = server.until_it_answers()
        server.ask()
        os.kill(pid, signal.SIGKILL)
        assert server.process.wait(30) == -signal.SIGKILL
        assert_all_is_told(server)


TASKS = """
import os
from celery import Celery
import state

app = Celery("tasks", broker="filesystem://", backend="file://" + os.environ["BROKER"] + "/results")
app.conf.update(
    broker_transport_options={"data_folder_in": os.environ["BROKER"] + "/queue",
                              "data_folder_out": os.environ["BROKER"] + "/queue",
                              "control_folder": os.environ["BROKER"] + "/control"},
    worker_prefetch_multiplier=1,
)

@app.task
def hit():
    return os.getpid(), state.hit()
"""
SEND = "import tasks; print([tuple(r.get(timeout=60, interval=0.02)) for r in [tasks.hit.delay() for _ in range(8)]])"


@pytest.mark.parametrize("pool", ["solo", "prefork", "threads"])
def test_tasks_of_celery_are_told_whatever_the_pool(pool: str, tmp_path: Path) -> None:
    need("celery")
    for name in ("queue", "results", "control"):
        (tmp_path / name).mkdir()
    (tmp_path / "tasks.py").write_text(TASKS)
    environment = {"BROKER": str(tmp_path), "PYTHONPATH": str(tmp_path), "C_FORCE_ROOT": "1"}
    worker = ["-m", "celery", "-A", "tasks", "worker", "-P", pool, "-c", "2", "-l", "INFO", "--without-mingle"]
    with serving(tmp_path, lambda port: [*worker, "--without-gossip"], **environment) as server:
        deadline = time.monotonic() + 60
        while " ready." not in server.said():
            assert time.monotonic() < deadline, server.said()
            time.sleep(0.1)
        sent = subprocess.run(
            [sys.executable, "-c", SEND],
            cwd=tmp_path,
            env={**os.environ, **environment, "MEMWATCH_JOURNAL_FOLDER": str(tmp_path / "others")},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert sent.returncode == 0, (sent.stderr[-2000:], server.said())
        server.end()
        ran: list[tuple[int, int]] = eval(sent.stdout)
        assert sorted((event["pid"], event["value"]) for event in events(tmp_path)) == sorted(ran)
        nobody_is_left(tmp_path)


POOLS = """
import multiprocessing, os, sys
import state

def task(n):
    state.hit()
    return os.getpid()

if __name__ == "__main__":
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        print(pool.map(task, range(8), chunksize=1))
        pool.close()
        pool.join()
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_of_multiprocessing_are_told(method: str, tmp_path: Path) -> None:
    from servers_beside import STATE

    (tmp_path / "state.py").write_text(STATE)
    (tmp_path / "pools.py").write_text(POOLS)
    done = subprocess.run(
        [*CLI, "run", "--quiet", "--folder", "sessions", "--sink", "jsonl", "pools.py", method],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ran: list[int] = eval(done.stdout)
    found = [event["pid"] for event in events(tmp_path)]
    assert sorted(found) == sorted(ran)
    nobody_is_left(tmp_path)
