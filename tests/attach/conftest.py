"""By default, a sample is run: one test for each kind of risk, and of its matrix a row."""

from __future__ import annotations

import pytest
from samples import keep_sample

KEPT = frozenset(
    (
        "test_every_write_from_then_on_is_told_with_its_line",
        "test_it_is_reached_whatever_its_main_thread_waits_for",
        "test_a_killed_memwatch_leaves_a_program_that_goes_on_unwatched",
        "test_a_process_that_has_ended",
        "test_a_program_that_memwatch_runs_already",
        "test_a_process_that_is_stopped",
        "test_gdb_is_missing",
        "test_nothing_to_watch",
        "test_a_call_loses_no_register",
        "test_they_are_kept_where_the_cpu_has_them",
        "test_a_busy_program_is_unharmed",
        "test_what_is_left_is_what_the_documentation_lists",
    )
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    keep_sample(config, items, "attach", 100, KEPT)
