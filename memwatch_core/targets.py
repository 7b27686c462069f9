"""What a target's text says: ``orders:config["debug"]`` is a place in a module, named before the module is there.

``MODULE:PLACE``. MODULE is a module's name as ``import`` has it, or the stem of the file that is run; ``*`` and ``?``
stand for any characters. PLACE is a name of the module and what lies below it: attributes, keys and items. Without one,
all names of the module are meant. ``FUNCTION():NAME`` is a local variable.

Watched programs import this: it needs only the standard library.
"""

from __future__ import annotations

import functools
import re
from ast import literal_eval
from collections.abc import Iterable
from typing import Literal, NamedTuple

from .errors import ConfigError

_NAME = re.compile(r"[^\W\d]\w*")
_GLOB = re.compile(r"[\w*?]+")
_MODULES = re.compile(r"[\w.*?]*")
_KEYS = (str, int, float, bool, bytes, type(None))
_HELP = 'a target is MODULE:PLACE, such as orders:config, orders:config["debug"], orders:Order.total or orders:*'


class Step(NamedTuple):
    """From an object to what lies below it."""

    kind: Literal["name", "item"]
    """An attribute, or a key or index in brackets."""
    key: object

    @property
    def text(self) -> str:
        """As it is written behind what comes before: ``.total``, ``["debug"]``."""
        from json.encoder import encode_basestring

        if self.kind == "name":
            return f".{self.key}"
        return f"[{encode_basestring(self.key) if type(self.key) is str else repr(self.key)}]"


class Target(NamedTuple):
    """A place that is to be watched. ``text`` is what the user wrote."""

    text: str
    module: str
    """The module's name, or a pattern of names."""
    steps: tuple[Step, ...]
    """The first one is a name of the module. A name may be a pattern if it is the last one."""
    local: str | None = None
    """A local variable of the function that ``steps`` lead to."""

    @property
    def is_pattern(self) -> bool:
        """Whether its place stands for several."""
        return bool(self.steps) and self.steps[-1].kind == "name" and is_pattern(str(self.steps[-1].key))

    @property
    def place(self) -> str:
        """``config["debug"]``; empty for all names of the module."""
        return "".join(step.text for step in self.steps).removeprefix(".")


def is_pattern(text: str) -> bool:
    """Whether a text has characters that stand for others."""
    return "*" in text or "?" in text


def matches(pattern: str, name: str) -> bool:
    """Whether a pattern, with ``*`` and ``?``, is a name's; upper and lower case differ."""
    if not is_pattern(pattern):
        return pattern == name
    return _compiled(pattern).match(name) is not None


@functools.lru_cache(256)
def _compiled(pattern: str) -> re.Pattern[str]:
    from fnmatch import translate

    return re.compile(translate(pattern.replace("[", "[[]")))


def any_of(patterns: Iterable[str]) -> re.Pattern[str] | None:
    """What matches each name that one of the patterns is for; None without patterns. ``pkg.*`` isn't for ``pkg``."""
    each = [_compiled(pattern).pattern for pattern in patterns]
    return re.compile("|".join(each)) if each else None


