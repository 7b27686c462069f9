"""By default, a sample is run: one test for each kind of risk, and of its matrix a row."""

from __future__ import annotations

import pytest
from samples import keep_sample

KEPT = frozenset(
    (
        "test_each_worker_has_a_journal_of_its_own_and_all_is_told",
        "test_a_process_that_a_reloader_starts_anew_is_watched_as_well",
        "test_processes_of_multiprocessing_are_told",
        "test_a_tool_that_runs_the_program_changes_nothing_that_is_told",
        "test_coverage_counts_the_lines_that_it_would_count_alone",
        "test_a_hook_sees_the_programs_calls_alone",
    )
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    keep_sample(config, items, "neighbours", 100, KEPT)
