"""Where an item of a list was before others came and went: its index at each event, followed back from the end."""

from __future__ import annotations

from ..records import Event
from .placed import Placed, joined, steps

Trail = list[tuple[int, str | None]]
"""From which event on it had which name, in order of the events; None: it wasn't there yet, or isn't known."""
MOST = 1 << 20
"""Limit of moves that are remembered; before the last so many of them, the name that it had then goes on."""


class Trails:
    """Collects what moves items of one variable. Feed it each event of the variable before it is applied."""

    def __init__(self, part: str) -> None:
        self._part, self._path = part, steps(part)
        self._moves: list[tuple[int, tuple[str | int, ...], int, str]] = []

    def add(self, placed: Placed | None, event: Event) -> None:
        """Takes an event. ``placed``: what was there before it."""
        if len(self._moves) >= 2 * MOST:
            del self._moves[:MOST]
        if placed is None or event.part is None:
            return
        if (moved := placed.moves(event)) is not None:
            container, index, kind = moved
            if kind == "list" and self._may_lead(path := steps(container)):
                self._moves.append((event.seq, path, index, event.operation or ""))
        elif self._may_lead(path := steps(event.part.name)):
            self._moves.append((event.seq, path, -1, "move" if event.operation == "move" else "other"))

    def _may_lead(self, path: tuple[str | int, ...]) -> bool:
        """Whether a path may have led to the item."""
        return len(path) < len(self._path) and all(
            one == other or (isinstance(one, int) and isinstance(other, int))
            for one, other in zip(path, self._path, strict=False)
        )

    def followed(self) -> Trail:
        """The trail of the item that has the name in the end."""
        path, found = [*self._path], Trail()
        for seq, container, index, what in reversed(self._moves):
            at = path[len(container)]
            if (*path[: len(container)],) != container or (index >= 0 and not isinstance(at, int)):
                continue
            if what == "move" or (what == "add" and at == index):
                return [(0, None), (seq, joined(path)), *reversed(found)]
            if what == "other":
                break  # another object was there before
            assert isinstance(at, int)
            if what == "add" and at > index:
                found.append((seq, joined(path)))  # the event itself is of the one that came
                path[len(container)] = at - 1
            elif what == "delete" and at >= index:
                found.append((seq + 1, joined(path)))
                path[len(container)] = at + 1
        return [(0, joined(path)), *reversed(found)]


def is_item(part: str) -> bool:
    """Whether a path leads through an index."""
    return any(isinstance(step, int) for step in steps(part))
