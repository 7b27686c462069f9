"""Servers for whoever asks for them: started at the first request, and gone with the test session. Tables of what was
tried (``matrix``), at its end."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import servers
from matrix import pytest_runtest_protocol, pytest_terminal_summary

__all__ = ["pytest_runtest_protocol", "pytest_terminal_summary"]

# pytest writes its summary another way where one of these is set, so the pytests that tests start would as well.
for of_a_build_server in ("CI", "BUILD_NUMBER"):
    os.environ.pop(of_a_build_server, None)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[servers.PostgreSql]:
    """A private PostgreSQL server, shared by the session's tests."""
    try:
        with servers.postgresql.private() as server:
            yield server
    except servers.ServerMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def mariadb() -> Iterator[servers.MariaDb]:
    """A private MariaDB server, shared by the session's tests."""
    try:
        with servers.mariadb.private() as server:
            yield server
    except servers.ServerMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture
def postgresql_database(postgresql: servers.PostgreSql) -> Iterator[servers.PostgreSql]:
    """An empty database of the test's own on the private PostgreSQL server."""
    with postgresql.fresh_database() as database:
        yield database


@pytest.fixture
def mariadb_database(mariadb: servers.MariaDb) -> Iterator[servers.MariaDb]:
    """An empty database of the test's own on the private MariaDB server."""
    with mariadb.fresh_database() as database:
        yield database
