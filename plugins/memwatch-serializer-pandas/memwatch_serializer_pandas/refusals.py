"""Which tables and columns can't be watched, why, and what to do instead."""

from __future__ import annotations

import sys
from typing import Any

from memwatch_core.kinds import name_of

from .columns import array_of

OLDEST = 3
"""Older versions copy a column when a DataFrame is given it."""
_PLAIN = "a plain one with the same values is"
_LIBRARY_TYPES = {
    "CategoricalDtype": "its values are codes of a list of categories: watch these as a column of their own, "
    "df['codes'] = df['x'].cat.codes",
    "DatetimeTZDtype": "its values have a time zone, and are kept by pandas as times without: .dt.tz_localize(None)",
    "PeriodDtype": "its values are periods: .dt.to_timestamp() makes times of them",
}


def of_value(value: Any, kind: str) -> str | None:
    """Because of its type, or of the version of pandas."""
    if kind == "Index":
        return "an Index is immutable, and nobody writes to it: watch a Series, or an array of numpy"
    library = sys.modules["pandas"]
    if type(value) is not getattr(library, kind):
        return f"a {name_of(type(value))} is more than its values: {_PLAIN} pandas.{kind}(x)"
    major = str(library.__version__).partition(".")[0]
    if not major.isdigit() or int(major) < OLDEST:
        return (
            f"pandas {library.__version__} copies a column when a DataFrame is given it: pip install 'pandas>={OLDEST}'"
        )
    return None


def of_column(series: Any) -> str | None:
    """Because of what its values are, and where they lie."""
    array = array_of(series._values)
    if array is None:
        kind = name_of(type(series.dtype))
        remedy = _LIBRARY_TYPES.get(kind)
        if remedy is None:
            remedy = (
                "its values lie in arrays of another kind than numpy's, which pandas replaces: give it a dtype of "
                "numpy's, as in df['x'].astype('float64')"
            )
        return f"of dtype {series.dtype}, {remedy}"
    if array.dtype.hasobject:
        return (
            "its values are references to objects, whose contents lie elsewhere: give it a dtype of numbers "
            "(.astype('float64')), or watch the objects"
        )
    if array.dtype.kind not in "biufcmM":
        return f"of dtype {series.dtype}, its values aren't numbers or times"
    if not array.flags.writeable:
        return "its values are read-only, and pandas refuses to write to them: watch a copy, .copy()"
    return None
