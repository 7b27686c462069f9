"""The names of what stores refer to by number: threads, and places in the source."""

from __future__ import annotations

from ..journal import layout
from ..journal.layout import Flag
from ..journal.records import RawRecord
from ..journal.stores import PythonStores
from ..records import Site
from .batch import Batch
from .kept import cut


class Names:
    """Passes the names on to the store loop."""

    def __init__(self, stores: PythonStores) -> None:
        self._stores = stores
        self._given: dict[int, int] = {}
        """When each thread got its name from an adapter."""
        self._sites: dict[int, Site] = {}

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
        function_name = cut(names[file : file + function].decode("utf-8", "replace"))
        site = Site(where, line, function_name, column, bool(record.flags & Flag.ADDS_CALL))
        self._sites[record.id] = site
        self._stores.site(record.id, site)

    def site_of(self, ident: int) -> Site | None:
        """The site of this number; None if unknown."""
        return self._sites.get(ident)
