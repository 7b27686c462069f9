"""The last lines of a run: right counts, in words that a person understands."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memwatch_core.host.summary import ENDED, MOST, UNITS, Numbers, Summary
from memwatch_core.records import Context, Event, Lost, Outcome, Record, Request, Site, Unwatched, Variable, Watched


def event(seq: int, pid: int, tid: int, variable: int, context: int) -> Event:
    values: dict[str, Any] = {
        "seq": seq, "time_ns": seq, "pid": pid, "runtime": "python", "tid": tid, "thread": f"t{tid}",
        "variable": f"v{variable}", "variable_id": variable, "path": None, "origin": "announced", "offset": 0,
        "before": b"", "after": b"", "old": seq - 1, "new": seq, "changed": True, "exact": True,
        "site": Site("/x/program.py", 3, "work"), "context": Context(context, "db", "SELECT", "") if context else None,
    }  # fmt: skip
    return Event(**values)


def watched(pid: int, variable: int) -> Watched:
    return Watched(0, Variable(variable, f"v{variable}", pid, "python", 8, "int64", {}), 0)


ids = st.tuples(st.integers(1, 3), st.integers(0, 3), st.integers(1, 20), st.integers(0, 3))


@settings(deadline=None)
@given(st.lists(st.lists(ids, max_size=30), max_size=5), st.integers(0, 3))
def test_counts_are_those_of_a_plain_count(batches: list[list[tuple[int, int, int, int]]], lost: int) -> None:
    summary = Summary()
    for batch in batches:
        records: list[Record] = [event(i + 1, *numbers) for i, numbers in enumerate(batch)]
        summary.write(records + [Lost(0, 1, 2, "disk full")] * lost)
    flat = [numbers for batch in batches for numbers in batch]
    assert summary.events == len(flat)
    assert summary.writes == Counter((pid, "", variable) for pid, _, variable, _ in flat)
    assert summary.threads == {(pid, tid) for pid, tid, _, _ in flat}
    assert len(summary.statements) == len({(pid, context) for pid, _, _, context in flat if context})
    assert summary.lost == 2 * lost * len(batches)
    lines = list(summary.lines())
    variables = len(summary.writes)
    assert len(lines) == min(variables, MOST) + (variables > MOST)


def test_sentence_says_it_in_words() -> None:
    summary = Summary()
    assert summary.sentence() == "no variable was watched: the program must call memwatch_core.watch()"
    summary.write([watched(1, 1), watched(1, 2)])
    assert summary.sentence() == "0 events on 0 of 2 variables; nothing lost"
    summary.write([event(1, 1, 5, 1, 0)])
    assert summary.sentence() == "1 event on 1 of 2 variables by 1 thread; nothing lost"
    summary.write([event(n, 1, 5 + n % 2, 2, n % 2) for n in range(1, 1500)])
    assert summary.sentence() == "1,500 events on 2 variables by 2 threads, under 1 SQL statement; nothing lost"
    summary.write([Lost(0, 1, 3, "disk full")])
    assert summary.sentence().endswith("under 1 SQL statement; 3 stores LOST")
    assert list(summary.lines()) == [
        "v2  1,499 writes, last 1498 -> 1499 at /x/program.py:3\twork in\tt6",
        "v1       1 write, last 0 -> 1 at /x/program.py:3\twork in\tt5",
    ]


def test_labels_tasks_and_traces_are_counted_up_to_a_limit() -> None:
    summary = Summary()
    plain = event(1, 1, 5, 1, 0)
    requests = [None, Request("order 17", ("batch",)), Request("order 17", (), "Task-1"), Request("", (), "", "a" * 32)]
    summary.write([msgspec.structs.replace(plain, request=request) for request in requests])
    assert ", in 1 label, 1 task and 1 trace; " in summary.sentence()
    assert "in\tt5 [trace aaaaaaaa]" in next(summary.lines())
    summary.write([msgspec.structs.replace(plain, request=Request(str(n))) for n in range(UNITS + 5)])
    assert f", in at least {UNITS:,} labels, 1 task and 1 trace; " in summary.sentence()


def test_what_was_rolled_back_is_counted() -> None:
    summary = Summary()
    summary.write([event(n, 1, 5, 1, 1 + n % 3) for n in range(1, 7)])
    summary.write([Outcome(7, 1, "committed", (1,), 1, 2), Outcome(7, 1, "failed: E", (2,), 0, 2)])
    assert summary.sentence().endswith("under 3 SQL statements; nothing lost")
    summary.write([Outcome(8, 1, "rolled back", (3,), 3, 2)])
    assert summary.sentence().endswith("under 3 SQL statements; 2 events under 1 that was rolled back; nothing lost")
    summary.write([Outcome(8, 2, "rolled back", (3, 4), 3, 1_000), Lost(9, 1, 1, "disk full")])
    assert summary.sentence().endswith("; 1,002 events under 3 that were rolled back; 1 store LOST")


def test_a_million_statements_are_counted_and_not_kept() -> None:
    statements = Numbers()
    before = sys.getallocatedblocks()
    for first in range(1, 1_000_001, 1000):
        statements.update((7, number) for number in range(first, first + 1000))
    assert len(statements) == 1_000_000
    assert sys.getallocatedblocks() - before < 20_000


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 2_000) | st.integers(0, 2**32 - 1))))
def test_distinct_numbers_are_counted_once(pairs: list[tuple[int, int]]) -> None:
    numbers = Numbers()
    numbers.update(pairs[: len(pairs) // 2])
    numbers.update(pairs)
    assert len(numbers) == len(set(pairs))


def test_watches_that_have_ended_are_counted_and_not_kept() -> None:
    summary = Summary()
    count = 3 * ENDED
    summary.write([watched(1, 0), *(event(n, 1, 5, 0, 0) for n in range(1, 50))])
    for variable in range(1, count + 1):
        records: list[Record] = [watched(1, variable), Unwatched(0, 1, f"v{variable}", variable)]
        summary.write(records[:1] + [event(n, 1, 5, variable, 0) for n in range(1, variable % 4)] + records[1:])
    assert len(summary.writes) <= ENDED + MOST
    events, written = 49 + count // 4 * 3, 1 + sum(variable % 4 > 1 for variable in range(1, count + 1))
    assert summary.sentence() == (
        f"{events:,} events on {written:,} of {count + 1:,} variables by 1 thread; nothing lost"
    )
    *lines, rest = summary.lines()
    assert lines[0].startswith("v0 ")
    assert (len(lines), rest) == (MOST, f"and {written - MOST:,} more variables")


def ended(variable: str, why: Any, target: str, given: Any, line: int = 9) -> Unwatched:
    return Unwatched(0, 1, variable, 1, "", why, Site("/x/program.py", line, "work"), target, given)


def test_watch_that_a_plain_value_ended_is_named_with_what_to_write_instead() -> None:
    summary = Summary()
    summary.write([ended("limit", "rebound", "limit", "computed"), ended("o.n", "rebound", ".n", "plain", 8)])
    summary.write([ended("limit", "rebound", "limit", "computed")])  # at the same place: once
    assert [line.replace("\t", " ") for line in summary.lines()] == [
        "limit: the watch ended with `limit = limit + …` at /x/program.py:9 work, which makes it a plain value: "
        "write `limit += …` or `limit.value = …`",
        "o.n: the watch ended with `o.n = …` at /x/program.py:8 work, which makes it a plain value: write "
        "`o.n.value = …`",
    ]


@pytest.mark.parametrize(("serializer", "into"), [("numpy", "a[...] = …"), ("memoryview", "a[:] = …")])
def test_an_array_that_was_computed_anew_is_named_with_what_to_write_instead(serializer: str, into: str) -> None:
    summary = Summary()
    options = {"dtype": "<f8", "shape": [3], "strides": [8]}
    summary.write([Watched(0, Variable(1, "a", 1, "python", 24, serializer, options), 0)])
    summary.write([ended("a", "rebound", "a", "computed")])
    assert [line.replace("\t", " ") for line in summary.lines()][-1] == (
        f"a: the watch ended with `a = …` at /x/program.py:9 work, which makes another one: to write into this "
        f"one, `{into}`"
    )


def test_other_ends_of_watches_are_nothing_to_remark() -> None:
    summary = Summary()
    summary.write(
        [
            ended("limit", "rebound", "limit", ""),  # an object, None
            ended("limit", "rebound", "other", "computed"),  # it may have held something that held the value
            ended("limit", "replaced", "limit", "plain"),
            ended("limit", "deleted", "limit", ""),
            ended("limit", "left", "", ""),
            ended("limit", "unwatched", "", ""),
            Unwatched(0, 1, "limit", 1),
        ]
    )
    assert not list(summary.lines())


def test_of_many_remarks_a_few_are_said() -> None:
    summary = Summary()
    summary.write([ended("x", "rebound", "x", "plain", line) for line in range(1, 3000)])
    *said, rest = summary.lines()
    assert (len(said), rest) == (3, "and 997 more of this kind")  # as many as are remembered


ADDS = Site("/x/program.py", 7, "add", 3, True)
"""``x += f()``."""


def writes(*sites: tuple[int, Site]) -> list[Record]:
    """Events of one variable, by thread and site."""
    return [
        msgspec.structs.replace(event(seq, 1, tid, 1, 0), variable="total", site=site)
        for seq, (tid, site) in enumerate(sites, 1)
    ]


OTHER = Site("/x/program.py", 3, "price")


@pytest.mark.parametrize(
    ("sites", "count"),
    [
        ([(5, OTHER), (5, ADDS)], 1),  # the function that was called, perhaps
        ([(6, ADDS), (5, ADDS)], 1),  # another thread
        ([(5, OTHER), (5, ADDS), (5, ADDS), (5, OTHER), (5, ADDS)], 2),
        ([(5, ADDS), (5, ADDS), (5, ADDS)], 0),
        ([(5, ADDS), (5, Site("/x/program.py", 8, "add")), (5, ADDS)], 0),  # the same function, one after the other
        ([(5, ADDS), (5, OTHER)], 0),
        ([(5, OTHER), (5, OTHER)], 0),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 9])
def test_what_was_added_to_another_ones_write_after_a_call_is_counted(
    sites: list[tuple[int, Site]], count: int, size: int
) -> None:
    summary, records = Summary(), writes(*sites)
    for start in range(0, len(records), size):
        summary.write(records[start : start + size])
    said = [line.replace("\t", " ") for line in summary.lines() if "f()" in line]
    assert len(said) == (count > 0)
    if count:
        assert said[0].startswith(
            "total: `total += f()` at /x/program.py:7 add added to what another thread or function"
        )
        assert ("once" if count == 1 else f"{count} times") in said[0]
        assert "`total.value = total.value + f()`, or watch the object that holds it" in said[0]


def test_variables_of_one_name_are_listed_with_numbers_and_processes() -> None:
    def named(pid: int, variable: int, name: str) -> list[Record]:
        told = Watched(0, Variable(variable, name, pid, "python", 8, "int64", {}, journal=str(pid)), 0)
        return [told, msgspec.structs.replace(event(1, pid, 5, variable, 0), variable=name, journal=str(pid))]

    summary = Summary()
    for records in (
        named(1, 3, "total"),
        named(1, 9, "total"),
        named(2, 3, "total"),
        named(1, 4, "n"),
        named(2, 7, "n"),
    ):
        summary.write(records)
    assert sorted(line.split("  ")[0] for line in summary.lines()) == [
        "n in 1",
        "n in 2",
        "total",
        "total#3",
        "total#9",
    ]
