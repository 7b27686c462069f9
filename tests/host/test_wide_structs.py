"""Structs of many values: a store is shown by the value that it went to, wherever that lies."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import memwatch_serializer_struct
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memwatch_core import watch
from memwatch_core.records import Event
from memwatch_core.structs import fields
from memwatch_plugins.testing.sessions import real_session

(SERIALIZER,) = memwatch_serializer_struct.memwatch_serializers()
MOST = 65_536
ITEMS = st.tuples(st.one_of(st.just(""), st.integers(0, 40).map(str)), st.sampled_from("xcbBhHiIqQefd?sp"))
FORMATS = st.builds(
    lambda order, items: order + "".join(count + letter for count, letter in items),
    st.sampled_from(["", "@", "=", "<", ">"]),
    st.lists(ITEMS, min_size=1, max_size=8),
)


def part_by_part(form: str, start: int, stop: int) -> str | None:
    """The name of the part, found by looking at every value."""
    starts = [field.offset for field in fields(form)]
    first = max([number for number, at in enumerate(starts) if at <= start], default=0)
    last = max(first + 1, sum(at < stop for at in starts))
    if last - first == len(starts) > 1:
        return None
    return f"[{first}]" if last - first == 1 else f"[{first}:{last}]"


@given(FORMATS, st.data())
def test_part_is_the_one_that_is_found_by_looking_at_every_value(form: str, data: st.DataObject) -> None:
    size = struct.calcsize(form)
    if not list(fields(form)) or not size:
        return
    start = data.draw(st.integers(0, size - 1))
    stop = data.draw(st.integers(start + 1, size))
    assert SERIALIZER.part is not None
    extent = SERIALIZER.part(start, stop, {"format": form})
    assert (extent and extent.name) == part_by_part(form, start, stop)
    if extent:
        assert extent.start <= start < stop <= extent.stop <= size
        extent.decode(bytes(extent.stop - extent.start))


def test_many_values_are_one_run_and_any_of_them_is_shown(tmp_path: Path) -> None:
    with real_session(tmp_path, serializers=(SERIALIZER,)) as session:
        wide = watch(tuple(range(MOST)), format=f"{MOST}q", name="wide")
        wide[MOST - 2] = -1
        wide[0:2] = (8, 9)
        events = [record for record in session.records() if isinstance(record, Event)]
        assert wide[MOST - 2] == -1
    parts = [event.part for event in events]
    assert [(part.name, part.old, part.new) for part in parts if part] == [
        (f"[{MOST - 2}]", MOST - 2, -1),
        ("[0:2]", (0, 1), (8, 9)),
    ]


def test_each_is_read_as_of_a_tuple(tmp_path: Path) -> None:
    plain = (1, 2.5, b"ab", True)
    with real_session(tmp_path, serializers=(SERIALIZER,)):
        watched = watch(plain, format="<qd2s?", name="watched")
        for key in (0, 3, -1, -4, True, slice(1, 3), slice(None, None, -1)):
            assert watched[key] == plain[key]
        for wrong in (4, -5, 1 << 80, -1 << 80, "0", 1.0, None):
            with pytest.raises((IndexError, TypeError)) as told:
                plain[wrong]  # type: ignore[call-overload]
            with pytest.raises(type(told.value), match=f"^{re.escape(str(told.value))}$"):
                watched[wrong]  # type: ignore[call-overload]


def test_more_of_them_are_refused() -> None:
    with pytest.raises(ValueError, match=f"more than {MOST} values"):
        SERIALIZER.layout((0,) * (MOST + 1), {"format": f"{MOST + 1}b"})
