"""Which variable, and which part of it, a user's words mean: ``total``, ``total#57``, ``order.customer.age``,
``grid[3]``, ``len(buffer)``, ``orders:add_order()#3.total``.

Behind the name of a function, a number says which call, and behind an attribute of a class, which instance. Only where
several functions of a process have one name, it says which of them; then ``orders:add_order()#57#3`` has both.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from fnmatch import translate

from ..config import suggest
from ..errors import SessionError
from ..printed import clean
from ..records import Site
from .calls import NUMBER
from .placed import OPENERS, covers
from .states import Key, Value

_NUMBER = re.compile(r"#(\d{1,10})(?=$|[.\[{)#])")
_TARGET = ":"
"""In the names of functions, and of what was named by a target."""
_BOTH = re.compile(r"#(\d{1,10})(#.+)")
"""Of a function, and of a call."""
_LENGTH = re.compile(r"len\((.+)\)")
_WILD = re.compile(r"[*?…]")
"""Where a long name was shortened, there is a ``…``."""
SEEN = 1000
"""Limit of names that are remembered, to suggest one."""
SHOWN = 4


class _Words:
    """What a user asks for. It remembers names that don't fit, to suggest one."""

    def __init__(self) -> None:
        self._seen: dict[str, None] = {}
        self._sifted: set[str] = set()

    def fits(self, name: str, ident: int) -> bool:
        """Whether a variable may be meant."""
        raise NotImplementedError

    def asks(self, name: str, ident: int, path: str) -> bool:
        """Whether a name in one call of a function, ``#3.total``, is meant."""
        raise NotImplementedError

    def may_be(self, name: str, ident: int) -> bool:
        """The same, and remembers its name: ask in the order in which variables are told."""
        found = self.fits(name, ident)
        if not found and len(self._seen) < SEEN:
            self._seen[self._named(name)] = None
        return found

    def sift(self, name: str, ident: int) -> bool:
        """The same, of variables in any order."""
        found = self.fits(name, ident)
        if not found and len(self._sifted) < SEEN:
            self._sifted.add(self._named(name))
        return found

    def _named(self, name: str) -> str:
        """A name as it is suggested."""
        return name

    def _names(self) -> list[str]:
        return [*self._seen, *sorted(self._sifted - self._seen.keys())]


class Asked(_Words):
    """A variable, or a part of one, that a user asks for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text = text.strip()
        number = _NUMBER.search(text)
        self.number = int(number[1]) if number else None
        """As in ``total#57``: the variable's number in its journal."""
        plain = text[: number.start()] + text[number.end() :] if number else text
        length = _LENGTH.fullmatch(plain)
        self._plain = length[1] if length else plain
        self._suffix = "len()" if length else ""
        self._by_number: set[Key] = set()
        """Variables of which the number is meant, and not a call."""

    def fits(self, name: str, ident: int) -> bool:
        """Whether a variable is, or has the part, that was asked for."""
        return any(True for _ in (*self._fits(name, ident), *self._in_call(name, ident)))

    def asks(self, name: str, ident: int, path: str) -> bool:
        """See :meth:`_Words.asks`."""
        return self.number is not None and any(
            path.startswith(each) and covers(each)(path) for each in self._in_call(name, ident)
        )

    def _in_call(self, name: str, ident: int) -> Iterable[str]:
        """What stands behind the name of a function, or of an attribute of all instances, from the number on."""
        text = self.text
        if self.number is None or _TARGET not in name:
            return
        name = _as_written(name, text)
        if text.startswith(f"{name}{NUMBER}"):
            yield text[len(name) :]
        if self.number == ident and self._plain.startswith(f"{name}{NUMBER}"):
            yield self._plain[len(name) :]

    def _parts(self, value: Value, alike: Collection[tuple[str, str]]) -> Iterable[str]:
        """Those that the words mean of a variable; ``alike``: journal and name of several functions."""
        parts, numbered = [*self._fits(value.name, value.ident)], [*self._in_call(value.name, value.ident)]
        key = value.journal, value.ident
        if value.is_numbered and numbered and key not in self._by_number:
            if not parts or (value.journal, value.name) not in alike:
                return numbered
            self._by_number.add(key)
        return parts

    def _fits(self, name: str, ident: int) -> Iterable[str]:
        """Parts of a variable that the words may mean."""
        name = _as_written(name, self.text)
        if name == self.text:
            yield ""
        elif self.number is None or self.number == ident:
            if self._plain == name:
                yield self._suffix
            elif self._plain.startswith(name) and self._plain[len(name) : len(name) + 1] in OPENERS and name:
                yield self._plain[len(name) :] + self._suffix

    def found(self, values: Iterable[Value]) -> list[tuple[Value, str]]:
        """The variables that are meant, each with the part of it: one of each process. Raises SessionError."""
        values = [*values]
        names = Counter((value.journal, value.name) for value in values if value.is_numbered)
        alike = {name for name, count in names.items() if count > 1}
        fitting = [(value, part) for value in values for part in self._parts(value, alike)]
        if not fitting:
            raise SessionError(f"{self.text!r}: no variable has this name{self._hint()}")
        least = min(len(part) for _, part in fitting)  # "a.b" is rather the variable a.b than a part of a
        fitting = [(value, part) for value, part in fitting if len(part) == least]
        by_journal: dict[str, list[Value]] = {}
        for value, _ in fitting:
            by_journal.setdefault(value.journal, []).append(value)
        for several in by_journal.values():
            if len(several) > 1:
                part = fitting[0][1]
                listed = ", ".join(_numbered(value, part) for value in several[:SHOWN])
                more = f" and {len(several) - SHOWN:,} more" if len(several) > SHOWN else ""
                raise SessionError(
                    f"{self.text!r}: {len(several):,} variables have this name; say which: {listed}{more}"
                )
        return fitting

    def _hint(self) -> str:
        names = self._names()
        name = re.split(r"[.\[{]", self._plain, maxsplit=1)[0]
        if hint := suggest(self.text, names) or suggest(name, names):
            return hint
        listed = f"{', '.join(names[:8])}{', …' if names[8:] else ''}"
        return f"; there {'is' if len(names) == 1 else 'are'} {listed}" if names else "; nothing was watched"


