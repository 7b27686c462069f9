"""A private PostgreSQL server."""

from __future__ import annotations

import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from . import guard

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": 100,
    "max_prepared_transactions": 20,
    "deadlock_timeout": "100ms",
    "wal_level": "logical",  # replication is a part of psycopg2
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "jit": "off",
    "shared_buffers": "32MB",
    "dynamic_shared_memory_type": "mmap",  # inside the folder, not in /dev/shm
}


@dataclass(frozen=True)
class PostgreSql:
    """How to reach a private PostgreSQL server, and one database on it."""

    host: str
    port: int
    """Over TCP, ``user`` logs in with ``password``."""
    socket: str
    """Folder of the Unix socket; over it, ``trusted`` logs in without a password too."""
    user: str
    password: str
    trusted: str
    database: str

    @property
    def connect(self) -> dict[str, Any]:
        """For ``psycopg.connect(**...)`` and ``psycopg2.connect(**...)``: over TCP, with the password."""
        return {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "password": self.password,
            "dbname": self.database,
        }

    @property
    def connect_trusted(self) -> dict[str, Any]:
        """As above: over the Unix socket, without a password."""
        return {"host": self.socket, "port": self.port, "user": self.trusted, "dbname": self.database}

    @property
    def dsn(self) -> str:
        """``connect`` as libpq's ``key=value`` string."""
        return " ".join(f"{key}={value}" for key, value in self.connect.items())

    @property
    def dsn_trusted(self) -> str:
        return " ".join(f"{key}={value}" for key, value in self.connect_trusted.items())

    def url(self, scheme: str = "postgresql") -> str:
        """``connect`` as a URL; ``scheme`` for SQLAlchemy is ``postgresql+psycopg`` or ``postgresql+psycopg2``."""
        return f"{scheme}://{self.user}:{self.password}@{self.host}:{self.port}/{self.database}"

    def administer(self, statement: str) -> list[tuple[str | None, ...]]:
        """Runs it on a connection of its own, past all that may be traced; returns its rows. Raises RuntimeError."""
        from psycopg import pq  # libpq itself

        connection = pq.PGconn.connect(self.dsn_trusted.encode())
        try:
            result = connection.exec_(statement.encode()) if connection.status == pq.ConnStatus.OK else None
            if result is None or result.status not in (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK):
                raise RuntimeError(f"{statement}: {connection.error_message.decode()}")
            values = [
                [result.get_value(row, column) for column in range(result.nfields)] for row in range(result.ntuples)
            ]
            return [tuple(None if value is None else bytes(value).decode() for value in row) for row in values]
        finally:
            connection.finish()

    @contextmanager
    def fresh_database(self) -> Iterator[PostgreSql]:
        """An empty database of one's own while the block runs; what is connected to it then is disconnected."""
        fresh = replace(self, database=f"test_{uuid.uuid4().hex}")
        self.administer(f"CREATE DATABASE {fresh.database} TEMPLATE template0")
        try:
            yield fresh
        finally:
            prepared = f"SELECT gid FROM pg_prepared_xacts WHERE database = '{fresh.database}'"
            for (gid,) in self.administer(prepared):
                quoted = str(gid).replace("'", "''")
                fresh.administer(f"ROLLBACK PREPARED '{quoted}'")
            self.administer(f"DROP DATABASE {fresh.database} WITH (FORCE)")


class Private(guard.PrivateServer):
    name = "postgresql"
    stop_signal = signal.SIGQUIT  # "immediate"; SIGKILL would leave a System V segment behind

    def prepare(self) -> None:
        initdb = _program("initdb")
        self.run(
            *(initdb, "--pgdata=data", "--username=trusted", "--no-sync", "--auth=trust"),
            *("--locale=C.UTF-8", "--encoding=UTF8"),
        )
        rules = [
            f"local {databases} {user} {how}"
            for databases in ("all", "replication")
            for user, how in (("trusted", "trust"), ("all", "scram-sha-256"))
        ]
        rules += [f"host {databases} all 127.0.0.1/32 scram-sha-256" for databases in ("all", "replication")]
        (self.folder / "data" / "pg_hba.conf").write_text("\n".join(rules) + "\n")

    def command(self) -> list[str]:
        settings = {**SETTINGS, "port": self.port, "unix_socket_directories": self.folder}
        return [_program("postgres"), "-D", "data", *(f"--{key}={value}" for key, value in settings.items())]

    @property
    def record(self) -> PostgreSql:
        return PostgreSql("127.0.0.1", self.port, str(self.folder), "memwatch", self.password, "trusted", "postgres")

    def ready(self) -> bool:
        try:
            return bool(self.record.administer("SELECT 1"))
        except RuntimeError:
            return False

    def describe(self) -> dict[str, Any]:
        self.record.administer(f"CREATE ROLE memwatch SUPERUSER LOGIN PASSWORD '{self.password}'")
        return asdict(self.record)


@contextmanager
def private() -> Iterator[PostgreSql]:
    """A server of one's own while the block runs. Raises ServerMissing, ServerError."""
    require()
    with guard.private("postgresql") as fields:
        yield PostgreSql(**fields)


def require() -> None:
    """Raises ServerMissing if its programs aren't there."""
    for name in ("initdb", "postgres"):
        _program(name)


def _program(name: str) -> str:
    return guard.program(name, "/usr/lib/postgresql/*/bin")
