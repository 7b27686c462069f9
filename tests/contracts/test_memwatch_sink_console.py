"""The plugin keeps the sinks' contract."""

import memwatch_sink_console
import pytest

from memwatch_plugins.testing import SinkContract


class TestConsole(SinkContract):
    plugin, name = memwatch_sink_console, "console"
    capabilities = ("events",)


class TestConsoleOnStandardOutput(TestConsole):
    settings = {"stream": "stdout", "show": "changes", "max_value": 8}


class TestConsoleOnATerminal(TestConsole):
    """Lines are painted and shortened to fit."""

    @pytest.fixture(autouse=True)
    def terminal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("COLUMNS", "100")
        monkeypatch.setenv("TERM", "xterm-256color")
