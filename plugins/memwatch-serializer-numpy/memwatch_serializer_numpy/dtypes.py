"""numpy's dtypes as JSON that :mod:`memwatch_plugins.arrays` reads."""

from __future__ import annotations

from typing import Any


def described(dtype: Any) -> Any:
    """``"<f8"``; of a record each field with its offset; of an array within an element, its items and its shape."""
    if dtype.subdtype is not None:
        item, shape = dtype.subdtype
        return [described(item), list(shape)]
    if dtype.names is not None:
        fields = [[name, described(dtype.fields[name][0]), dtype.fields[name][1]] for name in dtype.names]
        return {"fields": fields, "size": dtype.itemsize}
    return dtype.str
