"""The variables of one journal: registered, described, announced to sinks, unregistered.

METADATA is JSON that an adapter writes. Unknown keys are ignored, all keys are optional, and the last METADATA counts.
A variable is announced at its first METADATA, or at its first store::

    {"name": "total",                 # "variable <id>" if left out
     "serializer": "int64",           # name of a Serializer; "" (or left out): the value is its bytes
     "options": {},                   # Layout.options, handed to Serializer.decode
     "size": 8,                       # bytes of the value, if fewer than were registered
     "path": null,                    # of an object that is watched field by field: "orders[0].qty"
     "thread_ident": 140241, "thread": "MainThread",                     # the caller of watch()
     "site": {"file": "orders.py", "line": 41, "function": "main"},      # the call of watch(); or null
     "cells": 64,                     # only of an object watched in place: bytes of the cell of each place
     "first": 12,                     # only of its later slabs: id of its first one, under which they are reported
     "shown": "Order",                # only of an object watched in place: its type, as text; of a place, its value
     "type": true}                    # that is a type: copies without values keep it
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from ..journal import layout
from ..journal.followed import DECODED
from ..journal.layout import DEPTH_FULL, ENDS, FLAGS
from ..journal.records import RawRecord
from ..journal.stores import MergingStores, PythonStores
from ..records import Extent, Items, Serializer, Shown, Site, Unfollowed, Unwatched, Variable, Watched
from ..structs import number
from .batch import Batch
from .digests import Known
from .kept import Share, cut
from .merging import about
from .places import aliases, not_followed, place, weight
from .secrets import hidden

VALUE_LIMIT = 1 << 16
"""Larger values, in bytes, are never decoded as a whole: only the part that a store touched is."""
BEGINNING = 1024
"""Bytes of a large value that are decoded when it is announced."""
BATCH_RECORDS = 4096
"""Limit of variables announced at once, at the end of a journal."""


class Metadata(msgspec.Struct):
    """An adapter's description of a variable."""

    name: str = ""
    serializer: str = ""
    options: dict[str, Any] = {}
    size: int | None = None
    path: str | None = None
    thread_ident: int = 0
    thread: str = ""
    site: Site | None = None
    cells: int | None = None
    first: int | None = None
    shown: str = ""
    type: bool = False


class _Watch:
    """A registered variable, and whether sinks know it."""

    __slots__ = (
        "aliases",
        "announced",
        "by_parts",
        "depth",
        "described",
        "first",
        "flags",
        "followed",
        "lead",
        "metadata",
        "places",
        "registered",
        "repeated",
        "shown",
        "time",
        "told",
        "weight",
    )  # fmt: skip

    def __init__(self, time: int, size: int, flags: int, depth: tuple[int, int], repeated: bool = False) -> None:
        self.time, self.registered, self.flags, self.depth = time, size, flags, depth
        self.repeated = repeated
        """Its first value isn't in the journal any more."""
        self.told: set[int] | None = None
        """The pages whose contents were recorded, if that is done before their first store."""
        self.lead = 0
        """Bytes before it on its first page."""
        self.metadata = Metadata()
        self.by_parts = False
        """Whether its serializer shows parts alone."""
        self.described = 0
        self.announced = False
        self.followed = self.weight = self.places = 0
        """Bytes of memory that its value, its metadata, and the paths of its places take, as counted by
        :class:`Share`."""
        self.aliases: dict[int, int] = {}
        """For each place that has other names, by the offset of its cell: the memory that those take."""
        self.first: int | None = None
        """Id of the object's first slab, if this is a later one."""
        self.shown: Variable | None = None

    @property
    def size(self) -> int:
        """Bytes of the value."""
        size = self.metadata.size
        return self.registered if size is None or self.is_slab else max(0, min(size, self.registered))

    @property
    def is_large(self) -> bool:
        """Whether it isn't decoded as a whole."""
        return self.size > VALUE_LIMIT or self.told is not None or self.by_parts

    @property
    def is_slab(self) -> bool:
        """Whether it holds the places of an object, in cells of the size that this version knows."""
        return self.metadata.cells == layout.CELL_SIZE


_metadata = msgspec.json.Decoder(Metadata)


