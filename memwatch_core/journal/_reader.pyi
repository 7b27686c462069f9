"""Types of reader.c and lines.c. Documented in :mod:`.stores` and :mod:`memwatch_core.rendering.jsonlines`."""

from collections.abc import Callable, Sequence

from ..journal.stores import PythonStores
from ..records import Alias, Call, Context, Event, Part, Record, Request, Shown, Site

class Stores(PythonStores): ...

class Lines:
    def __init__(
        self,
        event: type[Event],
        site: type[Site],
        context: type[Context],
        call: type[Call],
        part: type[Part],
        shown: type[Shown],
        alias: type[Alias],
        request: type[Request],
        record: Callable[[object], bytes],
        value: Callable[[object, int], bytes],
    ) -> None: ...
    def encode(self, records: Sequence[Record]) -> bytes: ...
