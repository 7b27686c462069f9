"""Libraries that take a proxy by its buffer and make something else of it than of the value, silently."""

from __future__ import annotations

import ctypes
import sqlite3
from typing import Any

import pytest
from journals import Opened

from memwatch_core import watch

np = pytest.importorskip("numpy")


def test_sqlite3_binds_the_number_and_not_its_bytes(journal: Opened) -> None:
    connection = sqlite3.connect(":memory:")
    row = connection.execute("SELECT typeof(?), ? = 7, typeof(?)", (watch(7), watch(7), watch(2.5))).fetchone()
    connection.close()
    assert row == ("integer", 1, "real")


@pytest.mark.parametrize(
    "call",
    [
        lambda x: np.linspace(0, x, 3),
        lambda x: np.array([x, 1]),
        lambda x: np.max([x, 1]),
        lambda x: np.round(x),
        lambda x: np.float32(x),
        lambda x: np.interp(x, [0, 5], [0, 10]),
    ],
)
@pytest.mark.parametrize("value", [2.5, 3])
def test_numpy_takes_a_number_as_a_scalar(journal: Opened, call: Any, value: float) -> None:
    ours, plain = call(watch(value)), call(value)
    assert np.shape(ours) == np.shape(plain)
    assert np.array_equal(ours, plain)


def test_copy_that_a_library_keeps_is_not_the_value(journal: Opened) -> None:
    """A limit, not a promise: what C code hides in memory of its own can't be seen, and doesn't reach the value."""
    prices = watch(bytearray(b"1234"), name="prices")
    kept = ctypes.create_string_buffer(4)
    ctypes.memmove(kept, (ctypes.c_char * 4).from_buffer(prices), 4)
    array = np.array(np.frombuffer(prices, np.uint8))  # a copy
    kept[0], array[1] = b"9", 9
    assert prices == b"1234"
    assert not journal.stores(prices)
    shared = np.frombuffer(prices, np.uint8)  # the page itself
    shared[1] = ord("9")
    assert prices == b"1934"
    assert len(journal.stores(prices)) == 1
