"""Tables of what was tried and what came of it, printed at the end of the test run.

A test says which cell it is with :func:`record`, first of all, so that one that is skipped or fails has its place too:
what it recorded stands there only if it passed. Reports carry it (``user_properties``), so it works under xdist.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

WIDTH = 80
NOT_TRIED = "-"
_KEY = "matrix"
_current: list[pytest.Item] = []


def record(table: str, row: str, column: str, outcome: str = "ok") -> None:
    """The running test is this cell; ``outcome``: what to print if it passes. The last one of a cell counts."""
    _current[-1].user_properties.append((_KEY, [table, row, column, outcome]))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Knows which test runs."""
    _current.append(item)
    try:
        return (yield)
    finally:
        _current.pop()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints the tables."""
    reports = [each for group in terminalreporter.stats.values() for each in group]
    for name, rows in _tables(each for each in reports if isinstance(each, pytest.TestReport)).items():
        terminalreporter.section(name)
        for line in _lines(rows):
            terminalreporter.line(line)


def _tables(reports: Iterable[pytest.TestReport]) -> dict[str, dict[str, dict[str, str]]]:
    tables: dict[str, dict[str, dict[str, str]]] = {}
    failed: set[tuple[str, str, str]] = set()
    for report in reports:
        for key, value in report.user_properties:
            if key != _KEY:
                continue
            table, row, column, outcome = map(str, value)  # type: ignore[call-overload]
            if report.failed:
                failed.add((table, row, column))
            cells = tables.setdefault(table, {}).setdefault(row, {})
            cells[column] = "FAILED" if (table, row, column) in failed else "skipped" if report.skipped else outcome
    return tables


def _lines(rows: dict[str, dict[str, str]]) -> Iterator[str]:
    """One table; one that is too wide is folded by columns."""
    columns = sorted({column for cells in rows.values() for column in cells})
    label = min(max(map(len, rows)), WIDTH // 2)
    widths = {c: max(len(c), *(len(cells.get(c, NOT_TRIED)) for cells in rows.values())) for c in columns}
    while columns:
        taken, room = 0, WIDTH - label
        while taken < len(columns) and (not taken or widths[columns[taken]] + 2 <= room):
            room -= widths[columns[taken]] + 2
            taken += 1
        now, columns = columns[:taken], columns[taken:]
        yield " " * label + "".join(f"  {column:<{widths[column]}}" for column in now).rstrip()
        for row in sorted(rows):
            cells = (f"  {rows[row].get(column, NOT_TRIED):<{widths[column]}}" for column in now)
            yield f"{row[:label]:<{label}}" + "".join(cells).rstrip()
