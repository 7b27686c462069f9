"""Traces SQL drivers. Imported on demand: a program that doesn't trace SQL runs none of this."""

from __future__ import annotations

import atexit
from collections.abc import Iterable

from ..config import Config
from ..errors import MemWatchError
from ..loading.discovery import load
from ..native import proxy
from ..printed import say
from ..records import SqlDriver
from ..settings import SqlSection
from .contexts import SqlContexts


class Tracing:
    """A tracer and the drivers that publish to it. A driver that can't be installed is reported and left out."""

    def __init__(self, key: bytes, settings: SqlSection, drivers: Iterable[SqlDriver]) -> None:
        self._tracer = SqlContexts(None, key, window=settings.window, parameters=settings.parameters)
        self._drivers: list[SqlDriver] = []
        proxy.set_context_variable(self._tracer.variable)
        atexit.register(self._tracer.close)
        try:
            self._install(drivers)
        except BaseException:  # raised by a signal handler: install all drivers or none
            self.leave()
            raise

    def _install(self, drivers: Iterable[SqlDriver]) -> None:
        for driver in drivers:
            if driver.runtime != "python":
                continue
            try:
                driver.install(self._tracer)
            except Exception as error:
                say(f"SQL driver {driver.name!r} can't be traced: {type(error).__name__}: {error}")
            else:
                self._drivers.append(driver)

    def leave(self) -> None:
        """Restores the drivers. Idempotent."""
        while self._drivers:
            driver = self._drivers.pop()
            try:
                driver.uninstall()
            except Exception as error:
                say(f"SQL driver {driver.name!r} couldn't be uninstalled: {type(error).__name__}: {error}")
        atexit.unregister(self._tracer.close)
        self._tracer.close()
        proxy.set_context_variable(None)


def drivers(config: Config) -> tuple[SqlDriver, ...]:
    """The drivers that the settings name. If loading fails, says so and returns none: the program is already
    running."""
    try:
        return load(config, ("sql",), light=True).sql
    except MemWatchError as error:
        say(f"SQL can't be traced: {error}")
        return ()
