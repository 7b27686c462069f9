"""A private MariaDB server."""

from __future__ import annotations

import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from . import guard

INNODB = {"innodb_log_file_size": "8M", "innodb_flush_method": "nosync", "innodb_buffer_pool_size": "32M"}
SETTINGS = {
    **INNODB,
    "bind_address": "127.0.0.1",
    "max_connections": 200,
    "innodb_lock_wait_timeout": 2,  # seconds
    "innodb_flush_log_at_trx_commit": 0,
    "local_infile": 1,
}


@dataclass(frozen=True)
class MariaDb:
    """How to reach a private MariaDB server, and one database on it."""

    host: str
    port: int
    """Over TCP, ``user`` logs in with ``password``."""
    socket: str
    """The Unix socket; over it, ``trusted`` logs in without a password too."""
    user: str
    password: str
    trusted: str
    database: str

    @property
    def connect(self) -> dict[str, Any]:
        """For ``MySQLdb.connect(**...)``: over TCP, with the password."""
        return {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "password": self.password,
            "database": self.database,
        }

    @property
    def connect_trusted(self) -> dict[str, Any]:
        """As above: over the Unix socket, without a password."""
        return {"unix_socket": self.socket, "user": self.trusted, "database": self.database}

    def url(self, scheme: str = "mysql+mysqldb") -> str:
        """``connect`` as a URL for SQLAlchemy."""
        return f"{scheme}://{self.user}:{self.password}@{self.host}:{self.port}/{self.database}"

    def administer(self, statement: str) -> list[tuple[str | None, ...]]:
        """Runs it on a connection of its own, past all that may be traced; returns its rows. Raises MySQLdb.Error."""
        from MySQLdb import _mysql  # the client library itself

        client: Any = _mysql  # its stubs are untyped
        connection = client.connect(unix_socket=self.socket, user=self.trusted)
        try:
            connection.query("SET lock_wait_timeout = 10")  # seconds; a forgotten transaction must not hang us
            connection.query(statement)
            result = connection.store_result()
            rows = result.fetch_row(0) if result is not None else ()
            return [tuple(None if value is None else bytes(value).decode() for value in row) for row in rows]
        finally:
            connection.close()

    @contextmanager
    def fresh_database(self) -> Iterator[MariaDb]:
        """An empty database of one's own while the block runs; what is connected to it then is disconnected."""
        from MySQLdb import Error

        fresh = replace(self, database=f"test_{uuid.uuid4().hex}")
        self.administer(f"CREATE DATABASE {fresh.database} CHARACTER SET utf8mb4")
        try:
            yield fresh
        finally:
            at_work = f"SELECT id FROM information_schema.processlist WHERE db = '{fresh.database}'"
            for (connection,) in self.administer(at_work):
                with suppress(Error):  # it has gone by itself
                    self.administer(f"KILL {connection}")
            self.administer(f"DROP DATABASE {fresh.database}")


class Private(guard.PrivateServer):
    name = "mariadb"
    stop_signal = signal.SIGKILL  # it has nothing outside of its folder

    def prepare(self) -> None:
        install = guard.program("mariadb-install-db")
        self.run(
            *(install, "--no-defaults", f"--datadir={self.folder}/data", "--auth-root-authentication-method=normal"),
            *("--skip-test-db", "--skip-name-resolve", *_options(INNODB)),
        )

    def command(self) -> list[str]:
        files = {key: self.folder / value for key, value in (("datadir", "data"), ("socket", "s"), ("pid_file", "pid"))}
        settings = {**SETTINGS, **files, "tmpdir": self.folder, "port": self.port}
        return [guard.program("mariadbd"), "--no-defaults", "--skip-name-resolve", *_options(settings)]

    @property
    def record(self) -> MariaDb:
        return MariaDb("127.0.0.1", self.port, str(self.folder / "s"), "memwatch", self.password, "trusted", "mysql")

    def ready(self) -> bool:
        from MySQLdb import Error

        try:
            return bool(replace(self.record, trusted="root").administer("SELECT 1"))
        except Error:
            return False

    def describe(self) -> dict[str, Any]:
        root = replace(self.record, trusted="root")
        root.administer("CREATE USER trusted@localhost")
        root.administer(f"CREATE USER memwatch@'%' IDENTIFIED BY '{self.password}'")
        for user in ("trusted@localhost", "memwatch@'%'"):
            root.administer(f"GRANT ALL ON *.* TO {user} WITH GRANT OPTION")
        return asdict(self.record)


@contextmanager
def private() -> Iterator[MariaDb]:
    """A server of one's own while the block runs. Raises ServerMissing, ServerError."""
    require()
    with guard.private("mariadb") as fields:
        yield MariaDb(**fields)


def require() -> None:
    """Raises ServerMissing if its programs aren't there."""
    for name in ("mariadb-install-db", "mariadbd"):
        guard.program(name)


def _options(settings: dict[str, Any]) -> list[str]:
    return [f"--{key.replace('_', '-')}={value}" for key, value in settings.items()]
