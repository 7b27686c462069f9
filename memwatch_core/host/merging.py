"""Events that one statement made, as one record.

The store loop finds them (memwatch_core/journal/native/reader_merging.h); here, what it has found is given names and
values. docs/decisions/one-line.md says when a run of events ends, and where its line stands.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from ..records import Event, Items, Merged, Range, Record, Serializer, Span

GAP_NS = 200_000_000
"""A run ends when its thread hasn't stored for so long. On a machine that is busy, a thread may not run for a while."""
NAMED = 3
"""Limit of pieces that a name lists."""

Bounds = tuple[bytes, bytes, bytes, bool, bool]
"""The bytes of the first item, of the least and of the greatest (empty: all are NaN); whether all are the same; whether
some are NaN."""


class Facts(NamedTuple):
    """What the store loop says of a run."""

    time: int
    last_seq: int
    stores: int
    changed: int
    size: int
    """Bytes that they wrote together."""
    spans: tuple[tuple[int, int, tuple[int, int], tuple[int, int]], ...]
    """Start, length, (stride, count) twice."""
    start: int
    stop: int
    old: Bounds | None
    new: Bounds | None
    one_place: bool
    """Whether all stores were to the same bytes."""
    one_old: bool
    one_new: bool
    """Whether all found, or left, the same bytes."""
    once: bool
    """Whether no byte was written twice, for certain."""
    last_offset: int
    last_new: bytes
    """Where the last store was, and what it left; empty if that isn't known."""
    old_image: bytes | None
    new_image: bytes | None
    """What the bytes from the first store's on were before and after it all, as far as they were written; None: they
    are too many, or weren't written upwards."""


class About(NamedTuple):
    """A variable whose stores are merged."""

    serializer: Serializer
    options: Mapping[str, Any]
    items: Items | None


class Told(msgspec.Struct, frozen=True):
    """A line, where each event is given out as well."""

    time_ns: int
    record: Record


class Merging(NamedTuple):
    """How to merge."""

    each: bool = False
    """Whether each event is given out as well; then the lines are :class:`Told`."""
    keep: Callable[[Event], bool] | None = None
    """Which events to merge, and to give out at all; None: all."""


def tell(record: Record) -> Told:
    """A line."""
    return Told(record.time_ns, record)


def about(serializer: Serializer, options: Mapping[str, Any]) -> About | None:
    """What lines of a variable are told with; None: it is no array, so each of its stores is a line."""
    items = None
    if serializer.items is not None:
        try:
            items = serializer.items(options)
        except Exception:  # a journal's options may be anything
            items = None
    if serializer.part is None or (items is None and serializer.region is None):
        return None
    return About(serializer, options, items)


def may_merge(event: Event) -> bool:
    """Whether an event may be a part of a run. It may be none nevertheless."""
    return event.origin == "store" and event.part is not None and event.operation is None


def merged(about: About, first: Event, facts: tuple[Any, ...]) -> Merged:
    """The record of a run. Never raises, whatever a serializer does."""
    said = Facts(*facts)
    spans = tuple(map(_span, said.spans))
    name, elements, is_one_kind = _named(about, spans, said)
    size = sum(span.bytes for span in spans) // elements if elements and is_one_kind else 0
    old, new = _values(about, first, said, spans, size)
    return Merged(
        said.time, first, said.last_seq, said.stores, said.changed, said.size, name, said.start, said.stop, spans,
        elements, old, new,
    )  # fmt: skip


def _span(raw: tuple[int, int, tuple[int, int], tuple[int, int]]) -> Span:
    """A span whose strides are positive."""
    start, length, *pairs = raw
    strides = []
    for stride, count in pairs:
        if count > 1:
            start += min(0, stride * (count - 1))
            strides.append((abs(stride), count))
    return Span(start, length, tuple(sorted(strides)))


# ---- names ----------------------------------------------------------------------------------------------------------


def _named(about: About, spans: tuple[Span, ...], said: Facts) -> tuple[str, int | None, bool]:
    """What was written, how many elements that is, and whether its serializer says that they are of one kind."""
    serializer, items = about.serializer, about.items
    if spans and serializer.region is not None:
        try:
            found = serializer.region(spans, about.options)
            if found is not None and type(found[0]) is str:
                return found[0], None if found[1] is None else int(found[1]), found[1] is not None
        except Exception:  # the next best name
            pass
    written = sum(span.bytes for span in spans) if spans else said.size if said.once else None
    elements = None
    if items is not None and said.new is not None and written is not None:
        elements = written // struct.calcsize(items.format)
    if not spans:
        return _part(about, said.start, said.stop), elements, False
    names = [name for span in spans[:NAMED] for name in _names(about, span)]
    return ", ".join(names) + (", …" if len(spans) > NAMED else ""), elements, False


