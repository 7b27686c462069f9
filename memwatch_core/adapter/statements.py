"""SQL statements made fit to keep: literals replaced by ``?``, comments and extra whitespace gone.

What a statement says in its literals is the program's data, so the rule is: **when in doubt, mask**. Where a quote ends
depends on the dialect (``'C:\\'`` is complete in SQLite and goes on in MySQL), and a wrong guess would turn a literal
inside out. So each dialect is scanned by its own rules, and with an unknown one everything from the first ambiguity to
the end counts as one literal.

Text in double quotes is a name in PostgreSQL. Elsewhere it may be a string: it is kept only where a string can't stand
(next to a dot; in SQLite also after ``FROM``, ``INTO``, ``AS`` ..., and in the column list after a table's name).

All functions may be called from any thread and never raise, whatever they are given.
"""

from __future__ import annotations

import re
from typing import Any

from .names import type_name

LIMIT = 16_384
"""Characters of a statement that are looked at."""
MARK = " …"
"""Ends a statement that was cut."""

_STANDARD = r"'[^']*+(?:''[^']*+)*+(?:'|\Z)"
_ESCAPED = r"'(?:[^'\\]|\\.|'')*+(?:'|\\?\Z)"
_DOUBLE = r'"[^"]*+(?:""[^"]*+)*+(?:"|\Z)'
_DOUBLE_ESCAPED = r'"(?:[^"\\]|\\.|"")*+(?:"|\\?\Z)'
_DOLLAR = r"\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?(?:\$(?P=tag)\$|\Z)"
_NUMBER = r"(?:0[xX][0-9a-fA-F_]+|(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9]+)?)\w*"
_BLOCK = r"/\*.*?(?:\*/|\Z)"
_BACKTICK = r"`[^`]*+(?:``[^`]*+)*+(?:`|\Z)"
_BRACKET = r"\[[^\]]*+(?:\]|\Z)"
_PLACEHOLDER = r"\?[0-9]*|[:@][^\W\d]\w*|\$\w+"
_WORD = r"\w[\w$]*"
_CONTINUED = rf"(?:\s*\n\s*{_ESCAPED})*"


def _pattern(**kinds: str) -> re.Pattern[str]:
    kinds |= {"number": _NUMBER, "placeholder": _PLACEHOLDER, "word": _WORD, "other": "."}
    return re.compile("|".join(f"(?P<{kind}>{rule})" for kind, rule in kinds.items()), re.DOTALL)


_PATTERNS = {
    "sqlite": _pattern(
        space=rf"\s+|--[^\n]*|{_BLOCK}", string=rf"[xX]?{_STANDARD}", double=_DOUBLE, name=rf"{_BACKTICK}|{_BRACKET}"
    ),
    "postgresql": _pattern(
        space=r"\s+|--[^\n\r]*", nested=r"/\*", string=rf"[eE]{_ESCAPED}{_CONTINUED}|{_DOLLAR}",
        plain=rf"(?:[bBxXnN]|[uU]&)?{_STANDARD}", name=_DOUBLE,
    ),
    "mysql": _pattern(
        # An executable comment, /*!50000 ... */, is a part of the statement: only its brackets go.
        space=rf"\s+|--+(?=/\*|\*/|\#)|--+(?=[\s\0-\x1f]|\Z)[^\n]*|\#[^\n]*|/\*![0-9]*|\*/|{_BLOCK}",
        string=rf"[xXbBnN]?{_ESCAPED}",
        double=_DOUBLE_ESCAPED, name=_BACKTICK,
    ),
    "": _pattern(
        space=r"\s+", comment=rf"--[^\n]*|{_BLOCK}", doubtful=rf"\#|[qQ]'|{_BRACKET}|{_DOLLAR}|{_BACKTICK}",
        plain=rf"(?:[bBxXnNeE]|[uU]&)?{_STANDARD}", double=_DOUBLE,
    ),
}  # fmt: skip

_BEFORE_NAME = frozenset({
    "FROM", "JOIN", "INTO", "UPDATE", "TABLE", "VIEW", "INDEX", "TRIGGER", "EXISTS", "REFERENCES", "COLUMN",
    "CONSTRAINT", "SAVEPOINT", "RELEASE", "TO", "AS", "SET", "COLLATE", "WITH", "RECURSIVE",
})  # fmt: skip
_BEFORE_TABLE = frozenset(("INTO", "TABLE", "EXISTS", "REFERENCES"))
_AFTER_SET = frozenset(("WHERE", "FROM", "RETURNING", "ORDER", "LIMIT"))
_QUOTES = frozenset("'\"`")
_DOT_AND_NAME = re.compile(r'\s*\.\s*(?:[^\W\d]|["`\[])')
_NESTING = re.compile(r"/\*|\*/")


