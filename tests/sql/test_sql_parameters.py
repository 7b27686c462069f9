"""Risk: parameters are secrets. Their hashes must tell equality and nothing else, and looking must change nothing."""

from __future__ import annotations

import contextvars
import datetime as dt
import decimal
import enum
import fractions
import json
import threading
import uuid
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memwatch_core.adapter.join import join
from memwatch_core.adapter.parameters import MOST, MOST_ROWS, keeper
from memwatch_core.adapter.watch import watch
from memwatch_core.config import Config
from memwatch_core.journal.session import create_session
from memwatch_core.native.tracing import ParameterHash
from memwatch_plugins.testing.hostile import BASES, Calls

hashed: Any = keeper("hash", b"key")


def words(kept: str) -> list[str]:
    return json.loads("{" + kept[1:] + "}")["parameters"] if kept else []


def word(value: object) -> str:
    return words(hashed((value,), False))[0]


class Colour(enum.IntEnum):
    RED = 1


numbers = st.one_of(
    st.integers(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False), st.booleans(), st.fractions(),
    st.decimals(allow_nan=False, min_value=-(10**300), max_value=10**300),
)  # fmt: skip


@given(numbers, numbers)
def test_numbers_hash_equal_exactly_when_they_are_equal(one: Any, other: Any) -> None:
    assert (word(one) == word(other)) == (one == other)


@given(st.integers(-(2**53), 2**53))
def test_one_number_of_any_type_has_one_hash(value: int) -> None:
    exact = decimal.Decimal(value)
    same = [value, float(value), exact, fractions.Fraction(value), exact.scaleb(2) / 100]
    assert {word(each) for each in same} == {word(value)}
    assert word(value / 2) == word(fractions.Fraction(value, 2)) == word(decimal.Decimal(value) / 2)


@given(st.one_of(st.text(), st.binary()), st.one_of(st.text(), st.binary()))
def test_texts_and_bytes_hash_equal_exactly_when_they_are_equal(one: object, other: object) -> None:
    assert (word(one) == word(other)) == (one == other)


def test_equal_values_of_other_types_hash_equal() -> None:
    now = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    equal = [
        (True, 1),
        (bytearray(b"x"), b"x", memoryview(b"x")),
        (now, now.astimezone(dt.timezone(dt.timedelta(hours=5)))),
        (uuid.UUID(int=7), uuid.UUID(int=7)),
        ([1, "a"], [1.0, "a"]),
        ({"k": [1]}, {"k": [1]}),
        (dt.date(2026, 1, 1), dt.date(2026, 1, 1)),
        ("x" * 10**7, "x" * 10**7),
    ]
    hashes = [{word(value) for value in values} for values in equal]
    assert [len(each) for each in hashes] == [1] * len(equal)
    assert len(set.union(*hashes)) == len(equal)


def test_hash_is_siphash_2_4() -> None:
    """The vector of the paper's appendix A."""
    assert words(ParameterHash(bytes(range(16)), lambda value: bytes(range(15)))((object(),))) == ["a129ca6149be45e5"]


def test_watched_value_hashes_as_what_it_is(tmp_path: Path) -> None:
    part = join(create_session(tmp_path, ["pytest"]), Config())
    try:
        for value in (7, 2.5, b"bytes", bytearray(b"bytes")):
            watched = watch(value, name="value")
            assert word(watched) == word(value)
            assert word([watched, 1]) == word([value, 1])
            assert words(keeper("full", b"")((watched,), False)) == [repr(value)]  # type: ignore[misc]
    finally:
        part.leave()


def test_value_that_is_not_exactly_of_a_known_type_is_its_type() -> None:
    class Zone(dt.tzinfo):
        pass

    class Money(decimal.Decimal):
        pass

    class Point(tuple[int, int]):
        __slots__ = ()

    values = (1, Money(1), dt.datetime(2026, 1, 1, tzinfo=Zone()), Colour.RED, Point((1, 2)), [Money(1)], [[Zone()]], 2)
    shown = [word(1), "<Money>", "<datetime>", "<Colour>", "<Point>", "<list>", "<list>", word(2)]
    assert words(hashed(values, False)) == shown
    assert words(hashed(Point((1, 2)), False)) == ["<Point>"]


def test_hash_depends_on_the_key() -> None:
    assert hashed(("x",), False) != keeper("hash", b"other")(("x",), False)


leaves = st.deferred(
    lambda: st.sampled_from(BASES).map(lambda each: ("hostile", each)) | st.none() | st.text() | numbers
)
nested = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4).map(lambda items: ("list", items))
        | st.lists(inner, max_size=4).map(lambda items: ("tuple", items))
        | st.lists(inner, max_size=4).map(lambda items: ("dict", items))
    ),
    max_leaves=12,
)


