"""The bytes of one variable as the events so far left them, and who wrote each of them last.

Memory is taken only for pages that are written to or have content, so a variable may claim any size.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, cast

from ..host.digests import Later, Undecided, Wrote
from ..records import Event

PAGE = 4096
_WHOLE = bytes([1]) * PAGE


class Mark:
    """What is known of a range of bytes that were always written together."""

    __slots__ = ("last", "sites", "tick", "unseen", "writes")

    def __init__(
        self, last: Event | None = None, writes: int = 0, sites: frozenset[int] = frozenset(), tick: int = 0
    ) -> None:
        self.unseen = False
        """It changed without an event since ``last``."""
        self.last = last
        """The event that wrote it last; None: none has."""
        self.writes = writes
        """Number of events that were counted."""
        self.sites = sites
        """Numbers of the places that these came from."""
        self.tick = tick
        """When, in records, it was last known."""

    def copy(self) -> Mark:
        """Another one that says the same."""
        made = Mark(self.last, self.writes, self.sites, self.tick)
        made.unseen = self.unseen
        return made

    def says(self, other: Mark) -> bool:
        """Whether both say the same."""
        return self.last is other.last and (self.writes, self.tick, self.sites, self.unseen) == (
            other.writes, other.tick, other.sites, other.unseen,
        )  # fmt: skip


class Stretch(NamedTuple):
    """Bytes [start, stop) and their mark."""

    start: int
    stop: int
    mark: Mark


class _Page:
    __slots__ = ("data", "known", "marks", "starts")

    def __init__(self, known: bool, mark: Mark, room: int) -> None:
        self.data = bytearray(room)
        self.known: bytearray | None = None if known else bytearray(room)
        """1 for each known byte; None: all are known."""
        self.starts = [0]
        self.marks = [mark]

    def put(self, start: int, data: bytes) -> None:
        stop = start + len(data)
        self.data[start:stop] = data
        if self.known is not None:
            self.known[start:stop] = _WHOLE[: len(data)]
            if 0 not in self.known:
                self.known = None

    def grow(self, room: int, known: bool) -> None:
        """There is more of the variable in it."""
        more = room - len(self.data)
        if more <= 0:
            return
        if self.known is None and not known:
            self.known = bytearray(_WHOLE[: len(self.data)])
        self.data.extend(bytes(more))
        if self.known is not None:
            self.known.extend((_WHOLE if known else bytes(PAGE))[:more])

    def differences(self, start: int, data: bytes) -> Iterator[tuple[int, int]]:
        """Ranges in which the data isn't what is known."""
        begin: int | None = None
        for at, byte in enumerate(data, start):
            same = self.data[at] == byte and (self.known is None or bool(self.known[at]))
            if same and begin is not None:
                yield begin, at
            begin = None if same else at if begin is None else begin
        if begin is not None:
            yield begin, start + len(data)

    def split(self, at: int) -> int:
        """The number of the range that begins at a byte."""
        if at >= PAGE:
            return len(self.starts)
        found = bisect_right(self.starts, at) - 1
        if self.starts[found] == at:
            return found
        self.starts.insert(found + 1, at)
        self.marks.insert(found + 1, self.marks[found].copy())
        return found + 1

    def join(self, first: int, last: int) -> None:
        """Makes one range of neighbours that say the same, from ``first`` to before ``last``."""
        kept = first
        for at in range(first + 1, last):
            if not self.marks[at].says(self.marks[kept]):
                kept += 1
                self.starts[kept], self.marks[kept] = self.starts[at], self.marks[at]
        del self.starts[kept + 1 : last], self.marks[kept + 1 : last]


