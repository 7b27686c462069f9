"""Which variables a filter's name may mean: several can have one name, and are told apart by their numbers."""

from __future__ import annotations

import re

from ..answers.calls import call_of, is_numbered
from ..records import Event, Site, Variable
from ..rendering.changes import LENGTH, named
from ..rendering.labels import numbered
from ..rendering.text import short_path

MOST = 1000
"""Limit of variables that are remembered."""
SHOWN = 4
"""Limit of variables that a sentence lists."""
_NUMBER = re.compile(r"#(\d{1,10})(?=$|[.\[)#])")
_CALL = re.compile(r"#(\d{1,10})(?=$|[.])")


class Called:
    """The variables that have the name in a filter's text, with a part behind it or not."""

    def __init__(self, text: str) -> None:
        number = _NUMBER.search(text)
        self.number = int(number[1]) if number else None
        """``total#3`` means variable 3; None: the text has no number."""
        self.plain = text[: number.start()] + text[number.end() :] if number else text
        """The text without it: ``total``, ``grid[5]`` for ``grid#3[5]``."""
        call = _CALL.search(self.plain) if number else None
        self.call = int(call[1]) if call else None
        """``orders:add()#57#3`` means the third call of variable 57."""
        self.name = self.plain[: call.start()] + self.plain[call.end() :] if call else self.plain
        """The text without both."""
        self._known: dict[str, dict[tuple[str, int], Site | None]] = {}
        self._count = 0

    def see(self, variable: Variable) -> None:
        """Notes a variable, if it has this name."""
        name = variable.name
        parts = (f"{name}.", f"{name}[")
        if self._count < MOST and (self.name in (name, named(name, LENGTH)) or self.name.startswith(parts)):
            self._known.setdefault(name, {})[variable.journal, variable.id] = variable.watched_at
            self._count += 1

    def means(self, event: Event) -> bool:
        """Whether an event is of the variable, or of the call of a function, or to the instance, that the number is."""
        if not is_numbered(event):
            return event.variable_id == self.number and self.call is None
        made, known = call_of(event), self._known.get(event.variable, ())
        if self.call is not None:
            return event.variable_id == self.number and made == self.call
        if len([1 for journal, _ in known if journal == event.journal]) > 1 and (event.journal, self.number) in known:
            return event.variable_id == self.number
        return made == self.number

    def several(self) -> str:
        """``2 variables have this name: total#3 (a.py:7), total#57 (a.py:19)``, if no number says which of a process's
        variables is meant; otherwise empty."""
        for name, known in self._known.items():
            if self.number is None and len(known) > len({journal for journal, _ in known}):
                return f"{len(known):,} variables have this name: {self._listed(name)}"
        return ""

    def others(self) -> str:
        """Those that have the name, and other numbers."""
        return "; ".join(map(self._listed, self._known)) if self.number is not None else ""

    def _listed(self, name: str) -> str:
        known = self._known[name]
        shown = [
            numbered(name, number) + (f" ({short_path(site.file)}:{site.line})" if site is not None else "")
            for (_, number), site in [*known.items()][:SHOWN]
        ]
        more = len(known) - SHOWN
        return ", ".join(shown) + (f" and {more:,} more" if more > 0 else "")
