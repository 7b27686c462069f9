"""The plugin while it is on: follows pytest from test to test, and tells at the end what was found."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from memwatch_core.errors import ConfigError, MemWatchError, SessionError

from .asked import MemWatch
from .guards import Guard
from .run import Run
from .targets import Aim, parse
from .told import Found, Where

MARK = "memwatch_unchanged"
FOLDER = ".memwatch"
_OF_CLASSIC = re.compile(r"_(?:xunit|unittest)_(\w+?)_fixture_")
"""Names that pytest gives to fixtures of its own, which call ``setup_module`` and its like."""


class Plugin:
    """Registered with pytest if it was asked for."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.targets: tuple[str, ...] = tuple(
            dict.fromkeys([*config.getoption("memwatch_unchanged"), *config.getini("memwatch_unchanged")])
        )
        self.aims: dict[str, Aim] = {}
        """By target."""
        depth = config.getini("memwatch_depth")
        if not str(depth).isdecimal() or not 0 < int(depth) <= 100:
            raise pytest.UsageError(f"memwatch_depth = {depth}: must be a number of levels, from 1 to 100")
        self.depth = int(depth)
        try:
            for target in self.targets:
                self.aims[target] = Aim(target)
        except ConfigError as error:
            raise pytest.UsageError(f"--memwatch-unchanged: {error}") from None
        self.run: Run | None = None
        self.asked: MemWatch | None = None
        self.found: list[Found] = []
        """Of all workers; here, or of this worker alone, there."""
        self.folders: list[str] = []
        self.notes: list[str] = []
        self._said: list[dict[str, Any]] = []
        """What the next report of a phase takes with it."""
        self._outer = Where()
        """What pytest was at before a fixture was torn down."""
        self._left: list[Found] = []
        """What fixtures of wider scopes have left changed, in the teardown of the current test."""

    # ---- the session -------------------------------------------------------------------------------------------------

    def start(self) -> Run:
        """The session, opened at the first request. Raises MemWatchError."""
        if self.run is None:
            self.run = Run(self.config.rootpath / FOLDER, self.config.rootpath, self.depth)
        return self.run

    def _take(self, marked: Sequence[str] = ()) -> list[Guard]:
        """The guards of the run's targets and a test's own, as far as their modules are imported."""
        run, found = self.start(), []
        for target in (*self.targets, *marked):
            aim = self.aims.get(target) or self.aims.setdefault(target, Aim(target))
            found += aim.take(run)
        return found

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self) -> Generator[None, object, object]:
        """After all fixtures are gone, and before a worker reports to its controller: closes the session."""
        result = yield
        run, late = self.run, []
        if run is not None:
            last = Where(run.where.nodeid, "after")
            late = run.check(self._take(), last)
            self.found += late
            keep = bool(self.found) or self.config.getoption("memwatch_keep")
            run.close(keep=keep)
            if keep:
                self.folders.append(self._relative(run.recording.folder))
            if run.lost:
                self.notes.append(f"{run.lost:,} writes weren't recorded")
            self.notes += filter(None, (self.aims[target].doubt() for target in self.targets))
        output = getattr(self.config, "workeroutput", None)
        if output is not None and run is not None:
            told = [one.plain() for one in late]
            output["memwatch"] = {"folders": self.folders, "notes": self.notes, "found": told}
        return result

    def _relative(self, path: Path) -> str:
        root = self.config.rootpath
        return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """A worker of xdist has ended."""
        told = getattr(node, "workeroutput", {}).get("memwatch")
        if told:
            self.found += [Found(**one) for one in told["found"]]
            self.folders += told["folders"]
            self.notes += [note for note in told["notes"] if note not in self.notes]

    # ---- tests -------------------------------------------------------------------------------------------------------

    def _marked(self, item: pytest.Item) -> tuple[str, ...]:
        return tuple(target for mark in item.iter_markers(MARK) for target in mark.args)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, object, object]:
        """Sees what was changed between tests; takes the test's own targets."""
        marked = self._marked(item)
        self._left = []
        if self.targets or marked or self.run is not None:
            try:
                for target in marked:
                    parse(target)
            except ConfigError as error:
                pytest.fail(f"@pytest.mark.{MARK}: {error}", pytrace=False)
            try:
                run = self.start()
            except MemWatchError as error:
                hint = "; or leave out --memwatch" if isinstance(error, SessionError) else ""
                if hasattr(self.config, "workerinput"):  # a worker of xdist must not end by itself
                    pytest.fail(f"memwatch: {error}{hint}", pytrace=False)
                pytest.exit(f"memwatch: {error}{hint}", returncode=pytest.ExitCode.USAGE_ERROR)
            self._say(run.begins(_at(item, "setup")))
            self._take(marked)
        return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Ends what the test has asserted of its own time."""
        self._enter(item, "call")
        result = yield
        if self.asked is not None:
            self.asked.finish()
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        """After all that is torn down with the test: compares."""
        self._enter(item, "teardown")
        try:
            result = yield
        except BaseException:
            self._ends(item)
            raise
        if found := self._ends(item):
            pytest.fail("\n".join(line for one in found for line in one.lines()), pytrace=False)
        return result

    def _enter(self, item: pytest.Item, when: str) -> None:
        if self.run is not None:
            self._take(self._marked(item))
            self.run.switch(_at(item, when))

    def _ends(self, item: pytest.Item) -> list[Found]:
        run = self.run
        if run is None:
            return []
        guards = self._take(self._marked(item))
        found = self._left + run.check(guards, _at(item, "teardown"))
        self._left = []
        run.switch(Where(item.nodeid, "after"))
        for one in found:
            item.user_properties.append(("memwatch", one.brief))
        self._say(found)
        return found

    def _say(self, found: list[Found]) -> None:
        self._said += [one.plain() for one in found]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Gives what was found to the report, which goes to wherever reports go."""
        report = yield
        if self._said:
            report.memwatch, self._said = self._said, []  # type: ignore[attr-defined]
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collects it: of all workers, where they report to."""
        self.found += [Found(**one) for one in getattr(report, "memwatch", ())]

    # ---- fixtures ----------------------------------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Generator[None, object, object]:
        """Tells what fixtures write from what tests do."""
        run = self.run
        if run is None:
            return (yield)
        where = _at_fixture(fixturedef, run.where)
        entered = run.within(where) if where.scope == "function" else run.setting_up(fixturedef, where)
        with entered:
            try:
                return (yield)
            finally:
                fixturedef.addfinalizer(partial(self._tears_down, fixturedef, where))

    def _tears_down(self, fixturedef: pytest.FixtureDef[Any], where: Where) -> None:
        """Called first of all that the fixture's end calls."""
        if self.run is not None:
            now = self.run.where
            self._outer = now if not now.fixture else self._outer
            self.run.switch(replace(where, nodeid=now.nodeid, when="teardown"))

    def pytest_fixture_post_finalizer(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        """A fixture is gone, or wasn't there."""
        run = self.run
        if run is not None and fixturedef.cached_result is not None:
            self._left += run.torn_down(fixturedef)
            run.switch(self._outer if run.where.fixture else run.where)

    @contextmanager
    def given(self, request: pytest.FixtureRequest) -> Iterator[MemWatch]:
        """The fixture ``memwatch``."""
        try:
            first = self.run is None
            run = self.start()
        except MemWatchError as error:
            pytest.fail(f"memwatch: {error}", pytrace=False)
        if first:
            run.begins(_at(request.node, "setup"))
        self.asked = MemWatch(run)
        try:
            yield self.asked
        finally:
            asked, self.asked = self.asked, None
            asked.close()

    # ---- the report --------------------------------------------------------------------------------------------------

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """The section at the end."""
        if not (self.found or self.notes or self.folders):
            return
        terminalreporter.section("memwatch")
        for one in self.found:
            head, *rest = one.lines()
            terminalreporter.line(head, bold=True)
            for line in rest:
                terminalreporter.line(line)
        for note in self.notes:
            terminalreporter.line(note)
        for folder in self.folders:
            terminalreporter.line(f"every write: memwatch log {folder}")


def _at(item: pytest.Item, when: str) -> Where:
    return Where(item.nodeid, when, file=str(item.path))


def _at_fixture(fixturedef: pytest.FixtureDef[Any], now: Where) -> Where:
    classic = _OF_CLASSIC.match(fixturedef.argname)
    name = f"{classic[1]}()" if classic else f"fixture {fixturedef.argname}"
    code = getattr(fixturedef.func, "__code__", None)
    file = now.file if classic or code is None else code.co_filename
    return Where(now.nodeid, "setup", name, str(fixturedef.scope), file)