@given(nested, st.booleans(), st.sampled_from(("hash", "full")))
def test_nothing_of_a_value_is_called(plan: Any, many: bool, keep: Any) -> None:
    calls = Calls()

    def build(plan: Any) -> Any:
        if type(plan) is not tuple:
            return plan
        kind, parts = plan
        if kind == "hostile":
            return calls.value(parts[0], *parts[1])
        items = [build(part) for part in parts]
        return items if kind == "list" else tuple(items) if kind == "tuple" else dict(enumerate(items))

    value = build(plan)
    kept: Any = keeper(keep, b"key")
    for parameters in ((value,), [value], {"name": value}, [(value,), [value]], value):
        calls.clear()
        kept(parameters, many)
        assert not calls


def test_keys_and_types_of_the_program_are_not_compared_or_hashed() -> None:
    calls = Calls()
    key = calls.value(str, "key")
    parameters = {key: key, 1: 2}
    calls.clear()
    for keep in ("hash", "full"):
        kept: Any = keeper(keep, b"key")
        assert words(kept(parameters, False))[0] == "<Tellingstr>=<Tellingstr>"
    assert not calls


def test_whatever_is_in_the_module_datetime_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """As freezegun does it."""
    moment, expected = dt.datetime(2026, 1, 2, tzinfo=dt.UTC), word(dt.datetime(2026, 1, 2, tzinfo=dt.UTC))
    for name in ("datetime", "date", "time", "timedelta", "timezone", "tzinfo"):
        monkeypatch.setattr(dt, name, None)
    assert word(moment) == expected


def test_decimal_makes_no_context_in_the_flow() -> None:
    values = tuple(map(decimal.Decimal, ("1.25", "1E+5", "Infinity", "-NaN1", "1E+1000000", "-0.00")))

    def kept() -> int:
        for keep in ("hash", "full"):
            words(keeper(keep, b"key")(values, False))  # type: ignore[misc]
        return len(contextvars.copy_context())

    assert contextvars.Context().run(kept) == 0


def test_what_is_strange_is_bounded_and_ends() -> None:
    endless: list[Any] = [1]
    endless.append(endless)
    mapping: dict[str, Any] = {}
    mapping["k"] = mapping
    wide = [[[list(range(10**5))] * 50] * 50] * 50
    values = (endless, mapping, wide, "\ud800", 10**10**5, decimal.Decimal("1" * 5000), memoryview(bytes(10**7))[::2])
    for keep in ("hash", "full"):
        found = words(keeper(keep, b"key")(values, False))  # type: ignore[misc]
        assert len(found) == len(values)
        assert max(map(len, found)) <= 250
    assert word(memoryview(bytes(10**7))) == word(bytes(10**7))
    assert word(fractions.Fraction(1, 10**5000)) == "<Fraction>"


def test_iterator_is_left_alone() -> None:
    rows = iter([(1,), (2,)])
    for keep in ("hash", "full"):
        assert words(keeper(keep, b"key")(rows, True)) == ["<list_iterator>"]  # type: ignore[misc]
    assert list(rows) == [(1,), (2,)]


def test_list_that_another_thread_changes_is_read_to_an_end() -> None:
    changing: list[Any] = [[1]] * 60
    over = threading.Event()

    def change() -> None:
        while not over.is_set():
            changing.clear()
            changing.extend([[dt.date(2026, 1, 1)]] * 60)

    thread = threading.Thread(target=change)
    thread.start()
    for keep in ("hash", "full"):
        kept: Any = keeper(keep, b"key")
        for _ in range(300):
            assert len(words(kept(changing, False))) <= 60
            kept((changing, {"k": changing}), False)
    over.set()
    thread.join()


def test_kept_parameters_are_bounded() -> None:
    assert len(words(hashed(tuple(range(100_000)), False))) == MOST + 1
    assert words(hashed(list(range(MOST + 5)), False))[-1] == "… 5 more"
    rows = words(hashed([(n, n) for n in range(100_000)], True))
    assert (len(rows), rows[-1]) == (MOST_ROWS + 1, f"… {100_000 - MOST_ROWS} more rows")
    assert rows[0] == f"{word(0)} {word(0)}"
    assert len(keeper("full", b"")(("x" * 10**6,), False)) < 1000


def test_named_parameters_keep_their_names() -> None:
    assert words(hashed({"a": 1, "é\ud800": "x"}, False)) == [f"a={word(1)}", f"é?={word('x')}"]


def test_none_keeps_nothing_and_full_keeps_values() -> None:
    assert keeper("none", b"") is None
    values = ("it's", 1, None, b"\0", 2.5)
    assert words(keeper("full", b"")(values, False)) == [repr(value) for value in values]
    assert words(keeper("full", b"")({"a": dt.date(2026, 1, 2)}, False)) == ["a=2026-01-02"]


def test_unknown_way_of_keeping_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"sql\.parameters.*hash"):
        keeper("some", b"")  # type: ignore[arg-type]
