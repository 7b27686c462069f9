"""Numbers over time as one line of text, from a stream of any length."""

from __future__ import annotations

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII = "._-=+*%@"
WIDTH = 60


class Series:
    """The last number of each of a bounded number of equal steps, and the least and greatest of all."""

    MOST = 4 * WIDTH

    def __init__(self) -> None:
        self.count = 0
        self.least = self.greatest = self.first = self.last = 0.0
        self._step = 1
        self._kept: list[float] = []

    def add(self, number: float) -> None:
        """Takes the next number."""
        if not self.count:
            self.first = self.least = self.greatest = number
        self.least, self.greatest, self.last = min(self.least, number), max(self.greatest, number), number
        if self.count % self._step == 0:
            self._kept.append(number)
        else:
            self._kept[-1] = number
        self.count += 1
        if len(self._kept) > self.MOST:
            self._kept, self._step = self._kept[1::2], 2 * self._step
            if self.count % self._step:
                self._kept.append(number)

    def line(self, width: int, levels: str) -> str:
        """At most ``width`` characters, one for each step or several steps; the greatest number is the last level."""
        kept, span = self._kept, self.greatest - self.least
        size = max(1, -(-len(kept) // width))
        shown = [kept[min(at + size, len(kept)) - 1] for at in range(0, len(kept), size)]
        if not span or span != span or span == float("inf"):
            return levels[0] * len(shown)
        top = len(levels) - 1
        return "".join(levels[min(top, int((number - self.least) / span * top + 0.5))] for number in shown)
