"""The names of what stores refer to by number: threads, places in the source, call stacks, and requests."""

from __future__ import annotations

import struct
from collections.abc import Callable

import msgspec

from ..journal import layout
from ..journal.layout import Flag, StackFlag
from ..journal.records import RawRecord
from ..journal.stores import Callers, PythonStores
from ..records import Request, Site
from . import native
from .batch import Batch
from .kept import cut

_request = msgspec.json.Decoder(Request)

NOWHERE = Site("", 0, "")
"""Stands for a frame whose site isn't known."""


class Names:
    """Passes the names on to the store loop. ``is_own`` says whether a file is the program's own code."""

    def __init__(self, stores: PythonStores, is_own: Callable[[str], bool]) -> None:
        self._stores = stores
        self._is_own = is_own
        self._given: dict[int, int] = {}
        """When each thread got its name from an adapter."""
        self._sites: dict[int, Site] = {}
        self._own: set[int] = set()
        self._unnamed: set[str] = set()
        """Files of native code without symbols: said once."""
        self._requests: dict[int, Request] = {}
        self._segment = -1
        """The segment in which these were recorded; stores of later ones name none of them."""
        stores.stack(layout.STACK_UNKNOWN, Callers((), True, False, None))

    def thread(self, record: RawRecord, payload: bytes, batch: Batch) -> None:
        """Handles a THREAD record. The kernel's name (inexact) doesn't replace an adapter's."""
        if record.flags & Flag.INEXACT == 0:
            self._given[record.tid] = record.time
        elif record.tid in self._given:
            return
        self._stores.thread(record.tid, cut(payload.decode("utf-8", "replace")))

    def is_known(self, record: RawRecord) -> bool:
        """Whether a repeated THREAD record is already known."""
        return record.time <= self._given.get(record.tid, -1)

    def site(self, record: RawRecord, payload: bytes, batch: Batch) -> None:
        """Handles a SITE record. Raises ValueError."""
        line, column, file, function = layout.head_of(payload, layout.SITE)
        if layout.SITE.size + file + function > len(payload):
            raise ValueError("names longer than the record")
        names = payload[layout.SITE.size :]
        # a file name may be any bytes: those that aren't UTF-8 become surrogates
        where = names[:file].decode("utf-8", "surrogateescape")
        function_name = names[file : file + function].decode("utf-8", "replace")
        if record.flags & Flag.NATIVE:
            site, own = self._native(where, function_name, batch), False
        else:
            site = Site(where, line, cut(function_name), column, bool(record.flags & Flag.ADDS_CALL))
            own = self._is_own(where)
        self._sites[record.id] = site
        (self._own.add if own else self._own.discard)(record.id)
        self._stores.site(record.id, site, own)

    def _native(self, file: str, text: str, batch: Batch) -> Site:
        place = native.parsed(file, text)
        if place is None:
            return Site(file, 0, "")
        why = native.symbols_of(file, place.build_id, place.stamp).why
        if why and file not in self._unnamed:
            self._unnamed.add(file)
            batch.notice(f"{file} {why}: what its functions are called isn't known")
        return native.site_of(place, self._sites.get)

    def stack(self, record: RawRecord, payload: bytes, batch: Batch) -> None:
        """Handles a STACK record. Raises ValueError."""
        count, rest = divmod(len(payload) - layout.STACK.size, 4)
        if count < 0 or rest or record.id in (0, layout.STACK_UNKNOWN):
            raise ValueError("it is no list of sites")
        (flags,) = layout.head_of(payload, layout.STACK)
        sites = struct.unpack_from(f"<{count}I", payload, layout.STACK.size)
        frames = tuple([self._sites.get(site, NOWHERE) for site in sites])
        own = next((self._sites[site] for site in sites if site in self._own), None)
        self._stores.stack(
            record.id, Callers(frames, bool(flags & StackFlag.CUT), bool(flags & StackFlag.INEXACT), own)
        )

    def request(self, record: RawRecord, payload: bytes, batch: Batch) -> None:
        """Handles a REQUEST record. Raises msgspec.MsgspecError, ValueError."""
        segment = record.slot // layout.SEGMENT_SLOTS
        before = self._requests.get(record.id)
        if segment != self._segment:
            for ident in self._requests:
                self._stores.request(ident, None)
            self._segment, self._requests = segment, {}
        self._stores.request(record.id, None)
        request = _request.decode(payload)
        request = before if before == request else request  # said again: the same object, as events are compared by it
        self._requests[record.id] = request
        self._stores.request(record.id, request)

    def site_of(self, ident: int) -> Site | None:
        """The site of this number; None if unknown."""
        return self._sites.get(ident)
