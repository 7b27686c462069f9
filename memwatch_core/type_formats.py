"""Templates of :class:`~memwatch_core.records.TypeFormat`, taken apart and checked; for the code that fills them in."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from keyword import iskeyword

from .records import TypeFormat

FORMS = ("", "text", "member", "uuid", "ipv4", "ipv6", "path")
"""As in python/places/declared.c, in its order."""
Piece = str | tuple[int, tuple[str, ...]]
"""Text; or the number of a form, and the names that lead to a part: none of them for the class."""
Declared = tuple[str, str, bool, tuple[tuple[Piece, ...], ...]]
_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_CLASS = "class"


def declared(formats: Iterable[TypeFormat]) -> tuple[Declared, ...]:
    """What ``native.proxy.declare_types`` takes. Raises ValueError: a format that is none."""
    return tuple(map(_declared, formats))


def _declared(written: TypeFormat) -> Declared:
    module, _, name = written.name.rpartition(".")
    if not module or not all(_is_name(part) for part in written.name.split(".")):
        raise ValueError(f"{written.name!r} is no dotted name of a type, such as 'uuid.UUID'")
    if isinstance(written.templates, str) or not written.templates:
        raise ValueError(f"templates of {written.name} must be a tuple of one or more: ({written.templates!r},)")
    templates = tuple(tuple(_pieces(template)) for template in written.templates)
    return sys.intern(module), sys.intern(name), bool(written.subclasses), templates


def _pieces(template: str) -> Iterator[Piece]:
    at, text = 0, ""
    for token in _TOKEN.finditer(template):
        text += template[at : token.start()]
        at = token.end()
        if token[1] is None:
            if len(token[0]) == 1:
                raise ValueError(f"template {template!r}: {token[0]} stands alone; double it if it is text")
            text += token[0][0]
            continue
        if text:
            yield text
        text = ""
        yield _part(template, token[1])
    if text + template[at:]:
        yield text + template[at:]


def _part(template: str, token: str) -> Piece:
    path, _, form = token.partition(":")
    names = tuple(map(sys.intern, path.split(".")))
    if form not in FORMS:
        raise ValueError(f"template {template!r}: no form is called {form!r}; there are {', '.join(FORMS[1:])}")
    if names == (_CLASS,) and not form:
        return 0, ()
    if not all(map(_is_name, names)):
        raise ValueError(f"template {template!r}: {path!r} is no name of a slot or an attribute")
    return FORMS.index(form), names


def _is_name(name: str) -> bool:
    return name.isidentifier() and not iskeyword(name)
