"""What methods of psycopg2's cursors run, by their arguments: each function takes those and returns the statement, and
perhaps its parameters."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from memwatch_plugins.sql.plain import shown


def _executemany(query: Any, vars_list: Any = None, vars: Any = None) -> tuple[Any, ...]:
    return query, vars_list if vars is None else vars


def _callproc(procname: Any, parameters: Any = None, vars: Any = None) -> tuple[Any, ...]:
    given = parameters if vars is None else vars
    kind = type(given)
    marks = ", ".join(["%s"] * len(given)) if kind is list or kind is tuple or kind is dict else ""
    return f"SELECT * FROM {shown(procname)}({marks})", given


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
    listed = ", ".join(map(_quoted, columns)) if type(columns) is list or type(columns) is tuple else ""
    return f"{_quoted(table)} ({listed})" if listed else _quoted(table)


def _quoted(name: Any) -> str:
    return '"' + shown(name).replace('"', '""') + '"'


def composed(statement: Any) -> Any:
    """The text of a :class:`psycopg2.sql.Composable`, its literals left out; anything else as it is."""
    sql = sys.modules.get("psycopg2.sql")
    if sql is None:
        return statement
    kinds = (sql.Composed, sql.SQL, sql.Identifier, sql.Placeholder, sql.Literal)
    return _part(sql, statement) if any(type(statement) is kind for kind in kinds) else statement


def _part(sql: Any, part: Any) -> str:
    kind = type(part)
    if kind is sql.Composed:
        return "".join(_part(sql, each) for each in part.seq)
    if kind is sql.SQL:
        return shown(part.string)
    if kind is sql.Identifier:
        return ".".join(map(_quoted, part.strings))
    if kind is sql.Placeholder:
        return f"%({shown(part.name)})s" if part.name is not None else "%s"
    return "?"  # a literal, or the program's own
