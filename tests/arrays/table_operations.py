"""Ways to write to a table, and what becomes of its watched columns: an event, the end of the watch, or nothing."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd


def table() -> Any:
    return pd.DataFrame(
        {
            "price": [5.0, 3.0, np.nan, 4.0],
            "qty": np.array([1, 2, 3, 4], "i4"),
            "when": pd.to_datetime(["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04"]),
            "open": [True, False, True, False],
            "side": [0.5, 1.5, 2.5, 3.5],
            "name": list("abcd"),
        }
    )


WATCHED = ["price", "qty", "when", "open"]


HOLDERS: dict[str, Callable[[Any], Any]] = {
    "nobody": lambda frame: None,
    "a shallow copy": lambda frame: frame.copy(deep=False),
    "each Series": lambda frame: [frame[name] for name in frame],
    "some columns": lambda frame: frame[WATCHED],
    "a table made of it": lambda frame: frame.assign(more=1),
    "another name": lambda frame: frame.rename(columns={"price": "p"}),
    "rows": lambda frame: frame.iloc[1:],
    "a transposed one": lambda frame: frame[["price"]].T,
}
"""Who shares the memory of a table's columns meanwhile; pandas copies what is written to then."""


class Way(NamedTuple):
    """What one statement does to a table. ``run`` may return another one, which the program goes on with."""

    run: Callable[[Any], Any]
    told: tuple[str, ...] = ()
    """Parts that changed, in order."""
    moved: str = ""
    """Columns whose watch ends with ``moved``, separated by spaces."""
    deleted: str = ""


def _row(frame: Any) -> None:
    frame.loc[9] = [1.0, 2, pd.Timestamp("2026-01-05"), True, 1.0, "e"]


def _iloc(frame: Any) -> None:
    frame.iloc[:, 0] = [1.0, 2.0, 3.0, 4.0]


def _where(frame: Any) -> None:
    frame.where(frame["qty"] > 2, frame.iloc[::-1].set_axis(frame.index), inplace=True)


def _each(frame: Any) -> None:
    for label in frame.index:
        frame.loc[label, "qty"] = 9


def _eval(frame: Any) -> None:
    frame.eval("price = price + 1", inplace=True)


def _mask(frame: Any) -> None:
    frame.loc[frame.qty > 2, "price"] = 0


def _pop(frame: Any) -> None:
    frame.pop("qty")


def _delete(frame: Any) -> None:
    del frame["qty"]


def _columns(frame: Any) -> None:
    frame.columns = ["p", "q", "w", "o", "s", "n"]


def _index(frame: Any) -> None:
    frame.index = list("wxyz")


def _add(frame: Any) -> None:
    frame["price"] += 1


def _loc_add(frame: Any) -> None:
    frame.loc[:, "price"] += 1


def _new(frame: Any) -> None:
    frame["more"] = frame["price"] * 2


def _own(frame: Any) -> None:
    frame["price"] = frame["price"]


def _attribute(frame: Any) -> None:
    frame.price = 5.0


def _chained(frame: Any) -> None:
    with pd.option_context("mode.chained_assignment", None):
        frame["price"][0] = 1.0


def _held(frame: Any) -> Any:
    held = frame["price"]
    frame.loc[0, "price"] = 1.0
    return held


def _series(frame: Any) -> Any:
    held = frame["price"]
    held.iloc[0] = 1.0


def _held_frame(frame: Any) -> Any:
    held = frame[["price", "qty"]]
    frame.iloc[0, 1] = 7
    return held


