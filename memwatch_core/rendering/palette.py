"""The roles of pieces of text, and their colours. Colours are defined only here.

They are the eight that every terminal has, so that the user's own theme applies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

Role = Literal[
    "time", "variable", "old", "new", "same", "site", "function", "thread", "sql", "undone", "life", "lost", "notice",
    "heading", "setting", "ok", "note", "warning", "problem",
    "author1", "author2", "author3", "author4", "author5", "author6",
]  # fmt: skip
"""The role of a piece of text, which determines its colour."""

STYLES: Mapping[Role, str] = {
    "time": "dim",
    "variable": "bold cyan",
    "old": "red",
    "new": "bold green",
    "same": "dim",
    "site": "yellow",
    "thread": "magenta",
    "sql": "blue",
    "undone": "bold red",
    "life": "dim",
    "lost": "bold white on-red",
    "notice": "dim italic",
    "heading": "bold",
    "setting": "cyan",
    "ok": "green",
    "warning": "yellow",
    "problem": "red",
    "author1": "bold green",
    "author2": "bold magenta",
    "author3": "bold yellow",
    "author4": "bold cyan",
    "author5": "bold red",
    "author6": "bold blue",
}
"""Other roles look like plain text."""

AUTHORS: Sequence[Role] = ("author1", "author2", "author3", "author4", "author5", "author6")
"""Of several authors, each has one; the seventh has the first one's again."""

_CODES = {
    "bold": 1, "dim": 2, "italic": 3,
    "red": 31, "green": 32, "yellow": 33, "blue": 34, "magenta": 35, "cyan": 36, "white": 37, "on-red": 41,
}  # fmt: skip
"""Codes of ECMA-48, "select graphic rendition"."""


def _beginning(style: str) -> str:
    return f"\x1b[{';'.join(str(_CODES[word]) for word in style.split())}m" if style else ""


_BEGINNINGS: Mapping[Role, str] = {role: _beginning(STYLES.get(role, "")) for role in get_args(Role)}


def plain(role: Role, text: str) -> str:
    """The text unchanged: for pipes, files, and users who want no colours."""
    return text


def paint(role: Role, text: str) -> str:
    """The text in the colour of its role. The caller decides whether colours are wanted."""
    beginning = _BEGINNINGS[role]
    return f"{beginning}{text}\x1b[0m" if beginning and text else text