class Variables:
    """Defines variables for the store loop, which decodes their stores, and announces them to sinks."""

    def __init__(
        self,
        pid: int,
        runtime: str,
        journal: str,
        stores: PythonStores,
        share: Share,
        serializers: Mapping[str, Serializer],
    ) -> None:
        self._pid, self._runtime, self._journal = pid, runtime, journal
        self._stores, self._share, self._serializers = stores, share, serializers
        self._merging: MergingStores | None = None
        self._watches: dict[int, _Watch] = {}
        self._last = 0
        self._rest: Iterator[tuple[int, _Watch]] | None = None

    def __iter__(self) -> Iterator[int]:
        """Ids of the variables watched now."""
        return iter(self._watches)

    def __len__(self) -> int:
        return len(self._watches)

    def name(self, ident: int) -> str | None:
        """The variable's name; None if unknown (any more)."""
        shown = self.shown(ident)
        return None if shown is None else shown.name

    def shown(self, ident: int) -> Variable | None:
        """The variable as sinks know it; None if unknown (any more)."""
        watch = self._watches.get(ident)
        return None if watch is None else watch.shown

    def watched(self) -> Iterator[tuple[Variable, str | None, int]]:
        """Of each variable watched now: what sinks know of it, its path, and the id that its events carry."""
        for ident, watch in self._watches.items():
            if watch.shown is not None:
                path = watch.metadata.path
                yield watch.shown, None if path is None else cut(path), ident if watch.first is None else watch.first

    def known(self, ident: int) -> Known | None:
        """A variable that was announced; None: it wasn't, or has ended."""
        watch = self._watches.get(ident)
        if watch is None or not watch.announced or watch.shown is None:
            return None
        first = watch if watch.first is None else self._watches.get(watch.first, watch)
        shown = watch.shown if first.shown is None else first.shown
        is_flat = not watch.is_slab and watch.first is None and watch.metadata.path is None
        return Known(shown.name, shown.id if watch.first is not None else ident, is_flat, bool(watch.aliases))

    def is_covered(self, ident: int, offset: int, length: int) -> bool:
        """Whether bytes stored at an offset cover the whole value."""
        watch = self._watches.get(ident)
        return watch is not None and offset == 0 and length >= watch.size

    def merge(self, stores: MergingStores) -> None:
        """From now on, tells the store loop which stores may be merged."""
        self._merging = stores

    # ---- what records say -------------------------------------------------------------------------------------------

    def register(self, record: RawRecord, payload: bytes, batch: Batch) -> None:
        """Handles a VARIABLE record."""
        flags, size, start, stop, address = layout.REGISTERED.unpack(payload)
        self._forget(record.id)
        later = bool(flags & layout.LATER)
        repeated = bool(record.flags & layout.Flag.REPEATED or (flags & layout.UNTOLD and not later))
        watch = self._watches[record.id] = _Watch(record.time, size, flags, (start, stop), repeated)
        if later:
            watch.told, watch.lead = set(), address % layout.PAGE
        self._last = max(self._last, record.id)
        self._define(record.id, watch, provisional=True)

    def is_registered(self, record: RawRecord) -> bool:
        """Whether a repeated VARIABLE record is already known; if not among the watched ones, the variable has
        ended."""
        return record.id <= self._last

    def describe(self, record: RawRecord, payload: bytes, batch: Batch) -> None:
        """Handles a METADATA record. Raises ValueError, msgspec.MsgspecError, RecursionError."""
        watch = self._watch(record.id)
        watch.weight = self._share.describe(len(payload), watch.weight)
        watch.metadata = _metadata.decode(payload)
        watch.described = record.time
        before = watch.shown
        if watch.repeated and not watch.announced:
            self._define(record.id, watch, provisional=True)  # its first store announces it, with the value before
            return
        if self._define(record.id, watch, provisional=False) != before or not watch.announced:
            self._announce(record.id, watch, record.time if watch.announced else watch.time, batch)

    def is_described(self, record: RawRecord) -> bool:
        """Whether a repeated METADATA record is already known."""
        watch = self._watches.get(record.id)
        return watch is None or not watch.repeated or watch.announced or record.time < watch.described

    def place(self, record: RawRecord, payload: bytes, batch: Batch) -> None:
        """Handles a PLACE record. Raises ValueError."""
        watch = self._watch(record.id)
        offset, path = place(payload, watch.registered)
        before = self._stores.place(record.id, offset, path)
        more = weight(path) - (0 if before is None else weight(before)) - watch.aliases.pop(offset, 0)
        if not self._share.take(more):
            self._stores.place(record.id, offset, None)
            more -= weight(path)
            self._share.take(more)
            watch.places += more
            raise ValueError("the places of this session take too much memory")
        watch.places += more

    def alias(self, record: RawRecord, payload: bytes, batch: Batch) -> None:
        """Handles an ALIAS record. Raises ValueError. One whose PLACE isn't there any more says nothing."""
        watch = self._watch(record.id)
        offset, names, cut = aliases(payload, self._name_of)
        weighs = sum(weight(alias.name) for alias in names)
        more = weighs - watch.aliases.get(offset, 0)
        if not self._share.take(more):
            names, cut, more = (), True, more - weighs
            self._share.take(more)
        if self._stores.alias(record.id, offset, names, cut):
            watch.aliases[offset] = watch.aliases.get(offset, 0) + more
            watch.places += more
        else:
            self._share.take(-more)

    def leave_out(self, record: RawRecord, payload: bytes, batch: Batch) -> None:
        """Handles a NOT_FOLLOWED record. Raises ValueError."""
        self.announce(record.id, batch)
        batch.weigh(len(payload))
        name = self._name_of(record.id)
        batch.add(Unfollowed(record.time, self._pid, name, record.id, self._journal, *not_followed(payload)))

    def content(self, ident: int, offset: int, data: bytes) -> tuple[bytes, bool]:
        """The bytes of a CONTENT record, with zeros that it leaves out; and whether the variable held them from its
        beginning on."""
        watch = self._watches.get(ident)
        if watch is None or watch.told is None:
            return data, False
        number = (watch.lead + offset) // layout.PAGE
        end = min((number + 1) * layout.PAGE - watch.lead, watch.registered)
        always = number not in watch.told and not watch.repeated
        watch.told.add(number)
        return data.ljust(max(0, end - offset), b"\0"), always

    def fill(self, ident: int, offset: int, data: bytes) -> bool:
        """Handles a CONTENT record: the variable's bytes. False if they differ from those that the events so far
        left."""
        known = self._stores.fill(ident, offset, data)
        return known or ident not in self._watches or not self._watches[ident].announced

    def introduce(self, record: RawRecord, batch: Batch) -> None:
        """Handles a STORE to a variable that wasn't announced, or isn't even known."""
        watch = self._watches.get(record.id)
        if watch is None:
            watch = self._watches[record.id] = _Watch(record.time, 0, 0, DEPTH_FULL)
            reason = "the record that registers it can't be read: values unknown"
            batch.lost(1, reason, f"variable {record.id}", record.time)
            watch.announced = True  # nothing to announce
            self._define(record.id, watch, provisional=False)
            return
        before = record.payload[: len(record.payload) // 2]
        whole = watch.repeated and self.is_covered(record.id, record.offset, len(before))
        watch.repeated = watch.repeated and not whole
        self._define(record.id, watch, provisional=False)
        if whole:  # all bytes are known now
            self._stores.fill(record.id, 0, before)
        self._announce(record.id, watch, watch.time, batch)

    def announce(self, ident: int, batch: Batch) -> None:
        """Announces a variable unless it was announced. Raises ValueError if it is unknown."""
        watch = self._watch(ident)
        if not watch.announced:
            self._announce(ident, watch, watch.time, batch)

    def announce_rest(self, batch: Batch) -> bool:
        """Announces the remaining variables, as many as fit into a batch. Returns whether all are announced."""
        if self._rest is None:
            self._rest = iter(self._watches.items())
        for ident, watch in self._rest:
            if not watch.announced:
                self._announce(ident, watch, watch.time, batch)
                if batch.is_full or len(batch.records) > BATCH_RECORDS:
                    return False
        return True

    def unregister(
        self, record: RawRecord, payload: bytes, site_of: Callable[[int], Site | None], batch: Batch
    ) -> None:
        """Handles an UNREGISTERED record."""
        watch = self._watches.get(record.id)
        if watch is None or watch.first is None:
            name = self._name_of(record.id)
            site, why, flags, length, target = layout.head_of(payload, layout.ENDING)
            batch.add(
                Unwatched(
                    record.time,
                    self._pid,
                    name,
                    record.id,
                    self._journal,
                    ENDS.get(why, ""),
                    site_of(site),
                    target[:length].decode("utf-8", "replace"),
                    layout.GIVEN.get(flags & 3, ""),
                )
            )
        self._forget(record.id)

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _watch(self, ident: int) -> _Watch:
        watch = self._watches.get(ident)
        if watch is None:
            raise ValueError("no such variable")
        return watch

    def _name_of(self, ident: int) -> str:
        return self.name(ident) or f"variable {ident}"

    def _define(self, ident: int, watch: _Watch, *, provisional: bool) -> Variable:
        """Passes all that is known of a variable to the store loop."""
        meta, size = watch.metadata, watch.size
        self._find_first(ident, watch)
        start, stop = min(watch.depth[0], size), min(watch.depth[1], size)
        variable = Variable(
            ident, cut(meta.name) or f"variable {ident}", self._pid, self._runtime, size, meta.serializer, meta.options,
            _flag_names(watch.flags),
            None if watch.depth == DEPTH_FULL or (start, stop) == (0, size) else (start, stop),
            meta.site, meta.thread_ident, meta.thread, self._journal,
        )  # fmt: skip
        serializer = self._serializers.get(meta.serializer) or _NONE
        if watch.is_slab:
            serializer = _NONE
        elif serializer is _NONE and size and not meta.serializer:
            serializer = AS_BYTES
        if watch.flags & layout.SECRET and not watch.is_slab:
            serializer = hidden(AS_BYTES if serializer is _NONE else serializer)
        watch.by_parts = serializer.by_parts
        follows = not (watch.repeated or watch.is_slab)  # a slab needs no copy: its stores bring whole values
        watch.followed = self._share.follow(size if follows else 0, watch.followed)
        self._stores.define(
            variable,
            None if meta.path is None else cut(meta.path),
            None if serializer is _NONE or watch.is_large else serializer.decode,
            number(serializer.format, size),
            serializer.part,
            follows and watch.followed == size,
            provisional,
            serializer.head,
            (ident if watch.first is None else watch.first) if watch.is_slab else None,
        )
        if self._merging is not None:
            said = None if watch.is_slab or watch.flags & layout.SECRET else about(serializer, meta.options)
            items = None if said is None else said.items
            base, letter = (0, "") if items is None else (items.start, items.format)
            self._merging.mergeable(ident, max(0, base), letter if len(letter) == 1 and letter.isascii() else "", said)
        watch.shown = variable
        return variable

    def _find_first(self, ident: int, watch: _Watch) -> None:
        """Sets the object's first slab, if this is a later slab and the first one is known. Announces the variable
        again if that changed."""
        before, first = watch.first, watch.metadata.first if watch.is_slab else None
        other = None if first is None or first == ident else self._watches.get(first)
        watch.first = first if other is not None and other.is_slab and other.first is None else None
        watch.announced = watch.announced and watch.first == before

    def _announce(self, ident: int, watch: _Watch, time: int, batch: Batch) -> None:
        if watch.first is not None:  # reported as part of the first one, which is announced before events of either
            watch.announced = True
            if watch.first in self._watches:
                self.announce(watch.first, batch)
        elif watch.is_slab and watch.shown is not None:
            watch.announced = True
            batch.add(Watched(time, watch.shown, Shown(cut(watch.metadata.shown) or "an object")))
        elif watch.shown is not None:
            watch.announced = True
            large = watch.is_large
            batch.weigh(DECODED * min(watch.followed, BEGINNING if large else VALUE_LIMIT))
            secret = watch.flags & layout.SECRET
            made_by = self._serializers.get(watch.shown.serializer)
            start = made_by.head if secret and made_by is not None else 0  # its length and content can't be one
            part = self._stores.part(ident, start, BEGINNING) if large else None
            value = self._stores.value(ident)
            if watch.by_parts and part is not None and watch.size <= BEGINNING:
                value, part = part.new, None  # the part is all of it
            if secret and value is None and part is None:
                value = Shown("a secret")
            batch.add(Watched(time, watch.shown, value, part))

    def _forget(self, ident: int) -> None:
        watch = self._watches.pop(ident, None)
        if watch is not None:
            self._share.take(-watch.followed - watch.weight - watch.places)
            self._stores.forget(ident)


@lru_cache(maxsize=64)
def _flag_names(flags: int) -> tuple[str, ...]:
    return tuple(name for bit, name in FLAGS.items() if flags & bit)


def _refuse(*args: Any) -> Any:
    raise TypeError("only for reading")


_NONE = Serializer("", "a serializer that isn't there: values are None", _refuse, _refuse, _refuse, _refuse)
AS_BYTES = Serializer(
    "", "bytes that no serializer is named for", _refuse, _refuse, _refuse,
    decode=lambda data, options: data,
    part=lambda start, stop, options: Extent(f"[{start}:{stop}]", start, stop, bytes),
    items=lambda options: Items(0, "B"),
)  # fmt: skip
