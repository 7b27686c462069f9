"""PostgreSQL and MariaDB servers of our own, for tests (fixtures: ``tests/conftest.py``) and benchmarks.

    with servers.postgresql.private() as server, server.fresh_database() as database:
        psycopg.connect(**database.connect)

Benchmarks put the folder ``tests`` on their path first. A server runs as an unprivileged user in a temporary folder,
and both are gone when the block ends, or when the process that opened it is: see :mod:`servers.guard`.
"""

from . import mariadb, postgresql
from .guard import ServerError, ServerMissing
from .mariadb import MariaDb
from .postgresql import PostgreSql

__all__ = ["MariaDb", "PostgreSql", "ServerError", "ServerMissing", "mariadb", "postgresql"]