def normalise(statement: object, dialect: str = "") -> str:
    """The statement without literals and comments; ``""`` if nothing is left.

    ``dialect``: ``"sqlite"``, ``"postgresql"``, ``"mysql"``; anything else is scanned with the greatest caution. A
    statement longer than :data:`LIMIT` is cut, and ends in :data:`MARK`. Bytes are read as UTF-8; of any other object
    only the name of its type is kept, as ``<type>``. Idempotent for text. Cost: about 0.5 µs a token.
    """
    statement = _text(statement)
    text, cut = statement, len(statement) > LIMIT
    if cut:
        text = text[: LIMIT - len(MARK)]
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()
    tokens = _tokens(text, dialect if dialect in _PATTERNS else "")
    return "".join(tokens) + MARK if cut else "".join(tokens)


def _text(statement: Any) -> str:
    """Without calling anything of a class of the program's."""
    kind = type(statement)
    if issubclass(kind, str):
        return str.__str__(statement)
    for binary in (bytes, bytearray):
        if issubclass(kind, binary):
            part: bytes | bytearray = binary.__getitem__(statement, slice(LIMIT + 1))
            return part.decode("utf-8", "replace")
    return type_name(statement)


def _tokens(text: str, dialect: str) -> list[str]:  # noqa: C901 - one branch a kind of token
    scan = _PATTERNS[dialect].match
    found: list[str] = []
    names = _Names(dialect == "sqlite")
    space = False
    at = 0
    while match := scan(text, at):
        kind, token, at = match.lastgroup, match.group(), match.end()
        if kind == "space" or kind == "nested" or kind == "comment":
            if kind == "nested":
                at = _end_of_nested(text, at)
            elif kind == "comment" and _doubtful_comment(token):
                break
            space = True
            continue
        if space and found:
            found.append(" ")
        space = False
        if kind == "string" or kind == "number":
            token = "?"
        elif kind == "plain":
            if "\\'" in token:  # complete, or not: that depends on a setting of the server
                at = len(text)
            token = "?"
        elif kind == "double":
            if not dialect and '\\"' in token:
                at, token = len(text), "?"
            elif not names.allowed(text, at, token):
                token = "?"
        elif kind == "doubtful":
            if token[0] in "#qQ" or not _QUOTES.isdisjoint(token[1:-1] if token[0] == "`" else token):
                at, token = len(text), "?"
            elif token[0] == "$":
                token = "?"
            elif token[0] == "[":
                at, token = match.start() + 1, "["
        elif kind == "name" and not _complete_name(token):
            token = "?"
        found.append(token)
        names.follow(token, kind)
    else:
        return found
    found.append(" ?" if found else "?")
    return found


def _quoted(token: str) -> bool:
    return not _QUOTES.isdisjoint(token)


def _complete_name(token: str) -> bool:
    return len(token) > 1 and token[-1] in ']`"' and not (token[0] == "[" and _quoted(token))


def _doubtful_comment(token: str) -> bool:
    """Whether another dialect would end this comment elsewhere, or see none."""
    if token.startswith("--"):
        return len(token) > 2 and not token[2].isspace() and _quoted(token)
    return token.startswith("/*!") or "/*" in token[2:]


def _end_of_nested(text: str, at: int) -> int:
    depth = 1
    while depth and (bracket := _NESTING.search(text, at)):
        depth += 1 if bracket.group() == "/*" else -1
        at = bracket.end()
    return len(text) if depth else at


class _Names:
    """Knows, token by token, where text in double quotes can only be a name."""

    __slots__ = ("after", "before", "columns", "in_set", "sqlite", "table")

    def __init__(self, sqlite: bool) -> None:
        self.sqlite = sqlite
        self.before = self.after = ""  # the last token but one, the last token
        self.table = False  # the last tokens are a table's name
        self.columns = 0  # depth inside the list behind it
        self.in_set = 0  # 1 + depth inside SET ...

    def allowed(self, text: str, at: int, token: str) -> bool:
        if len(token) < 2 or token[-1] != '"':
            return False
        if self.after == "." or _DOT_AND_NAME.match(text, at):
            return True
        if not self.sqlite:
            return False
        if self.after in _BEFORE_NAME:
            return not (self.after == "FROM" and self.before == "DISTINCT")
        return (self.columns == 1 and self.after in ("(", ",")) or (self.in_set == 1 and self.after == ",")

    def follow(self, token: str, kind: str | None) -> None:
        word = token.upper() if kind == "word" else token
        if word == "(":
            if self.table:
                self.columns = 1
            elif self.columns:
                self.columns += 1
            self.in_set += bool(self.in_set)
        elif word == ")":
            self.columns -= bool(self.columns)
            self.in_set -= bool(self.in_set)
        elif word == "SET":
            self.in_set = 1
        elif word in _AFTER_SET and self.in_set == 1:
            self.in_set = 0
        named = kind in ("word", "double", "name") and token != "?"
        self.table = (self.after in _BEFORE_TABLE or self.after == ".") if named else word == "." and self.table
        self.before, self.after = self.after, word
