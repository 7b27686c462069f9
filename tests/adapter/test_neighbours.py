"""Libraries that take a proxy by its buffer and make something else of it than of the value, silently."""

from __future__ import annotations

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