def _names(about: About, span: Span) -> list[str]:
    """What a span is called: one name, or the first ones and the last."""
    items = about.items
    if items is not None and about.serializer.region is None and len(span.strides) == 1:
        size, ((stride, count),) = struct.calcsize(items.format), span.strides
        if span.length == size and stride % size == 0 and (span.start - items.start) % size == 0:
            first = (span.start - items.start) // size
            return [f"[{first}:{first + (count - 1) * stride // size + 1}:{stride // size}]"]
    starts = [span.start]
    for stride, count in span.strides:
        few = [*range(min(2, count)), *([count - 1] if count > 2 else [])]
        starts = [start + at * stride for at in few for start in starts]
    names = [_part(about, start, start + span.length) for start in sorted(starts)]
    return names if len(names) < NAMED else [*names[:2], "…", names[-1]] if _many(span) else names


def _many(span: Span) -> bool:
    count = span.bytes // span.length
    return count > NAMED


def _part(about: About, start: int, stop: int) -> str:
    """The name of a part, by its serializer; of one that has none, the range of bytes."""
    serializer = about.serializer
    try:
        assert serializer.part is not None
        heads = [b"", b""] if serializer.head else []
        found = serializer.part(start, stop, about.options, *heads)
        if found is not None and type(found.name) is str:
            return found.name
    except Exception:  # a name nevertheless
        pass
    return f"[{start}:{stop}]"


# ---- values ---------------------------------------------------------------------------------------------------------


def _values(
    about: About, first: Event, said: Facts, spans: tuple[Span, ...], size: int
) -> tuple[Range | None, Range | None]:
    """What was found and left. ``size``: of the elements, which are of one kind; 0: that isn't known."""
    if about.items is not None:
        return _range(about.items, said.old), _range(about.items, said.new)
    part = first.part
    if part is None or (part.old is None and part.new is None):
        return None, None
    if said.one_place:
        new = _decoded(about, said.last_offset, said.last_new) if said.last_new and not said.one_new else part.new
        return _all(part.old), _all(new)
    several, rest = divmod(len(first.after), size) if size else (0, 0)
    old = new = None
    if several and not rest:
        old = _all(_one_of(part.old, several) if said.one_old else None)
        new = _all(_one_of(part.new, several) if said.one_new else None)
    at = [*_starts(spans, size)] if size and said.old_image and said.new_image and (not old or not new) else []
    return old or _listed(about, at, size, first.offset, said.old_image), new or _listed(
        about, at, size, first.offset, said.new_image
    )


def _starts(spans: tuple[Span, ...], size: int) -> Iterator[int]:
    """Where elements begin."""
    for span in spans:
        starts = [span.start]
        for stride, count in span.strides:
            starts = [start + at * stride for start in starts for at in range(count)]
        for start in starts:
            yield from range(start, start + span.length, size)


def _listed(about: About, starts: list[int], size: int, base: int, image: bytes | None) -> Range | None:
    """The range of few elements, of which all bytes are known: from ``base`` on."""
    values = [_decoded(about, at, image[at - base : at - base + size]) for at in starts] if image else []
    if not values or any(value is None for value in values):
        return None
    if len(set(map(repr, values))) == 1:
        return _all(values[0])
    if not all(isinstance(value, int | float) for value in values):
        return None
    known = [value for value in values if value == value]
    return Range(min(known), max(known), False, len(known) < len(values))


def _all(value: Any) -> Range | None:
    """The range of items that are all the same."""
    return None if value is None else Range(value, value, True)


def _one_of(value: Any, count: int) -> Any:
    """The value that all of so many elements of a store have, which are listed; None: they aren't the same."""
    if count == 1:
        return value
    values = [value]
    while values and len(values) < count and all(isinstance(each, list) for each in values):
        values = [inner for each in values for inner in each]
    return values[0] if len(values) == count and len(set(map(repr, values))) == 1 else None


def _range(items: Items, bounds: Bounds | None) -> Range | None:
    if bounds is None:
        return None
    first, low, high, same, nan = bounds
    one = _number(items, first)
    if same or not low:
        return Range(one, one, same, nan)
    return Range(_number(items, low), _number(items, high), False, nan)


def _number(items: Items, data: bytes) -> Any:
    return struct.unpack(f"<{items.format}", data)[0] if items.decode is None else items.decode(data)


def _decoded(about: About, start: int, data: bytes) -> Any:
    """The value of a part that is exactly these bytes; None if there is no such part."""
    try:
        assert about.serializer.part is not None
        heads = [b"", b""] if about.serializer.head else []
        found = about.serializer.part(start, start + len(data), about.options, *heads)
        exact = found is not None and (found.start, found.stop) == (start, start + len(data))
        return found.decode(data) if exact and found is not None else None
    except Exception:
        return None
