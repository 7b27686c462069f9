"""Risk: the tests' servers get in the way: of a second session, of the machine after a kill, of root."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

import servers

KINDS = {"postgresql": servers.postgresql, "mariadb": servers.mariadb}
OWNER = """
import os, signal, sys, time
import servers
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job has it ignored
with servers.{kind}.private() as server:
    print(server.socket, flush=True)
    {then}
"""


@pytest.fixture(params=sorted(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    try:
        KINDS[request.param].require()
    except servers.ServerMissing as missing:
        pytest.skip(str(missing))
    return str(request.param)


def processes_in(folder: Path) -> list[int]:
    """Ids of the processes that work in a folder: a server's, all of them."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdecimal() and Path(os.readlink(entry / "cwd")).is_relative_to(folder):
                found.append(int(entry.name))
    return found


@contextlib.contextmanager
def owner(kind: str, then: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process that owns a server, and the server's folder."""
    code = OWNER.format(kind=kind, then=then)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        socket = Path(process.stdout.readline().strip())
        try:
            yield process, socket if socket.is_dir() else socket.parent
        finally:
            process.kill()


def guard_of(process: subprocess.Popen[str]) -> int:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    (guard,) = [int(child) for child in children if b"\0-m\0servers\0" in Path(f"/proc/{child}/cmdline").read_bytes()]
    return guard


def wait_for_end_of(*pids: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            watched = os.pidfd_open(pid)
            assert select.select([watched], [], [], 30)[0], f"process {pid} goes on"
            os.close(watched)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_nothing_is_left_of_a_server_whose_owner_was_killed(kind: str, number: signal.Signals) -> None:
    """Though a child that the owner forked lives on."""
    then = "child = os.fork()\n    if child: print(child, flush=True)\n    time.sleep(600)"
    with owner(kind, then) as (process, folder):
        at_work = processes_in(folder)
        guard = guard_of(process)
        assert at_work
        assert folder.is_dir()
        assert process.stdout is not None
        child = int(process.stdout.readline())
        try:
            process.send_signal(number)
            process.wait(30)
            wait_for_end_of(guard, *at_work)
        finally:
            os.kill(child, signal.SIGKILL)
    assert not folder.exists()
    assert processes_in(folder) == []


def test_a_server_ends_when_its_guard_is_killed(kind: str) -> None:
    with owner(kind, "time.sleep(600)") as (process, folder):
        at_work = processes_in(folder)
        os.kill(guard_of(process), signal.SIGKILL)
        wait_for_end_of(*at_work)
        subprocess.run(["rm", "-r", folder], check=True)  # the one thing that only the guard could do


def test_two_servers_at_once_do_not_collide(kind: str) -> None:
    with contextlib.ExitStack() as stack:
        first, second = (stack.enter_context(KINDS[kind].private()) for _ in range(2))
        assert first.port != second.port
        assert first.socket != second.socket
        assert first.password != second.password
        first.administer("CREATE DATABASE only_here")
        assert "only_here" in names(first)
        assert "only_here" not in names(second)
    assert not Path(first.socket).exists()
    assert not Path(second.socket).exists()


def names(server: Any) -> set[str]:
    statement = "SELECT datname FROM pg_database" if isinstance(server, servers.PostgreSql) else "SHOW DATABASES"
    return {row[0] for row in server.administer(statement)}


def test_a_server_does_not_run_as_root(postgresql: servers.PostgreSql, mariadb: servers.MariaDb) -> None:
    for folder in (Path(postgresql.socket), Path(mariadb.socket).parent):
        at_work = processes_in(folder)
        assert at_work
        expected = os.geteuid() or 65534
        for pid in at_work:
            with contextlib.suppress(FileNotFoundError):  # a worker of PostgreSQL may have ended
                assert os.stat(f"/proc/{pid}").st_uid == expected
        assert folder.stat().st_mode & 0o077 == 0


def test_the_password_is_asked_for_but_not_of_the_trusted_user(
    postgresql_database: servers.PostgreSql, mariadb_database: servers.MariaDb
) -> None:
    import MySQLdb
    import psycopg2

    for connect in (psycopg.connect, psycopg2.connect):
        for how in (postgresql_database.connect, postgresql_database.connect_trusted):
            with contextlib.closing(connect(**how)) as connection, connection.cursor() as cursor:
                cursor.execute("SELECT current_database(), current_user")
                assert cursor.fetchone() == (postgresql_database.database, how["user"])
        for wrong in ({"password": "guessed"}, {"user": "trusted"}):
            with pytest.raises((psycopg.OperationalError, psycopg2.OperationalError), match="password"):
                connect(**postgresql_database.connect | wrong)
    for how in (mariadb_database.connect, mariadb_database.connect_trusted):
        with contextlib.closing(MySQLdb.connect(**how)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT database(), user()")
            database, user = cursor.fetchone()
            assert (database, user.partition("@")[0]) == (mariadb_database.database, how["user"])
    for wrong in ({"password": "guessed"}, {"user": "trusted", "password": ""}):
        with pytest.raises(MySQLdb.OperationalError, match="Access denied"):
            MySQLdb.connect(**mariadb_database.connect | wrong)


def test_fresh_databases_are_empty_and_dropped_whatever_a_test_left_in_them(
    postgresql: servers.PostgreSql, mariadb: servers.MariaDb
) -> None:
    import MySQLdb

    with postgresql.fresh_database() as one, postgresql.fresh_database() as two:
        left = psycopg.connect(one.dsn)
        left.execute("CREATE TABLE t (a int)")
        left.execute("PREPARE TRANSACTION 'it''s left'")
        left.execute("SELECT 1")
        assert "t" not in {row[0] for row in two.administer("SELECT relname FROM pg_class")}
    left.close()
    assert not {one.database, two.database} & names(postgresql)
    with mariadb.fresh_database() as mine:
        locking: Any = MySQLdb.connect(**mine.connect)
        cursor = locking.cursor()
        cursor.execute("CREATE TABLE t (a int)")
        cursor.execute("INSERT INTO t VALUES (1)")  # uncommitted: keeps the table from being dropped
        assert names(replace(mariadb, database="mysql")) >= {mine.database}
    assert mine.database not in names(mariadb)
    with contextlib.suppress(MySQLdb.Error):
        locking.close()


def test_settings_that_the_tests_of_drivers_rely_on(postgresql: servers.PostgreSql, mariadb: servers.MariaDb) -> None:
    settings = {"max_connections": "100", "max_prepared_transactions": "20", "deadlock_timeout": "100ms"}
    for name, value in settings.items():
        assert postgresql.administer(f"SHOW {name}") == [(value,)]
    assert mariadb.administer("SELECT @@innodb_lock_wait_timeout, @@max_connections") == [("2", "200")]


def test_a_server_that_does_not_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # pytest's is root's alone
        broken = Path(folder) / "mariadb-install-db"
        broken.write_text("#!/bin/sh\necho no room for this\nexit 1\n")
        for path in (broken, broken.parent):
            path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        with pytest.raises(servers.ServerError, match="no room for this"), servers.mariadb.private():
            pass
