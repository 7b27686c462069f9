"""A library as somebody else might have written it, in Python: PEP 249 over SQLite. tests/contracts/test_template.py
makes a driver for it out of plugins/_template."""

from __future__ import annotations

import os
import sqlite3
from typing import Any

Error = sqlite3.Error


class Cursor:
    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.description: Any = None
        self.rowcount = -1
        self.arraysize = 1
        self.lastrowid: Any = None
        self.rows_left: int | None = None
        self._rows: list[Any] = []

    def execute(self, operation: Any, parameters: Any = ()) -> None:
        self._run(self.connection.below.execute(operation, parameters))

    def executemany(self, operation: Any, seq_of_parameters: Any) -> None:
        self._run(self.connection.below.executemany(operation, seq_of_parameters))

    def _run(self, below: sqlite3.Cursor) -> None:
        self.connection.asked()
        self.description, self.rowcount, self.lastrowid = below.description, below.rowcount, below.lastrowid
        self._rows = below.fetchall()[::-1]
        self.rows_left = len(self._rows)

    def fetchone(self) -> Any:
        row = self._rows.pop() if self._rows else None
        self.rows_left = len(self._rows)
        return row

    def fetchmany(self, size: int | None = None) -> list[Any]:
        many = min(size or self.arraysize, len(self._rows))
        return [Cursor.fetchone(self) for _ in range(many)]

    def fetchall(self) -> list[Any]:
        return Cursor.fetchmany(self, len(self._rows)) if self._rows else []

    def __iter__(self) -> Any:
        return iter(self.fetchone, None)

    def close(self) -> None:
        self._rows, self.rows_left = [], None


class Connection:
    def __init__(self, path: str) -> None:
        self.database, self.host = os.path.basename(path), ""
        self.below = sqlite3.Connection(path)
        self.is_open, self.in_transaction = True, False

    def asked(self) -> None:
        """What the server has answered is kept."""
        self.in_transaction = self.below.in_transaction

    def cursor(self) -> Cursor:
        return Cursor(self)

    def commit(self) -> None:
        self.below.commit()
        self.asked()

    def rollback(self) -> None:
        self.below.rollback()
        self.asked()

    def close(self) -> None:
        self.below.close()
        self.is_open = False


def connect(path: str) -> Connection:
    return Connection(path)