WAYS: dict[str, Way] = {
    "loc": Way(lambda f: f.loc.__setitem__((1, "price"), 9.0), (".price[1]",)),
    "loc, a mask": Way(_mask, (".price[2:4]",)),
    "loc, a slice": Way(lambda f: f.loc.__setitem__((slice(1, 2), "qty"), 9), (".qty[1]", ".qty[2]")),
    "loc, a row": Way(lambda f: f.loc.__setitem__((1, ["price", "side"]), [9.0, 8.0]), (".price[1]",)),
    "loc, in a loop": Way(_each, (".qty[0]", ".qty[1]", ".qty[2]", ".qty[3]")),
    "loc, another dtype": Way(lambda f: f.loc.__setitem__((slice(None), "qty"), np.arange(4) + 0.0), (".qty[0:4]",)),
    "loc, added to": Way(_loc_add, (".price[0:4]",)),
    "loc, a new row": Way(_row, (), "price qty when open"),
    "iloc": Way(lambda f: f.iloc.__setitem__((1, 1), 9), (".qty[1]",)),
    "iloc, a list": Way(lambda f: f.iloc.__setitem__(([0, 3], 0), [9.0, 8.0]), (".price[0]", ".price[3]")),
    "iloc, a column": Way(_iloc, (".price[0]", ".price[1]", ".price[2]")),
    "at": Way(lambda f: f.at.__setitem__((2, "price"), 9.0), (".price[2]",)),
    "at, a time": Way(lambda f: f.at.__setitem__((2, "when"), pd.Timestamp("2027-01-01")), (".when[2]",)),
    "iat": Way(lambda f: f.iat.__setitem__((0, 3), False), (".open[0]",)),
    "the same value": Way(lambda f: f.at.__setitem__((0, "price"), 5.0)),
    "update": Way(lambda f: f.update(pd.DataFrame({"price": [9.0]}, index=[1])), (".price[1]",)),
    "a column": Way(lambda f: f.__setitem__("price", 5.0), (), "price"),
    "a column, added to": Way(_add, (), "price"),
    "a column, by attribute": Way(_attribute, (), "price"),
    "a column, by itself": Way(_own),
    "a column, by isetitem": Way(lambda f: f.isetitem(1, [1, 2, 3, 4]), (), "qty"),
    "a new column": Way(_new),
    "a new column, inserted": Way(lambda f: f.insert(0, "more", 1)),
    "assign": Way(lambda f: f.assign(price=1)),
    "eval": Way(_eval, (), "price"),
    "chained": Way(_chained),
    "a Series of it": Way(_series),
    "a Series of it is held": Way(_held, (), "price"),
    "columns of it are held": Way(_held_frame, (), "qty"),
    "fillna": Way(lambda f: f.fillna({"price": 0.0}, inplace=True), (".price[0:4]",)),
    "where": Way(_where, (), "price qty when open"),
    "mask": Way(lambda f: f["price"].mask(f["qty"] > 2, 0, inplace=True)),
    "replace": Way(lambda f: f.replace({"price": {3.0: 9.0}}, inplace=True), (), "price"),
    "clip": Way(lambda f: f["price"].clip(4.0, inplace=True)),
    "dropna": Way(lambda f: f.dropna(inplace=True), (), "price qty when open"),
    "sort_values": Way(lambda f: f.sort_values("price", inplace=True), (), "price qty when open"),
    "sort_index": Way(lambda f: f.sort_index(ascending=False, inplace=True), (), "price qty when open"),
    "sort_index, sorted": Way(lambda f: f.sort_index(inplace=True)),
    "reset_index": Way(lambda f: f.reset_index(drop=True, inplace=True)),
    "set_index": Way(lambda f: f.set_index("name", inplace=True)),
    "rename": Way(lambda f: f.rename(columns={"price": "p"}, inplace=True)),
    "columns": Way(_columns),
    "index": Way(_index),
    "pop": Way(_pop, (), "", "qty"),
    "del": Way(_delete, (), "", "qty"),
    "drop": Way(lambda f: f.drop(columns=["price", "side"], inplace=True), (), "", "price"),
    "drop, rows": Way(lambda f: f.drop(index=[1], inplace=True), (), "price qty when open"),
    "copy": Way(lambda f: f.copy().__setitem__("price", 1)),
    "copy, written": Way(lambda f: f.copy().at.__setitem__((0, "price"), 1.0)),
    "copy.copy": Way(lambda f: copy.copy(f).at.__setitem__((0, "price"), 1.0)),
    "copy.deepcopy": Way(lambda f: copy.deepcopy(f).at.__setitem__((0, "price"), 1.0)),
    "pickle": Way(lambda f: pickle.loads(pickle.dumps(f)).at.__setitem__((0, "price"), 1.0)),
    "concat": Way(lambda f: pd.concat([f, f], axis=1).iat.__setitem__((0, 0), 1.0)),
    "merge": Way(lambda f: f.merge(f, on="qty")),
    "groupby, apply": Way(lambda f: f.groupby("open")[["price", "qty"]].apply(lambda g: g.sum())),
    "groupby, transform": Way(lambda f: f.groupby("open")["price"].transform("mean")),
    "apply": Way(lambda f: f["price"].apply(abs)),
    "describe": Way(lambda f: f.describe()),
    "values": Way(lambda f: f.values),
    "corr, sum, quantile": Way(lambda f: (f[["price", "side"]].corr(), f["price"].sum(), f["price"].quantile())),
    "rolling": Way(lambda f: f[["price", "side"]].rolling(2).mean()),
    "T": Way(lambda f: f[["price", "side"]].T.iat.__setitem__((0, 0), 1.0)),
    "iterrows": Way(lambda f: list(f.iterrows())),
    "query": Way(lambda f: f.query("qty > 2").at.__setitem__((3, "price"), 1.0)),
    "repr": Way(repr),
    "to_csv": Way(lambda f: f.to_csv()),
    "shift": Way(lambda f: f.shift(1)),
    "astype": Way(lambda f: f.astype({"qty": "i8"})),
}  # fmt: skip