class Memory:
    """The bytes of a variable. ``known``: those that no record has told are zero; otherwise they are unknown."""

    def __init__(self, size: int, known: bool, tick: int) -> None:
        self.size, self._known = size, known
        self._least = size
        """What its pages have room for."""
        self._pages: dict[int, _Page] = {}
        self._rest = Mark(tick=tick)
        self._unsettled = False

    @property
    def is_known(self) -> bool:
        """Whether all bytes are."""
        return self._known

    def resize(self, size: int) -> None:
        self.size = size
        for number, page in self._pages.items() if size > self._least else ():
            page.grow(self._room(number), self._known)
        self._least = max(size, self._least)

    def fill(self, offset: int, data: bytes, tick: int | None = None) -> None:
        """Sets bytes that are there without an event: from the beginning, or (``tick``) from now on, if they aren't
        what they were."""
        if tick is not None and self._unsettled:
            raise Undecided  # they would be compared with bytes that aren't there yet
        for page, start, piece in self._pieces(offset, data):
            if tick is not None:
                first, last = page.split(start), page.split(start + len(piece))
                for mark in page.marks[first:last]:
                    mark.tick = tick
                for begin, end in page.differences(start, piece):
                    first, last = page.split(begin), page.split(end)
                    for mark in page.marks[first:last]:
                        mark.last, mark.unseen = None, True
            page.put(start, piece)

    def find(self, event: Event) -> None:
        """Sets bytes that weren't known, and that an event after the moment found there."""
        for page, start, piece in self._pieces(event.offset, event.before):
            known = page.known
            if known is not None and 0 in known[start : start + len(piece)]:
                for at, byte in enumerate(piece, start):
                    if not known[at]:
                        page.data[at], known[at] = byte, 1

    def write(self, event: Event, tick: int, site: int | None, sites: Sites) -> None:
        """Applies an event. ``site``: number of the place that it came from; None: it isn't counted."""
        offset, data = event.offset, event.after
        page, start = self._pages.get(offset // PAGE), offset % PAGE
        stop = start + len(data)
        if page is None or stop > PAGE or offset + len(data) > self.size:
            pieces = [*self._pieces(offset, data)]
        else:
            pieces = [(page, start, data)]
        for page, start, piece in pieces:
            page.put(start, piece)
            first, last = page.split(start), page.split(start + len(piece))
            for mark in page.marks[first:last]:
                mark.last, mark.tick, mark.unseen = event, tick, False
                if site is not None:
                    mark.writes += 1
                    if site not in mark.sites:
                        mark.sites = sites.with_one(mark.sites, site)
            if last - first > 1:
                page.join(first, last)

    def note(self, wrote: Wrote, tick: int, count: int, site: int | None, sites: Sites) -> None:
        """Applies events of which only the last one matters, and that isn't made yet: see :meth:`settle`. ``tick``:
        when it was; ``count``: how many are counted."""
        self._unsettled = True
        length = max(0, min(wrote.length, self.size - wrote.offset))
        for page, start, piece in self._pieces(wrote.offset, bytes(length)):
            first, last = page.split(start), page.split(start + len(piece))
            for mark in page.marks[first:last]:
                if tick > mark.tick:
                    mark.last, mark.tick, mark.unseen = cast(Event, wrote.last), tick, False
                if site is not None:
                    mark.writes += count
                    mark.sites = sites.with_one(mark.sites, site)

    def unsettled(self) -> Iterator[Later]:
        """The events that aren't made yet."""
        for page in self._pages.values() if self._unsettled else ():
            yield from (cast(Later, mark.last) for mark in page.marks if isinstance(mark.last, Later))

    def settle(self, events: Mapping[Later, Event]) -> None:
        """Puts these events, and what they wrote, in their places."""
        for number, page in self._pages.items() if self._unsettled else ():
            for at, mark in enumerate(page.marks):
                if isinstance(mark.last, Later):
                    mark.last = event = events[mark.last]
                    ends = [*page.starts[at + 1 : at + 2], len(page.data)]
                    start, stop = page.starts[at], min(ends)
                    begin = number * PAGE - event.offset
                    page.put(start, event.after[begin + start : begin + stop])
        self._unsettled = False

    def read(self, start: int, stop: int) -> bytes | None:
        """The bytes [start, stop); None if some aren't known."""
        parts = []
        for number, first, last in _pages(start, stop):
            page = self._pages.get(number)
            if page is None:
                if not self._known:
                    return None
                parts.append(bytes(last - first))
            elif page.known is not None and 0 in page.known[first:last]:
                return None
            else:
                parts.append(bytes(page.data[first:last]))
        return b"".join(parts)

    def is_same(self, other: Memory, start: int, stop: int) -> bool | None:
        """Whether the bytes [start, stop) of both are the same; None if some aren't known."""
        numbers = {*self._numbers(start, stop), *other._numbers(start, stop)}
        if not (self._known and other._known) and len(numbers) * PAGE < stop - start:
            return None
        same: bool | None = True
        for number in numbers:
            first, last = max(start, number * PAGE), min(stop, (number + 1) * PAGE)
            one, another = self.read(first, last), other.read(first, last)
            if one is None or another is None:
                same = None
            elif one != another:
                return False
        return same

    def known(self, start: int, stop: int) -> Iterator[bool]:
        """For each byte whether it is known."""
        for number, first, last in _pages(start, stop):
            page = self._pages.get(number)
            if page is not None and page.known is not None:
                yield from map(bool, page.known[first:last])
            else:
                yield from [page is not None or self._known] * (last - first)

    def peek(self, start: int, stop: int) -> bytes:
        """The bytes [start, stop), 0 for unknown ones."""
        found = []
        for number, first, last in _pages(start, stop):
            page = self._pages.get(number)
            found.append(bytes(last - first) if page is None else bytes(page.data[first:last]))
        return b"".join(found)

    def stretches(self, start: int, stop: int) -> Iterator[Stretch]:
        """The marks of bytes [start, stop), joined where neighbours say the same."""
        held: Stretch | None = None
        for each in self._all(start, stop):
            if held is not None and held.mark.last is each.mark.last and held.mark.says(each.mark):
                held = Stretch(held.start, each.stop, held.mark)
                continue
            if held is not None:
                yield held
            held = each
        if held is not None:
            yield held

    def _all(self, start: int, stop: int) -> Iterator[Stretch]:
        at = start
        for number in self._numbers(start, stop):
            base, page = number * PAGE, self._pages[number]
            if at < base:
                yield Stretch(at, base, self._rest)
                at = base
            first = bisect_right(page.starts, at - base)
            last = bisect_left(page.starts, stop - base, first)
            ends = [*page.starts[first:last], min(PAGE, stop - base)]
            for end, mark in zip(ends, page.marks[first - 1 : last], strict=True):
                yield Stretch(at, base + end, mark)
                at = base + end
        if at < stop:
            yield Stretch(at, stop, self._rest)

    def _numbers(self, start: int, stop: int) -> Iterable[int]:
        """The pages of bytes [start, stop) of which anything is known, in order."""
        if start >= stop:
            return ()
        wanted = range(start // PAGE, (stop - 1) // PAGE + 1)
        if len(wanted) <= len(self._pages):
            return (number for number in wanted if number in self._pages)
        return sorted(number for number in self._pages if number in wanted)

    def _room(self, number: int) -> int:
        return min(PAGE, max(self.size, self._least) - number * PAGE)

    def _pieces(self, offset: int, data: bytes) -> Iterator[tuple[_Page, int, bytes]]:
        """The data, page by page; without what lies behind the variable."""
        stop = min(self.size, offset + len(data))
        for number, first, last in _pages(offset, stop):
            page = self._pages.get(number)
            if page is None:
                page = self._pages[number] = _Page(self._known, self._rest.copy(), self._room(number))
            begin = number * PAGE + first - offset
            yield page, first, data[begin : begin + last - first]


class Sites:
    """Numbers the places that writes came from, and keeps one object of each set of them."""

    MOST = 1 << 16

    def __init__(self) -> None:
        self._numbers: dict[object, int] = {}
        self._sets: dict[tuple[frozenset[int], int], frozenset[int]] = {}
        self._one: dict[frozenset[int], frozenset[int]] = {}

    def number(self, key: object) -> int:
        return self._numbers.setdefault(key, len(self._numbers))

    def with_one(self, known: frozenset[int], site: int) -> frozenset[int]:
        """The set with one more."""
        if site in known:
            return known
        found = self._sets.get((known, site))
        if found is None:
            made = known | {site}
            found = self._one.setdefault(made, made)
            if len(self._sets) < self.MOST:
                self._sets[known, site] = found
        return found


def _pages(start: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """(page, first, last byte in it + 1) of bytes [start, stop)."""
    while start < stop:
        number, first = divmod(start, PAGE)
        last = min(PAGE, first + stop - start)
        yield number, first, last
        start += last - first
