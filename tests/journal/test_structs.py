"""Formats of the struct module, taken apart: the bytes that each value is said to have are those that it has."""

from __future__ import annotations

import struct
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memwatch_core import structs

ORDERS = ["", *structs.ORDERS]
LETTERS = "?bBhHiIlLqQefdsp"
NATIVE = "nN"
TOKENS = st.tuples(
    st.sampled_from(["", "0", "1", "2", "7", "03"]), st.sampled_from("x" + LETTERS), st.sampled_from(["", " "])
).filter(lambda token: token[:2] != ("0", "p"))  # which CPython can't unpack: SystemError


@settings(deadline=None)
@given(st.sampled_from(ORDERS), st.lists(TOKENS, max_size=8), st.data())
def test_fields_lie_where_the_struct_module_puts_them(
    order: str, tokens: list[tuple[str, str, str]], data: st.DataObject
) -> None:
    form = order + "".join(f"{blank}{count}{letter}" for count, letter, blank in tokens)
    whole = data.draw(st.binary(min_size=struct.calcsize(form), max_size=struct.calcsize(form)))
    expected = struct.unpack(form, whole)
    found = list(structs.fields(form))
    assert len(found) == len(expected)
    for field, value in zip(found, expected, strict=True):
        assert field.size == struct.calcsize(field.single)
        (alone,) = struct.unpack_from(field.single, whole, field.offset)
        assert alone == value or (alone != alone and value != value)  # nan isn't itself


@pytest.mark.parametrize("letter", NATIVE)
def test_sizes_that_only_this_machine_has_are_known(letter: str) -> None:
    assert [field.offset for field in structs.fields(f"b{letter}b")] == [0, 8, 16]


def test_number_of_fields_may_be_of_any_size_if_few_are_looked_at() -> None:
    assert len(list(islice(structs.fields("<999999999999q"), 3))) == 3
    assert [field.offset for field in structs.fields("<999999999999xq")] == [999999999999]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("letter", [*LETTERS, *NATIVE, "P", "x", "qq", "2q", " q", ""])
def test_number_is_one_that_is_read_without_a_serializer(order: str, letter: str) -> None:
    known = order not in (">", "!") and len(letter) == 1 and letter in "?bBhHiIqQfd"
    size = struct.calcsize(f"<{letter}") if known else 8
    assert structs.number(order + letter, size) == (letter if known else "")
    assert structs.number(order + letter, size + 1) == ""


def test_no_format_is_no_number() -> None:
    assert structs.number(None, 8) == ""