def parse(text: str) -> Target:
    """The target that a text says. Raises ConfigError, which shows the place of the mistake."""
    return _Reader(text).read()


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def fail(self, why: str, remedy: str = _HELP, at: int | None = None) -> ConfigError:
        at = self.at if at is None else at
        start = max(0, at - 50)
        return ConfigError(
            f"not a target: {why}", f"  {self.text[start : start + 70]}", f"  {' ' * (at - start)}^", remedy
        )

    def take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.at)
        self.at = found.end() if found else self.at
        return found[0] if found else ""

    def is_next(self, word: str) -> bool:
        if self.text.startswith(word, self.at):
            self.at += len(word)
            return True
        return False

    def read(self) -> Target:
        if self.text != self.text.strip():
            raise self.fail("it begins or ends with a blank", "leave the blank out", self.first_blank())
        module = self.take(_MODULES)
        self.check_module(module)
        if self.at == len(self.text):
            return Target(self.text, module, ())
        if not self.is_next(":"):
            raise self.fail(f"{self.text[self.at]!r} can't stand in a module's name", self.remedy_for_module())
        if self.at == len(self.text):
            return Target(self.text, module, ())
        steps = [Step("name", self.name())]
        while self.at < len(self.text):
            if self.is_next("()"):
                return self.local(module, steps)
            self.check_last(steps)
            if self.is_next("."):
                steps.append(Step("name", self.name()))
            elif self.is_next("["):
                steps.append(Step("item", self.key()))
            else:
                raise self.fail(f"{self.text[self.at]!r} can't stand here", 'go on with .NAME, ["KEY"] or ():LOCAL')
        return Target(self.text, module, tuple(steps))

    def first_blank(self) -> int:
        return 0 if self.text != self.text.lstrip() else len(self.text) - 1

    def check_module(self, module: str) -> None:
        if not module:
            raise self.fail("no module is named", "put the module's name before the colon: orders:config")
        for part in module.split("."):
            if not part or (part[0].isdigit() and not is_pattern(part)):
                at = module.index("..") + 1 if ".." in module else 0 if module[0] in ".0123456789" else len(module)
                raise self.fail(f"{module!r} is no module's name", "write it as import does: pkg.orders:config", at)

    def remedy_for_module(self) -> str:
        if "/" in self.text or self.text.endswith(".py"):
            return "name the module as import does, not its file: pkg.orders:config for pkg/orders.py"
        return _HELP

    def check_last(self, steps: list[Step]) -> None:
        if is_pattern(str(steps[-1].key)) and steps[-1].kind == "name":
            raise self.fail("nothing can follow a name that has * or ?", "name what lies below it in full, or end here")

    def name(self) -> str:
        start = self.at
        name = self.take(_GLOB)
        if name and (is_pattern(name) or _NAME.fullmatch(name)):
            return name
        self.at = start
        found = repr(self.text[start]) if start < len(self.text) else "the end"
        raise self.fail(f"a name is expected, not {found}")

    def key(self) -> object:
        """What stands in brackets, as Python would read it."""
        start = self.at
        end = self.end_of_key()
        try:
            key: object = literal_eval(self.text[start:end])
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            word = self.text[start:end].strip()
            remedy = f'a key that is text has quotes: ["{word}"]' if _NAME.fullmatch(word) else "write it as a literal"
            raise self.fail("the key in brackets is no literal", remedy, start) from None
        if not isinstance(key, (*_KEYS, tuple)):
            raise self.fail(f"a {type(key).__name__} is no key", "write text, a number or a tuple", start)
        self.at = end + 1
        return key

    def end_of_key(self) -> int:
        quote, depth, escaped = "", 0, False
        for i in range(self.at, len(self.text)):
            letter = self.text[i]
            if quote:
                quote = "" if letter == quote and not escaped else quote
                escaped = letter == "\\" and not escaped
            elif letter in "\"'":
                quote = letter
            elif letter in "([":
                depth += 1
            elif letter in ")]":
                if letter == "]" and not depth:
                    return i
                depth -= 1
        raise self.fail("the bracket isn't closed", "write ] behind the key; quote the target in a shell", self.at - 1)

    def local(self, module: str, steps: list[Step]) -> Target:
        if not self.is_next(":"):
            raise self.fail("a local variable is expected behind ()", "write orders:add_order():total")
        for step in steps:
            if step.kind == "item" or is_pattern(str(step.key)):
                raise self.fail("a function is named in full, by names alone", "write orders:Order.add():total", 0)
        name = self.name()
        if self.at < len(self.text):
            raise self.fail("nothing can follow a local variable", "end here: its value is told where it is bound")
        return Target(self.text, module, tuple(steps), name)
