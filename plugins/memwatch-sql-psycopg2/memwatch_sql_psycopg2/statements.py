"""What methods of psycopg2's cursors run, by their arguments: each function takes those and returns the statement, and
perhaps its parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def _executemany(query: Any, vars_list: Any = None, vars: Any = None) -> tuple[Any, ...]:
    return query, vars_list if vars is None else vars


def _callproc(procname: Any, parameters: Any = None, vars: Any = None) -> tuple[Any, ...]:
    given = parameters if vars is None else vars
    marks = ", ".join(["%s"] * len(given)) if isinstance(given, list | tuple | dict) else ""
    return f"SELECT * FROM {procname}({marks})", given


def _copy_from(
    file: Any, table: str, sep: Any = None, null: Any = None, size: Any = None, columns: Any = None
) -> tuple[Any, ...]:
    return (f"COPY {_table(table, columns)} FROM STDIN",)


def _copy_to(file: Any, table: str, sep: Any = None, null: Any = None, columns: Any = None) -> tuple[Any, ...]:
    return (f"COPY {_table(table, columns)} TO STDOUT",)


STATEMENTS: dict[str, Callable[..., tuple[Any, ...]]] = {
    "executemany": _executemany,
    "callproc": _callproc,
    "copy_from": _copy_from,
    "copy_to": _copy_to,
    "copy_expert": lambda sql, file, size=None: (sql,),
    "start_replication_expert": lambda command, *args, **kwargs: (command,),
}


def _table(table: str, columns: Any) -> str:
    listed = ", ".join(map(_quoted, columns)) if isinstance(columns, list | tuple) else ""
    return f"{_quoted(table)} ({listed})" if listed else _quoted(table)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def composed(statement: Any) -> Any:
    """The text of a :class:`psycopg2.sql.Composable`, its literals left out; anything else as it is."""
    from psycopg2 import sql

    if isinstance(statement, sql.Composed):
        return "".join(map(composed, statement.seq))
    if isinstance(statement, sql.SQL):
        return statement.string
    if isinstance(statement, sql.Identifier):
        return ".".join(map(_quoted, statement.strings))
    if isinstance(statement, sql.Placeholder):
        return statement.as_string(None)  # type: ignore[arg-type]
    return "?" if isinstance(statement, sql.Composable) else statement
