"""What reader.c and lines.c offer. Their contracts: :mod:`.stores`, :mod:`memwatch_core.rendering.jsonlines`."""

from collections.abc import Callable, Sequence

from ..journal.stores import PythonStores
from ..records import Call, Context, Event, Part, Record, Shown, Site

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
        record: Callable[[object], bytes],
        value: Callable[[object, int], bytes],
    ) -> None: ...
    def encode(self, records: Sequence[Record]) -> bytes: ...
