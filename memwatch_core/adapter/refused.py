"""Why a value that no serializer takes can't be watched, and what to do."""

from __future__ import annotations

from collections.abc import Sequence

from ..records import Serializer

_PLUGINS = {"numpy": "numpy", "pandas": "pandas", "pyarrow": "pyarrow", "polars": "pyarrow", "torch": "torch"}
"""Serializers of ours for the values of a library, which `pip install memwatch` doesn't bring."""


def refusal(serializers: Sequence[Serializer], value: object, name: str, why: str) -> str:
    """A sentence for the user. ``why``: the value can't be watched where it lies either."""
    loaded = "; ".join(f"{serializer.name} ({serializer.summary})" for serializer in serializers)
    kind = type(value)
    text = f"'{name}' can't be watched: no serializer takes a {kind.__module__}.{kind.__qualname__}"
    plugin = _PLUGINS.get(kind.__module__.partition(".")[0])
    if plugin is not None and not any(serializer.name == plugin for serializer in serializers):
        return (
            f"{text}; the plugin for it isn't loaded: pip install memwatch-serializer-{plugin}, and name {plugin!r} in "
            "[plugins] serializers if that is set"
        )
    if not loaded:
        return f"{text}. None is loaded: pip install memwatch, and see [plugins] serializers"
    return (
        f"{text}, and {why}. Watch its parts one by one (numbers, bytes, structs), or name a plugin for it in "
        f"[plugins] serializers. Loaded: {loaded}"
    )
