"""Texts of a journal without the values in them: what :mod:`.stripped` puts into records that have a text."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from ..records import Context, Request
from . import layout
from .layout import Kind

_DIGITS = 8
_TYPE = re.compile(r"[^\W\d]\w*(\.\w+)*(, [\d,]+ of the objects in it are not followed \(max_objects=\d+\))?")
_NAMES = re.compile(r"[\w.<>]*")
_SECRET = re.compile("{<secret [0-9a-f]{12}>}")
_NAME = re.compile(r"\.([^\W\d]\w*|\?)")
_QUOTES = frozenset("\"'")
_OPEN, _CLOSE = "[{(", "]})"


class What(NamedTuple):
    """What is taken out besides values."""

    key: bytes
    """16 bytes, for hashes; the same for all journals of a session."""
    keys: bool = False
    """Keys of dicts that aren't whole numbers."""
    labels: bool = False
    """Labels, names of tasks, ids of traces."""

    def digits(self, text: str, most: int) -> str:
        """Hexadecimal digits that stand for a text."""
        return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), key=self.key).hexdigest()[: max(0, most)]


def without_values(kind: int, payload: bytes, room: int, what: What) -> bytes:
    """The payload of a record of a kind, as long as it has room for."""
    try:
        if kind == Kind.PLACE:
            head, path = payload[: layout.PLACE.size], payload[layout.PLACE.size :].decode("utf-8", "surrogatepass")
            return head + _path(path, room - len(head), what)
        if kind == Kind.ALIAS:
            return _aliases(payload, room, what)
        if kind == Kind.NOT_FOLLOWED:
            size = layout.NOT_FOLLOWED.size
            count, why, length, unused = layout.head_of(payload[:size], layout.NOT_FOLLOWED)
            name = payload[size : size + length].decode()
            if not 0 < count < 1 << 32 or why not in layout.NOT_FOLLOWED_WHY or unused or not _NAMES.fullmatch(name):
                return b""  # of another kind, that is damaged
            size += length
            return payload[:size] + _path(payload[size:].decode("utf-8", "surrogatepass"), room - size, what)
        said = json.loads(payload)
        if not isinstance(said, dict):
            return b"{}"
        for changed in _JSON[kind](said, what):
            text = json.dumps(changed, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
            if len(text) <= room:
                return text
    except (ValueError, RecursionError):
        pass
    return b"{}" if kind in _JSON else b""


def _metadata(said: dict[str, Any], what: What) -> Iterator[dict[str, Any]]:
    shown = said.get("shown")
    if shown is not None and not (said.get("type") is True and isinstance(shown, str) and _TYPE.fullmatch(shown)):
        said["shown"] = "a value"  # a member of an enum is written as a type would be
    for key in ("name", "path"):
        if isinstance(said.get(key), str):
            said[key] = rooted(said[key], 4 * len(said[key]), what).decode("utf-8", "surrogatepass")
    if "site" in said:
        said["site"] = _plain(said["site"], _SITE) if isinstance(said["site"], dict) else None
    yield {key: said[key] for key in _KNOWN if key in said}
    yield {key: said[key] for key in ("name", "serializer", "options", "size", "cells", "first") if key in said}


_KNOWN = (
    "name", "serializer", "options", "size", "path", "thread_ident", "thread", "site", "cells", "first", "shown",
    "type",
)  # fmt: skip
_SITE = ("file", "line", "column", "function")


def _context(said: dict[str, Any], what: What) -> Iterator[dict[str, Any]]:
    """The statement has no literals. Hashes of it and of parameters, and these if they are plain, get other hashes."""
    parameters = said.pop("parameters", None)
    said = _plain(said, Context.__struct_fields__)
    if isinstance(said.get("statement_hash"), str):
        said["statement_hash"] = what.digits(said["statement_hash"], len(said["statement_hash"]))
    if isinstance(parameters, list):
        yield said | {"parameters": [what.digits(str(each), 16) for each in parameters]}
        yield said | {"parameters": [what.digits(str(each), min(16, len(str(each)))) for each in parameters]}
    yield said


def _plain(said: dict[str, Any], known: Iterable[str]) -> dict[str, Any]:
    """What has a known key, and isn't several."""
    return {key: said[key] for key in known if key in said and not isinstance(said[key], list | dict)}


_OUTCOME = ("outcome", "rows", "ended", "transaction", "autocommit", "scope", "since")


def _outcome(said: dict[str, Any], what: What) -> Iterator[dict[str, Any]]:
    yield _plain(said, _OUTCOME)


def _request(said: dict[str, Any], what: What) -> Iterator[dict[str, Any]]:
    outer = said.pop("outer", None)
    said = _plain(said, Request.__struct_fields__)
    if isinstance(outer, list):
        said["outer"] = [str(each) for each in outer]
    if what.labels:
        for key, value in said.items():
            if isinstance(value, list):
                said[key] = [what.digits(each, len(each)) for each in value]
            else:
                said[key] = what.digits(str(value), len(str(value)))
    yield said


_JSON: dict[int, Callable[[dict[str, Any], What], Iterator[dict[str, Any]]]] = {
    Kind.METADATA: _metadata,
    Kind.CONTEXT: _context,
    Kind.OUTCOME: _outcome,
    Kind.REQUEST: _request,
}


def _aliases(payload: bytes, room: int, what: What) -> bytes:
    names, at, made = layout.ALIAS_NAME, layout.ALIAS.size, payload[: layout.ALIAS.size]
    while at + names.size <= len(payload):
        ident, length = names.unpack_from(payload, at)
        at += names.size
        path = payload[at : at + length].decode("utf-8", "replace")
        spare = room - len(made) - (len(payload) - at - length) - names.size
        text = _path(path, max(length, spare), what)[:room]
        made += names.pack(ident, len(text)) + text
        at += length
    return made[:room]


# ---- paths ----------------------------------------------------------------------------------------------------------


def _depths(path: str) -> Iterator[tuple[int, str, int]]:
    """Each character outside of quotes: where it is, and how many brackets are open behind it."""
    depth = 0
    quote = ""
    skip = False
    for at, character in enumerate(path):
        if skip:
            skip = False
        elif quote:
            skip = character == "\\"
            quote = "" if character == quote else quote
        elif character in _QUOTES and depth:
            quote = character
        else:
            depth += (character in _OPEN) - (character in _CLOSE and depth > 0)
            yield at, character, depth


def parts_of(path: str) -> Iterator[str]:
    """The steps of a path: ``.age``, ``["db"]``, ``[3]``, ``{'a'}``; what is left of one that is cut off."""
    start = before = 0
    for at, character, depth in _depths(path):
        if not before and at > start and character in ".[{":
            yield path[start:at]
            start = at
        before = depth
    if start < len(path):
        yield path[start:]


def rooted(path: str, room: int, what: What) -> bytes:
    """A name, and the path behind it, without what :func:`_path` takes out of that."""
    name = next((step for step in parts_of(path) if step[0] not in ".[{"), "")
    head = name.encode("utf-8", "surrogatepass")[:room]
    return head + _path(path[len(name) :], room - len(head), what)


def _path(path: str, room: int, what: What) -> bytes:
    """A path without members of sets, without keys if they are taken out, and without what is no step: of a damaged
    record, it may be either."""
    steps = [*parts_of(path)]
    for digits in range(_DIGITS, -1, -1):
        text = "".join(_step(step, digits, what) for step in steps).encode("utf-8", "surrogatepass")
        if len(text) <= room:
            return text
    return text[:room]


def _step(step: str, digits: int, what: What) -> str:
    if _SECRET.fullmatch(step) or _NAME.fullmatch(step):
        return step
    if not step.startswith("["):
        return f"{{#{what.digits(step, digits)}}}" if digits else "{}"
    is_key = step.endswith("]") and _is_closed(step)  # a long one is cut off
    if is_key and (step[1:-1].isdecimal() or not what.keys):
        return step
    return f'["#{what.digits(step, digits)}"]' if digits else '[""]'


def _is_closed(step: str) -> bool:
    """Whether its bracket is closed at its end, and no sooner."""
    return next((at for at, _, depth in _depths(step) if not depth), None) == len(step) - 1
