"""By default, a sample is run: one test for each kind of risk, and of its matrix a row."""

from __future__ import annotations

import pytest
from samples import keep_sample

KEPT = frozenset(
    (
        "test_a_failure_names_lines_values_and_callers",
        "test_what_holds_passes",
        "test_what_does_not_hold_fails_the_test",
        "test_watches_end_with_their_test",
        "test_who_may_write",
        "test_one_run_names_the_line_that_is_to_blame",
        "test_what_is_left_is_told_and_the_test_itself_passes",
        "test_what_is_put_back_is_not_told",
        "test_what_is_left_fails_the_assertion",
        "test_tests_end_as_they_do_without_it",
        "test_nothing_of_memwatch_is_imported_or_written_or_said",
        "test_each_way_of_asking",
        "test_a_test_ends_as_it_does_without_and_what_it_left_is_told",
        "test_the_same_is_found_however_tests_are_run",
        "test_a_target_means_this_place_and_no_other",
    )
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    keep_sample(config, items, "pytest_plugin", 100, KEPT)