class Pattern(_Words):
    """Several variables, or places of them: ``tot*``, ``order.*.age``. A star stands for anything."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text, shortened = text.strip(), "…" in text
        text = self.text.replace("…", "*")
        self._has_parts = shortened
        number = _NUMBER.search(text) if shortened else None
        self._number = int(number[1]) if number else None
        text = text[: number.start()] + text[number.end() :] if number else text
        ends = [at for at, character in enumerate(text) if character in OPENERS and at]
        self._heads = [(matcher(text), ""), *((matcher(text[:at]), text[at:]) for at in ends)]
        whole = self.text.replace("…", "*")
        self._calls = [
            (matcher(whole[: at.start()]), whole[at.start() :]) for at in re.finditer(NUMBER, whole) if at.start()
        ]

    def fits(self, name: str, ident: int) -> bool:
        """Whether a variable may be meant."""
        name = clean(name)
        return any(True for _ in self._in_call(name, ident)) or (
            self._number in (None, ident) and any(match(name) for match, _ in self._heads)
        )

    def asks(self, name: str, ident: int, path: str) -> bool:
        """See :meth:`_Words.asks`."""
        return any(covers(each)(path) for each in self._in_call(clean(name), ident))

    def _in_call(self, name: str, ident: int) -> Iterator[str]:
        """See :meth:`Asked._in_call`."""
        for match, rest in self._calls if _TARGET in name else ():
            if match(name):
                yield rest
                yield from (both[2] for both in (_BOTH.fullmatch(rest),) if both is not None and int(both[1]) == ident)

    def _named(self, name: str) -> str:
        return clean(name)

    def found(self, values: Iterable[Value]) -> list[tuple[Value, str]]:
        """As :meth:`Asked.found`, all of them; a part may be a pattern."""
        fitting = []
        for value in values:
            name = clean(value.name)
            if value.is_numbered and (parts := [*self._in_call(name, value.ident)]):
                fitting.append((value, parts[-1]))
                continue
            rests = [rest for match, rest in self._heads if match(name) and self._number in (None, value.ident)]
            if rests and (not rests[0] or value.placed is not None or self._has_parts):
                fitting.append((value, rests[0]))
        if not fitting:
            names = self._names()
            listed = f"; there are {', '.join(names[:8])}{', …' if names[8:] else ''}" if names else ""
            raise SessionError(f"{self.text!r}: no variable's name is like this{listed}")
        return fitting


def _as_written(name: str, text: str) -> str:
    """A name, or as it is shown, if a user's words begin like that."""
    return name if name.isprintable() or text.startswith(name) else clean(name)


def matcher(pattern: str) -> Callable[[str], object]:
    """A function that matches names with a pattern; brackets stand for themselves."""
    return re.compile(translate(pattern.replace("[", "[[]"))).match


def asked(text: str) -> Asked | Pattern:
    """What a user's words ask for."""
    return Pattern(text) if _WILD.search(text) else Asked(text)


class Several:
    """Variables of which any may be meant; all of them if none is named."""

    def __init__(self, words: Sequence[Asked | Pattern]) -> None:
        self._words = words

    def fits(self, name: str, ident: int) -> bool:
        """See :meth:`Asked.fits`."""
        return not self._words or any(each.fits(name, ident) for each in self._words)

    def may_be(self, name: str, ident: int) -> bool:
        """See :meth:`Asked.may_be`."""
        return not self._words or sum([each.may_be(name, ident) for each in self._words]) > 0

    def asks(self, name: str, ident: int, path: str) -> bool:
        """See :meth:`_Words.asks`."""
        return any(each.asks(name, ident, path) for each in self._words)

    def sift(self, name: str, ident: int) -> bool:
        """See :meth:`Asked.sift`."""
        return not self._words or sum([each.sift(name, ident) for each in self._words]) > 0


def _numbered(value: Value, part: str) -> str:
    site: Site | None = value.watched_at
    where = f" ({site.file.rpartition('/')[2]}:{site.line})" if site is not None and site.file else ""
    return f"{value.name}#{value.ident}{'' if part == 'len()' else part}{where}"
