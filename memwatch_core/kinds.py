"""What a type says of itself, read without its metaclass: no code of the program's runs, and nothing raises."""

from __future__ import annotations

from typing import Any

bases_of = type.__dict__["__mro__"].__get__
"""The type and its bases, in the order in which attributes are looked up."""
_module_of = type.__dict__["__module__"].__get__
_name_of = type.__dict__["__name__"].__get__
_qualified_name_of = type.__dict__["__qualname__"].__get__


def module_of(kind: type) -> str:
    """The module that it says it is of; empty: none."""
    try:
        module: Any = _module_of(kind)
    except AttributeError:
        return ""
    return module if type(module) is str else ""


def name_of(kind: type) -> str:
    """Its name, without that of its module."""
    return str.__str__(_name_of(kind))


def qualified_name_of(kind: type) -> str:
    """``module.Outer.Inner``."""
    name = str.__str__(_qualified_name_of(kind))
    module = module_of(kind)
    return f"{module}.{name}" if module else name
