"""Plugin of pytest, inside the process that runs a suite: writes what became of each test, a line of JSON at a time.

``[test, phase, outcome, class of the exception]``; at the end ``{"complete": ..., "troubles": ...}``, where troubles
counts what went wrong inside tracing.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from typing import IO, Any

import pytest

FILE = "SUITE_OUTCOMES"
"""Variable that names the file."""

_file: IO[str]


def pytest_configure() -> None:
    global _file
    _file = open(os.environ[FILE], "a", buffering=1)  # noqa: SIM115


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report: Any = yield
    report.raised = type(call.excinfo.value).__name__ if call.excinfo and report.outcome != "passed" else ""
    return report


def pytest_runtest_logreport(report: Any) -> None:
    name = report.nodeid
    if getattr(report, "context", None) is not None:  # a subtest
        name += f" [{report.context.msg or ''} {sorted(report.context.kwargs.items())}]"
    name = re.sub(r"\b0x[0-9a-f]+", "0x", name)  # the address of an object
    outcome = f"x{report.outcome}" if hasattr(report, "wasxfail") else report.outcome
    _write([name, report.when, outcome, getattr(report, "raised", "")])


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.outcome != "passed":
        _write([report.nodeid, "collect", report.outcome, str(report.longrepr).strip().rpartition("\n")[2]])


def pytest_sessionfinish() -> None:
    modules = [module for name, module in sys.modules.items() if name.startswith("memwatch_sql_")]
    drivers = [module.driver for module in modules if hasattr(module, "driver")]
    troubles = sum(driver.troubles + getattr(driver.tracer, "troubles", 0) for driver in drivers)
    _write({"complete": True, "troubles": troubles})
    _file.close()


def _write(line: object) -> None:
    if os.getpid() == _pid:  # a forked child of a test may come here too
        _file.write(json.dumps(line) + "\n")


_pid = os.getpid()
