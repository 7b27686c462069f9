"""Risk: parameters are secrets. Their hashes must tell equality and nothing else, and looking must change nothing."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import fractions
import json
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


def test_what_breaks_the_promises_of_its_type_is_left_out() -> None:
    class Zone(dt.tzinfo):
        pass

    class Broken(decimal.Decimal):
        def as_integer_ratio(self) -> tuple[int, int]:
            raise ZeroDivisionError

    assert words(hashed((1, Broken(1), dt.datetime(2026, 1, 1, tzinfo=Zone()), 2), False)) == [
        word(1), "<Broken>", "<datetime>", word(2),
    ]  # fmt: skip


def test_hash_depends_on_the_key() -> None:
    assert hashed(("x",), False) != keeper("hash", b"other")(("x",), False)


def test_no_code_of_the_program_is_called() -> None:
    class Hostile:
        def __getattribute__(self, name: str) -> Any:
            raise AssertionError(f"{name} was asked for")

        __repr__ = __str__ = __eq__ = __hash__ = __bool__ = __len__ = __iter__ = None  # type: ignore[assignment]

    class Text(str):
        __slots__ = ()

        def encode(self, *args: object) -> bytes:
            raise AssertionError("encode() was called")

    rows = iter([(1,), (2,)])
    for keep in ("hash", "full"):
        kept = keeper(keep, b"key")
        assert words(kept((Hostile(),), False)) == ["<Hostile>"]
        assert words(kept(rows, True)) == ["<list_iterator>"]
    assert list(rows) == [(1,), (2,)]
    assert word(Text("a")) == word("a")


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
