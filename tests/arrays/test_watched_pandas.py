"""Columns of pandas in watched memory: what is told, and what ends where."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import memwatch_serializer_pandas
import numpy as np
import pytest

pd = pytest.importorskip("pandas", "3", reason="needs pandas 3")

import table_operations as operations  # noqa: E402
from memwatch_serializer_pandas.columns import memories  # noqa: E402

from memwatch_core import unwatch, watch  # noqa: E402
from memwatch_core.adapter.watch import variable  # noqa: E402
from memwatch_core.errors import MutationError, WatchError  # noqa: E402
from memwatch_core.native import core  # noqa: E402
from memwatch_core.records import Event, Lost, Record, Unwatched, Watched  # noqa: E402
from memwatch_plugins.testing.sessions import RealSession, real_session  # noqa: E402

SERIALIZERS = memwatch_serializer_pandas.memwatch_serializers()


pytestmark = pytest.mark.filterwarnings("ignore")
"""pandas warns of ways that are tried here."""


@pytest.fixture
def session(tmp_path: Path) -> Iterator[RealSession]:
    with real_session(tmp_path, serializers=SERIALIZERS) as opened:
        yield opened


def told(records: list[Record]) -> list[str]:
    assert not [record for record in records if isinstance(record, Lost)]
    events = [record for record in records if isinstance(record, Event) and record.changed]
    return [f"{e.variable}{e.part.name if e.part else ''}".removeprefix("df") for e in events]


def lies_in(frame: Any) -> set[str]:
    """Columns that lie in the memory of others: of a table that was watched, in the watched one."""
    return {label for label in frame.columns if any(True for _ in memories(frame[label]))}


# ---- ways of writing -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("holder", operations.HOLDERS.values(), ids=operations.HOLDERS)
def test_write_is_an_event_or_the_end_of_the_watch(holder: Any, session: RealSession) -> None:
    """Whoever has the memory too: a column lies in it still, or the end of its watch names the operation."""
    kept, left = [], {}
    for way, (run, *_) in operations.WAYS.items():
        plain, df = operations.table(), operations.table()
        assert watch(df, columns=operations.WATCHED, name=way) is df
        before = {name: id(memory) for name in operations.WATCHED for memory in memories(df[name])}
        assert len(before) == len(operations.WATCHED)
        held, holding = holder(plain), holder(df)
        one, other = run(plain), run(df)
        assert repr(one) == repr(other)
        assert repr(held) == repr(holding)
        pd.testing.assert_frame_equal(plain, df)
        now = set(map(id, memories(df)))
        left[way] = {f"{way}.{name}" for name, memory in before.items() if memory not in now}
        kept += [df, holding, other]
    records = session.records()
    ends: dict[str, set[str]] = {way: set() for way in operations.WAYS}
    whys: dict[str, set[tuple[str, str]]] = {way: set() for way in operations.WAYS}
    for record in records:
        if isinstance(record, Unwatched) and record.why != "closed":
            assert record.site is not None
            assert record.site.file == operations.__file__, record.variable
            way, _, name = record.variable.rpartition(".")
            ends[way].add(record.variable)
            whys[way].add((record.why, name))
    assert ends == left
    if holder is not operations.HOLDERS["nobody"]:
        return
    for way, (_, parts, moved, deleted) in operations.WAYS.items():
        expected = {"moved": moved.split(), "deleted": deleted.split()}
        assert whys[way] == {(why, name) for why, names in expected.items() for name in names}
        changed = [name.removeprefix(way) for name in told(records) if name.startswith(f"{way}.")]
        assert (way, changed) == (way, [*parts])


def test_end_names_the_line_of_the_program(session: RealSession) -> None:
    df = watch(operations.table(), columns=["price", "qty", "open"])
    held = df["qty"]
    df["price"] *= 2
    first = sys._getframe().f_lineno - 1
    df.loc[2, "qty"] = 7
    del df["open"]
    df["price"] = 3.0
    ends = [record for record in session.records() if isinstance(record, Unwatched)]
    assert [(e.variable, e.why, e.site and e.site.file, e.site and e.site.line) for e in ends] == [
        ("df.price", "moved", __file__, first),
        ("df.qty", "moved", __file__, first + 2),
        ("df.open", "deleted", __file__, first + 3),
    ]
    assert list(held) == [1, 2, 3, 4]


def test_table_that_is_let_go_ends_as_others_do(session: RealSession) -> None:
    def inner() -> None:
        df = watch(operations.table(), columns=["price"])
        df.at[0, "price"] = 1.0

    inner()
    df = watch(operations.table(), columns=["qty"])
    series = df["qty"]
    df = None
    series.iloc[0] = 8  # the memory goes on as the Series
    del series
    gc.collect()
    records = session.records()
    assert [(e.variable, e.why) for e in records if isinstance(e, Unwatched)] == [
        ("df.price", "left"),
        ("df.qty", "deleted"),
    ]
    assert told(records) == [".price[0]", ".qty[0]"]


def test_many_threads_write_and_replace(session: RealSession) -> None:
    df = watch(pd.DataFrame({f"c{n}": np.zeros(50) for n in range(4)}))

    def work(name: str) -> None:
        for at in range(50):
            df.loc[at, name] = 1.0

    threads = [threading.Thread(target=work, args=(f"c{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (df == 1).all().all()
    assert len(told(session.records())) == 200


# ---- what the program has --------------------------------------------------------------------------------------------


def test_table_is_the_object_that_it_was(session: RealSession) -> None:
    plain, df = operations.table(), operations.table()
    df.attrs["unit"] = "m"
    assert watch(df, columns=operations.WATCHED) is df
    pd.testing.assert_frame_equal(plain, df)
    assert list(df.dtypes) == list(plain.dtypes)
    assert df.attrs == {"unit": "m"}
    assert lies_in(df) == set(operations.WATCHED)


VALUES: dict[str, Any] = {
    "doubles": lambda: pd.Series([1.0, np.nan], index=["a", "b"], name="s"),
    "bools": lambda: pd.Series([True, False]),
    "times": lambda: pd.Series(pd.to_datetime(["2026-01-01", None])),
    "spans": lambda: pd.Series(pd.to_timedelta([1, 2], unit="s")),
    "complex": lambda: pd.Series([1j, 2j]),
    "short": lambda: pd.Series(np.arange(5, dtype="u1")),
    "every second": lambda: pd.Series(np.arange(10), copy=False).iloc[::2],
    "none": lambda: pd.Series([], dtype="f8"),
    "many": lambda: pd.Series(np.arange(5000.0)),
}


@pytest.mark.parametrize("make", VALUES.values(), ids=VALUES)
def test_series_is_of_its_type_and_has_its_values(make: Any, session: RealSession) -> None:
    before = core.stats().pages
    plain, s = make(), watch(make(), name="s")
    pd.testing.assert_series_equal(plain, s)
    assert (type(s), s.name) == (type(plain), plain.name)
    assert variable(s).name == "s"
    with pytest.raises(WatchError, match="watched memory already"):
        watch(s, name="t")
    if len(s):
        s.iloc[1], plain.iloc[1] = s.iloc[0], plain.iloc[0]
        pd.testing.assert_series_equal(plain, s)
    t = unwatch(s)
    pd.testing.assert_series_equal(plain, t)
    assert not any(True for _ in memories(t))
    del s
    gc.collect()
    assert core.stats().pages <= before
    assert told(session.records()) == (["s[1].imag" if t.dtype == complex else "s[1]"] if len(t) else [])


def test_unwatched_table_has_its_columns_for_itself(session: RealSession) -> None:
    df = watch(operations.table(), columns=operations.WATCHED)
    df.at[0, "price"] = 9.0
    assert unwatch(df) is df
    assert lies_in(df) == set()
    df.at[0, "price"] = 10.0
    records = session.records()
    assert {record.why for record in records if isinstance(record, Unwatched)} == {"unwatched"}
    assert told(records) == [".price[0]"]


def test_more_columns_can_be_watched_later(session: RealSession) -> None:
    df = watch(operations.table(), columns=["price"])
    watch(df, columns=["qty"])
    with pytest.raises(WatchError, match=r"'df\.qty' lies in watched memory already"):
        watch(df, columns=["open", "qty"])
    df.iloc[0, :2] = [1.0, 7]
    with pytest.raises(TypeError, match="by its parts"):
        variable(df)
    assert variable(df["qty"]).name == "df.qty"
    records = session.records()
    assert told(records) == [".price[0]", ".qty[0]"]
    assert [record.variable.name for record in records if isinstance(record, Watched)][-1] == "df.qty"


def test_columns_are_named_as_they_are_written(session: RealSession) -> None:
    df = pd.DataFrame([[1, 2, 3]], columns=["unit price", 7, ("a", "b")])
    watch(df)
    df.iloc[0, :] = [4, 5, 6]
    assert told(session.records()) == ['["unit price"][0]', "[7][0]", "[('a', 'b')][0]"]


def test_condition_is_judged_of_each_value(session: RealSession) -> None:
    df = watch(operations.table(), columns=["qty"], when="new < 0", then="raise")
    with pytest.raises(MutationError, match=r"df\.qty\[1\] 2 → -1"):
        df.loc[1, "qty"] = -1


# ---- what is refused -------------------------------------------------------------------------------------------------


class Frame(pd.DataFrame):  # type: ignore[misc]
    pass


REFUSED: dict[str, tuple[Any, dict[str, Any], str]] = {
    "texts": (lambda: operations.table(), {}, "column 'name': of dtype str"),
    "objects": (lambda: pd.Series([1, "a"]), {}, "references to objects"),
    "categories": (lambda: pd.Series(["a", "b"], dtype="category"), {}, "codes of a list of categories"),
    "a time zone": (lambda: pd.Series(pd.to_datetime(["2026-01-01"]).tz_localize("UTC")), {}, "time zone"),
    "nullable": (lambda: pd.Series([1, None], dtype="Int64"), {}, "another kind than numpy's"),
    "periods": (lambda: pd.Series(pd.period_range("2026-01", periods=2, freq="M")), {}, "are periods"),
    "sparse": (lambda: pd.Series([1.0, 2.0]).astype(pd.SparseDtype()), {}, "another kind than numpy's"),
    "an index": (lambda: pd.Index([1, 2]), {}, "immutable"),
    "a subclass": (lambda: Frame({"a": [1]}), {}, r"a plain one with the same values is pandas.DataFrame\(x\)"),
    "an unknown column": (operations.table, {"columns": ["prize"]}, "no column 'prize'; it has 'price'"),
    "a text": (operations.table, {"columns": "price"}, r"columns=\['price'\]"),
    "no columns": (operations.table, {"columns": []}, "name one at least"),
    "two of a name": (lambda: pd.DataFrame([[1, 2]], columns=["a", "a"]), {}, "2 columns are called 'a'"),
    "another option": (operations.table, {"rows": [1]}, "unknown option 'rows'"),
    "of a Series": (lambda: pd.Series([1]), {"columns": ["a"]}, "unknown option 'columns'"),
    "read-only": (lambda: pd.Series(np.frombuffer(b"12345678", "f8"), copy=False), {}, "read-only"),
}


@pytest.mark.parametrize(("make", "options", "why"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_watched_says_why(make: Any, options: Any, why: str, session: RealSession) -> None:
    value = make()
    before = core.stats().pages
    with pytest.raises((WatchError, ValueError), match=why):
        watch(value, name="x", **options)
    assert core.stats().pages == before


def test_older_pandas_is_refused(session: RealSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pd, "__version__", "2.3.1")
    with pytest.raises(WatchError, match=r"pandas 2\.3\.1 copies a column"):
        watch(pd.Series([1.0]), name="s")
