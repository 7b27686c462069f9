"""The outcome of loading plugins, which ``memwatch plugins`` and ``doctor`` print."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

State = Literal["loaded", "disabled", "missing", "broken", "target absent", "duplicate"]
"""``disabled``: installed, but not named in the configuration. ``target absent``: the library to trace isn't installed,
so there is nothing to do. ``duplicate``: two distributions offer the name; neither is loaded."""

NOUNS = {"serializers": "serializer", "sql": "SQL driver", "sinks": "sink", "bridges": "bridge"}
"""Kind of plugin -> the noun for one of them."""


class PluginReport(NamedTuple):
    """One plugin: its identity, origin, state, and the reason for it."""

    kind: str
    name: str
    state: State
    reason: str = ""
    distribution: str = ""
    version: str = ""
    location: str = ""
    """The entry point's value, ``module`` or ``module:object``."""
    summary: str = ""

    def __str__(self) -> str:
        origin = f" ({self.distribution} {self.version})" if self.distribution else ""
        return f"{NOUNS.get(self.kind, self.kind)} {self.name!r}{origin}"


class LoadReport(NamedTuple):
    """Every plugin that is installed or configured."""

    plugins: tuple[PluginReport, ...]

    def of(self, kind: str, *states: State) -> list[PluginReport]:
        """The plugins of one kind, in one of the states if any are given."""
        return [plugin for plugin in self.plugins if plugin.kind == kind and (not states or plugin.state in states)]

    def find(self, kind: str, name: str) -> PluginReport | None:
        """The plugin of this kind and name; the first of duplicates."""
        return next((plugin for plugin in self.plugins if (plugin.kind, plugin.name) == (kind, name)), None)

    @property
    def problems(self) -> list[PluginReport]:
        """Configured plugins that can't be used."""
        return [plugin for plugin in self.plugins if plugin.state in ("missing", "broken", "duplicate")]


def listing(words: Iterable[str]) -> str:
    """``a, b and c``."""
    *first, last = [*words] or [""]
    return f"{', '.join(first)} and {last}" if first else last
