"""Every function of some modules of the standard library, called with a plain value and with a watched one.

``python tests/adapter/every_function.py`` writes the table in docs/proxies.md anew.
"""

from __future__ import annotations

import builtins
import datetime
import itertools
import json
import math
import operator
import struct
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from memwatch_core import watch
from memwatch_core.native import proxy

PAGE = Path(__file__).parents[2] / "docs/proxies.md"
VALUES: dict[str, Any] = {
    "int": 5,
    "float": 2.5,
    "bool": True,
    "bytes": b"ab",
    "bytearray": bytearray(b"ab"),
    "struct": (1, 2.5),
}
OPTIONS: dict[str, dict[str, Any]] = {"struct": {"format": "<qd"}}
OTHERS = (2, 1.5, "5s", b"x", bytearray(b"x"), [3, 1])
MODULES = (builtins, math, operator, itertools, struct, json, datetime)
LEFT_OUT = frozenset(
    {
        *("breakpoint", "compile", "copyright", "credits", "eval", "exec", "exit", "help", "input", "license", "open"),
        *("__build_class__", "__import__", "globals", "locals", "print", "quit", "dump", "load"),
        *("classmethod", "delattr", "dir", "getattr", "hasattr", "id", "is_", "is_not", "memoryview", "object"),
        *("aiter", "anext", "property", "setattr", "staticmethod", "super", "type", "vars"),
    }
)
"""What touches the program or the terminal, or asks what an object is rather than what it is worth."""
FORMATS: dict[str, Callable[[Any], Any]] = {
    "'%d' % x": lambda x: "%d" % x,  # noqa: UP031
    "'%s' % x": lambda x: "%s" % x,  # noqa: UP031
    "'%x' % x": lambda x: "%x" % x,  # noqa: UP031
    "'%c' % x": lambda x: "%c" % x,  # noqa: UP031
    "b'%s' % x": lambda x: b"%s" % x,
    "b'%d' % x": lambda x: b"%d" % x,
    "f'{x}'": lambda x: f"{x}",
    "f'{x:08.3f}'": lambda x: f"{x:08.3f}",
    "'ab'[x]": lambda x: "abcdefgh"[x],
    "'ab' * x": lambda x: "ab" * x,
    "''.join([x])": lambda x: "".join([x]),
    "b''.join([x])": lambda x: b"".join([x]),
    "b'q' + x": lambda x: b"q" + x,
    "b'q' < x": lambda x: b"q" < x,  # noqa: SIM300
    "bytearray(b'q') < x": lambda x: bytearray(b"q") < x,
    "bytearray(b'q') + x": lambda x: bytearray(b"q") + x,
    "x in b'ab'": lambda x: x in b"ab",
    "b'ab'.startswith(x)": lambda x: b"ab".startswith(x),
    "{x: 1}": lambda x: {x: 1},
    "[*x]": lambda x: [*x],
    "match x: case [a, *r]": lambda x: _matches(x),
    "match x: case int(a)": lambda x: _matches_int(x),
}


def _matches(x: Any) -> Any:
    match x:
        case [a, *rest]:
            return a, rest
    return None


def _matches_int(x: Any) -> Any:
    match x:
        case int(a):
            return a + 0
    return None


def functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Name and callable of each."""
    for module in MODULES:
        for name in sorted(vars(module)):
            function = getattr(module, name)
            if name.startswith("_") or name in LEFT_OUT or not callable(function):
                continue
            if isinstance(function, type) and issubclass(function, BaseException):
                continue
            yield name if module is builtins else f"{module.__name__}.{name}", function


def arguments(x: Any) -> Iterator[tuple[Any, ...]]:
    """Lists of up to three arguments with x among them."""
    yield (x,)
    yield x, x
    for other in OTHERS:
        yield x, other
        yield other, x
        yield other, other, x
        yield other, x, other


def outcome(function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[str, str]:
    """What a call came to: (``raises``, type) or (``gives``, value and type)."""
    try:
        return "gives", described(function(*args))
    except Exception as error:
        return "raises", type(error).__name__


def described(result: Any) -> str:
    """A result in words: a proxy is its value, an iterator is what it begins with."""
    if proxy.is_proxy(result):
        result = result.value
    if isinstance(result, list | tuple | set | dict):
        return f"{type(result).__name__} {[described(item) for item in result]}"
    if hasattr(result, "__next__"):
        return f"{type(result).__name__} {[described(item) for item in itertools.islice(result, 5)]}"
    if callable(result):
        return type(result).__name__
    return type(result).__name__ if " at 0x" in repr(result) else repr(result)


def copied(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments, those that a function could change as copies."""
    return tuple(type(arg)(arg) if type(arg) in (bytearray, list) else arg for arg in args)


def difference(function: Callable[..., Any], with_plain: tuple[Any, ...], with_watched: tuple[Any, ...]) -> Any:
    """(plain, watched) in a few words if they differ; None if they don't."""
    expected, got = outcome(function, copied(with_plain)), outcome(function, copied(with_watched))
    if got == expected:
        return None
    if expected[0] == got[0] == "gives":
        return expected[1], got[1]
    return tuple("works" if how == "gives" else what for how, what in (expected, got))


def differences() -> dict[tuple[str, str, str], list[str]]:
    """(function, plain, watched) → kinds of values."""
    found: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for kind, plain in VALUES.items():
        watched: Any = watch(plain, name=kind, **OPTIONS.get(kind, {}))
        for name, function in [*functions(), *FORMATS.items()]:
            seen = set()
            for with_plain, with_watched in zip(arguments(plain), arguments(watched), strict=True):
                watched.value = plain
                if name not in FORMATS or len(with_plain) == 1:
                    seen.add(difference(function, with_plain, with_watched))
            for one in seen - {None}:
                found[(name, *one)].append(kind)
    return found


def table() -> str:
    """As in docs/proxies.md."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = differences()
    rows = ["| | plain | watched | kinds |", "| --- | --- | --- | --- |"]
    for (name, plain, watched), kinds in sorted(found.items()):
        rows.append(f"| `{name}` | {plain} | {watched} | {', '.join(kinds)} |")
    return "\n".join(rows) + "\n"


BEGIN, END = "<!-- table: every_function.py -->\n", "<!-- end of the table -->\n"


def documented() -> str:
    """The table that stands in docs/proxies.md."""
    return PAGE.read_text().split(BEGIN)[1].split(END)[0]


if __name__ == "__main__":
    before, rest = PAGE.read_text().split(BEGIN)
    PAGE.write_text(before + BEGIN + table() + END + rest.split(END)[1])
