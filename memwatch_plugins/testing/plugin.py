"""What the three contracts share: the plugin under test, its record, and what it declares."""

from __future__ import annotations

import inspect
from collections.abc import Collection
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, ClassVar

import pluggy
import pytest

from memwatch_core import config as configuration
from memwatch_core import hookspecs
from memwatch_core.errors import MemWatchError
from memwatch_core.loading.discovery import OFFERS, load


def shown(value: object) -> str:
    """A value's text for a message, whatever its ``repr()`` does."""
    try:
        text = repr(value)
    except Exception as error:
        return f"a {type(value).__name__} that has no repr() ({type(error).__name__})"
    return text if len(text) <= 300 else f"{text[:300]}…"


def module_of(plugin: object) -> str:
    """The module that a plugin is, or that defines it."""
    return plugin.__name__ if inspect.ismodule(plugin) else type(plugin).__module__


class PluginContract:
    """Base of the contracts. A subclass sets ``plugin`` and ``name``; each test has ``self.folder`` for its files."""

    plugin: ClassVar[Any]
    """The module or object that the entry point names."""
    name: ClassVar[str]
    """Name of the record under test, as in configuration files."""
    capabilities: ClassVar[Collection[str]] = frozenset()
    """The plugin's capabilities, out of :attr:`known`. Tests of others are skipped."""

    kind: ClassVar[str]
    known: ClassVar[dict[str, str]] = {}
    """Capability -> its meaning."""

    folder: Path
    """An empty folder for this test; it is the working folder."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        unknown = sorted(set(cls.capabilities) - set(cls.known))
        if unknown:
            raise TypeError(
                f"{cls.__name__}.capabilities: {', '.join(unknown)} isn't known; there are {', '.join(cls.known)}"
            )

    @pytest.fixture(autouse=True)
    def _in_a_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = tmp_path
        monkeypatch.chdir(tmp_path)

    @property
    def record(self) -> Any:
        """The plugin's record, from its hook."""
        return next(record for record in self._offered() if record.name == self.name)

    def needs(self, capability: str) -> None:
        """Skips the test unless the plugin declares the capability."""
        if capability not in self.capabilities:
            meaning = self.known[capability]
            pytest.skip(f"{type(self).__name__}.capabilities doesn't have {capability!r}: {meaning}")

    def _offered(self) -> list[Any]:
        hook = f"memwatch_{self.kind}"
        manager = pluggy.PluginManager("memwatch")
        manager.add_hookspecs(hookspecs)
        try:
            manager.register(self.plugin)
            manager.check_pending()
        except pluggy.PluginValidationError as error:
            pytest.fail(f"give the hook the signature that memwatch_core.hookspecs has: {error}")
        answers = getattr(manager.hook, hook)()
        assert answers, f"implement {hook}() in {self.plugin!r}, decorated with memwatch_core.hookspecs.hookimpl"
        offered = [record for answer in answers for record in answer]
        expected = " or ".join(each.__name__ for each in OFFERS[self.kind])
        for record in offered:
            assert isinstance(record, OFFERS[self.kind]), f"yield {expected} records from {hook}(), not {record!r}"
        names = [record.name for record in offered]
        assert names.count(self.name) == 1, f"{hook}() must offer {self.name!r} once; it offers {names}"
        return offered

    # ---- tests of every kind of plugin ------------------------------------------------------------------------------

    def test_plugin_offers_the_same_each_time(self) -> None:
        first, second = self._offered(), self._offered()
        assert [r.name for r in first] == [r.name for r in second], "offer the same records whenever the hook is called"

    def test_list_of_plugins_can_show_it(self) -> None:
        record = self.record
        assert record.name.isascii(), f"make the name {record.name!r} ASCII: configuration files and journals have it"
        assert record.name.isprintable(), f"remove control characters from the name {record.name!r}"
        assert not any(c.isspace() for c in record.name), f"remove the spaces from the name {record.name!r}"
        assert record.summary.strip(), "give the record a summary: `memwatch plugins` shows it"
        assert record.summary.isprintable(), f"make the summary a single line: {record.summary!r}"

    def test_configuration_that_names_the_plugin_gets_it(self) -> None:
        group = hookspecs.GROUPS[self.kind]
        module = module_of(self.plugin)
        points = [point for point in entry_points(group=group) if point.value.partition(":")[0] == module]
        if not points:
            pytest.skip(f"no installed distribution has an entry point in {group} for {module}: pip install -e .")
        (self.folder / "memwatch.toml").write_text(f'[plugins]\n{self.kind} = ["{points[0].name}"]\n')
        try:
            loaded = load(configuration.load(self.folder / "memwatch.toml"), (self.kind,))
        except MemWatchError as error:
            pytest.fail(f"the entry point {points[0].name!r} of {group} can't be loaded: {error}")
        names = [record.name for record in (*getattr(loaded, self.kind), *loaded.formats)]
        assert self.name in names, f"entry point {points[0].name!r} gives {names or 'nothing'}, not {self.name!r}"
