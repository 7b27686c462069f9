"""Why a value that no serializer takes can't be watched, and what to do."""

from __future__ import annotations

from collections.abc import Sequence

from ..kinds import bases_of, module_of, name_of, qualified_name_of
from ..records import Serializer

_PLUGINS = {
    ("numpy", "ndarray"): "numpy",
    ("_ctypes", "_CData"): "ctypes",
    ("pandas", "DataFrame"): "pandas",
    ("pandas", "Series"): "pandas",
    ("torch", "Tensor"): "torch",
    ("pyarrow.lib", "Buffer"): "pyarrow",
}
"""Serializers of ours for types that `pip install memwatch` doesn't bring them for."""


def refusal(serializers: Sequence[Serializer], value: object, name: str, why: str) -> str:
    """A sentence for the user. ``why``: the value can't be watched where it lies either."""
    loaded = "; ".join(f"{serializer.name} ({serializer.summary})" for serializer in serializers)
    kind = type(value)
    text = f"'{name}' can't be watched: no serializer takes a {qualified_name_of(kind)}"
    plugins = (_PLUGINS.get((module_of(base), name_of(base))) for base in bases_of(kind))
    plugin = next(filter(None, plugins), None)
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
