"""Types of reader.c and lines.c. Documented in :mod:`.stores` and :mod:`memwatch_core.rendering.jsonlines`."""

from array import array
from collections.abc import Callable, Sequence
from mmap import mmap

from ..journal.stores import PythonStores
from ..records import Alias, Call, Context, Event, Part, Record, Request, Shown, Site

class Stores(PythonStores): ...

def find(slots: memoryview, kinds: int, /) -> list[int]:
    """The first slots of whole records of kinds, a bit for each, in slots of one segment."""

def strip(
    slots: memoryview, variables: array[int], numbers: bytes, runs: bytes, held: mmap, key: bytes, /
) -> list[int]:
    """Takes the values out of the slots of one segment, in place: see strip.c. Returns the first slots of records whose
    payload is text."""

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
