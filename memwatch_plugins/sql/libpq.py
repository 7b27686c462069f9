"""What the drivers on top of libpq share: psycopg 3's and psycopg2's."""

from __future__ import annotations

import sys
from typing import Any, ClassVar

from memwatch_core.records import Database

from .dbapi import DbapiDriverBase, Status
from .driver import Outcome
from .plain import is_a, peek, plain, shown

IDLE, ACTIVE, INTRANS, INERROR, UNKNOWN = range(5)  # PGTransactionStatusType


class LibpqDriverBase(DbapiDriverBase):
    """``status`` is where the library keeps libpq's transaction status; create it with :meth:`of_libpq`."""

    dialect = "postgresql"
    wrapped: ClassVar[str]
    """The attribute in which the parts of a composed statement keep their content."""
    code: ClassVar[str]
    """The attribute in which an error keeps the server's code; None: the library itself raised it."""

    @staticmethod
    def of_libpq(*at: str) -> Status:
        """The status for libpq's transaction status, found at these attributes of a connection."""
        return Status(at, open=(INTRANS, INERROR), unknown=(UNKNOWN,))

    def info(self, connection: Any) -> Any:
        """The library's ``ConnectionInfo``."""
        raise NotImplementedError

    def database(self, identity: Any) -> Database:
        """From ``info``; empty for a closed connection."""
        if self.is_closed(identity):
            return Database()
        info = self.info(identity)
        host, port = info.host or "", info.port
        if host.startswith("/"):
            return Database(info.dbname, f"{host}/.s.PGSQL.{port}")
        return Database(info.dbname, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")

    def commits(self, connection: Any) -> Outcome:
        """COMMIT rolls back a failed transaction."""
        return "rolled back" if self.status_of(connection) == INERROR else "committed"

    def is_servers(self, error: BaseException) -> bool:
        """Whether the server raised an error, not the library."""
        return is_a(error, sys.modules[self.target].Error) and peek(error, self.code) is not None

    def text(self, cursor: Any, statement: Any) -> Any:
        """Also renders objects of the library's module ``sql``."""
        sql = sys.modules.get(f"{self.target}.sql")
        if sql is not None and any(type(statement) is kind for kind in _kinds(sql)):
            return self._part(sql, statement)
        return plain(statement)

    def _part(self, sql: Any, part: Any) -> str:
        """The text of a part of a composed statement. Literals aren't rendered: that would run the program's code, on
        its data."""
        kind, made_of = type(part), peek(part, self.wrapped)
        if kind is sql.Composed:
            return "".join(self._part(sql, each) for each in made_of)
        if kind is sql.SQL:
            return shown(made_of)
        if kind is sql.Identifier:
            return ".".join(map(quoted, made_of))
        if kind is sql.Placeholder:
            name, code = shown(made_of), getattr(peek(part, "_format"), "value", "s")  # psycopg 3: how it is sent
            return f"%({name}){code}" if name else f"%{code}"
        return "?"  # a literal, or a class of the program's


def _kinds(sql: Any) -> tuple[type, ...]:
    return sql.Composed, sql.SQL, sql.Identifier, sql.Placeholder, sql.Literal


def quoted(name: Any) -> str:
    """A quoted identifier."""
    return '"' + shown(name).replace('"', '""') + '"'
