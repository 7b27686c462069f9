"""What drivers of PostgreSQL have in common whose library is built on libpq: psycopg 3 and psycopg2."""

from __future__ import annotations

import sys
from typing import Any, ClassVar

from memwatch_core.records import Database

from .dbapi import DbapiDriverBase, Status
from .driver import Outcome
from .plain import is_a, peek, plain, shown

IDLE, ACTIVE, INTRANS, INERROR, UNKNOWN = range(5)  # PGTransactionStatusType


class LibpqDriverBase(DbapiDriverBase):
    """``status`` says where libpq's status of the transaction is kept: :meth:`of_libpq` makes it."""

    dialect = "postgresql"
    wrapped: ClassVar[str]
    """The attribute in which the parts of a composed statement keep what they are made of."""
    code: ClassVar[str]
    """The attribute in which an error keeps the code that the server has given; None: it is of the library's own."""

    @staticmethod
    def of_libpq(*at: str) -> Status:
        """The status that libpq has of a connection, at these attributes."""
        return Status(at, open=(INTRANS, INERROR), unknown=(UNKNOWN,))

    def info(self, connection: Any) -> Any:
        """The library's ``ConnectionInfo``."""
        raise NotImplementedError

    def database(self, identity: Any) -> Database:
        """By ``info``; of a connection that is closed, nothing."""
        if self.is_closed(identity):
            return Database()
        info = self.info(identity)
        host, port = info.host or "", info.port
        if host.startswith("/"):
            return Database(info.dbname, f"{host}/.s.PGSQL.{port}")
        return Database(info.dbname, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")

    def commits(self, connection: Any) -> Outcome:
        """A transaction that has failed is rolled back by COMMIT."""
        return "rolled back" if self.status_of(connection) == INERROR else "committed"

    def is_servers(self, error: BaseException) -> bool:
        """Whether the server has raised an error, and not the library."""
        return is_a(error, sys.modules[self.target].Error) and peek(error, self.code) is not None

    def text(self, cursor: Any, statement: Any) -> Any:
        """Of what the library's module ``sql`` composes, too."""
        sql = sys.modules.get(f"{self.target}.sql")
        if sql is not None and any(type(statement) is kind for kind in _kinds(sql)):
            return self._part(sql, statement)
        return plain(statement)

    def _part(self, sql: Any, part: Any) -> str:
        """A part of a composed statement. Literals aren't adapted: that is the program's code, and its data."""
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
        return "?"  # a literal, or the program's own


def _kinds(sql: Any) -> tuple[type, ...]:
    return sql.Composed, sql.SQL, sql.Identifier, sql.Placeholder, sql.Literal


def quoted(name: Any) -> str:
    """An identifier, in quotation marks."""
    return '"' + shown(name).replace('"', '""') + '"'
