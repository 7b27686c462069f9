"""What is called a lost update of a counter: by what each thread had read, which a journal doesn't say."""

from __future__ import annotations

import random
from collections.abc import Generator

import msgspec
import pytest

from memwatch_core.answers.lost_updates import LostUpdate, LostUpdates
from memwatch_core.records import Event, Site

KINDS = ("with a lock", "without a lock", "counts by itself", "with a lock, reset", "without a lock, reset")


class Program:
    """Threads that take turns at random; ``stale``: stores of a value that was made from an older one."""

    def __init__(self, kind: str, seed: int) -> None:
        self.draw, self.kind, self.value = random.Random(seed), kind, 0
        self.lost, self.stale = LostUpdates(), set[int]()
        self._seq = 0

    def store(self, tid: int, new: int, line: int, read: int | None = None) -> None:
        self._seq += 1
        empty = Event(*[None] * 19)  # type: ignore[arg-type]
        site = Site("/srv/app.py", line, "work")
        self.lost.add(
            msgspec.structs.replace(
                empty, journal="1-python", variable_id=1, seq=self._seq, tid=tid, exact=True, site=site, origin="store",
                old=self.value, new=new,
            )
        )  # fmt: skip
        if read is not None and read != self.value:
            self.stale.add(self._seq)
        self.value = new

    def adds(self, tid: int) -> Generator[None, None, None]:
        for number in range(self.draw.randrange(20, 60)):
            if self.kind == "counts by itself":
                self.store(tid, number + 1, 7)
            else:
                read = self.value
                if "without" in self.kind and self.draw.random() < 0.2:
                    yield
                self.store(tid, read + 1, 7, read)
            yield

    def resets(self, tid: int) -> Generator[None, None, None]:
        for _ in range(6):
            self.store(tid, 0, 9)
            for _ in range(self.draw.randrange(15)):
                yield

    def run(self) -> list[LostUpdate]:
        threads = [self.adds(tid) for tid in (1, 2, 3)] + [self.resets(4)] * ("reset" in self.kind)
        while threads:
            thread = self.draw.choice(threads)
            for _ in range(self.draw.choice([1, 1, 2, 9])):
                if next(thread, self) is self:
                    threads.remove(thread)
                    break
        return self.lost.found("1-python", 1)


@pytest.mark.parametrize("kind", KINDS)
def test_counter_is_said_to_have_lost_what_it_has(kind: str) -> None:
    sure = unsure = 0
    for seed in range(40):
        program = Program(kind, seed)
        found = program.run()
        assert len(found) <= 1
        for each in found:
            assert each.event.site is not None
            assert each.event.site.line == 7, "a line that resets adds nothing"
            assert each.event.new == each.base + each.step == each.base + 1
            assert each.over.old == each.base
            assert each.over.tid != each.event.tid
            if kind != "counts by itself":
                assert each.event.seq in program.stale
                assert each.count <= len(program.stale)
            sure += each.reads
            unsure += not each.reads
    if "with a lock" in kind:
        assert (sure, unsure) == (0, 0)
    elif kind == "counts by itself":
        assert sure == 0
        assert unsure > 10, "it looks like one, and that is how it is told"
    else:
        assert sure > 10
        assert unsure < sure // 4
