"""By default, a sample is run: one test for each kind of risk, and of its matrix a row."""

from __future__ import annotations

import pytest
from samples import keep_sample

KEPT = frozenset(
    (
        "test_each_kind_of_place_stops_where_it_is_stored_to",
        "test_what_can_not_be_watched_says_why",
        "test_a_condition_decides_in_our_language",
        "test_a_hit_condition_counts",
        "test_until_it_is_asked_for_the_program_knows_nothing_of_us",
        "test_what_the_user_evaluates_does_not_stop_again",
        "test_each_thread_stops_for_what_it_has_written",
        "test_a_program_that_was_attached_to_is_left_without_a_watch",
        "test_a_session_is_what_debugpy_alone_makes_of_it",
        "test_another_protocol_is_refused_with_a_word",
        "test_a_client_that_is_killed_leaves_no_process",
    )
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    keep_sample(config, items, "debugging", 100, KEPT)
