"""Follows the journals of a session as they grow, and hands their records to the sinks.

Only a thread of the reader does this: nothing flows back to the writers.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path

from ..journal.claim import Claim
from ..printed import say
from ..records import Serializer
from .merge import DELAY_NS, SessionDecoder
from .own import is_own_by_default
from .pipeline import Pipeline
from .summary import Summary

SHORTEST, LONGEST = 0.002, 0.05
"""Shortest and longest pause, in seconds, between two polls without news."""
LAST_WORDS = 4 * DELAY_NS / 1e9
"""Seconds without news after which processes that outlive the program are no longer waited for."""


class Follow(threading.Thread):
    """Reads the session in ``folder`` from its beginning, in a thread of its own once :meth:`start` is called.

    If ``claim`` is held, the writers are told how far the sinks have got. At its end the thread closes the claim and
    the pipeline. ``say`` gets a sentence about whatever was left unread. ``is_own``: see :class:`JournalDecoder`.
    Raises SessionError if the folder can't be listed.
    """

    def __init__(
        self,
        folder: Path,
        serializers: Iterable[Serializer],
        summary: Summary,
        pipeline: Pipeline,
        say: Callable[[str], None],
        claim: Claim | None = None,
        is_own: Callable[[str], bool] = is_own_by_default,
    ) -> None:
        super().__init__(name="memwatch-host", daemon=True)
        self._decoder = SessionDecoder(
            folder, {one.name: one for one in serializers}, own=True, is_own=is_own, merging=pipeline.merging
        )
        self._last_words = LAST_WORDS + (self._decoder.delay - DELAY_NS) / 1e9
        self._summary = summary
        self._pipeline = pipeline
        self._say = say
        self._claim = claim
        self._turn = threading.Lock()
        self._wake = threading.Event()
        self._finishing = self._abandoned = False
        self.failed = False
        """Whether an internal error stopped the reading early; it was reported."""

    def run(self) -> None:
        pause = SHORTEST
        quiet_since = time.monotonic()
        try:
            while not self._abandoned:
                last = self._finishing  # taken before the poll: everything committed by then is read in this pass
                if self._catch_up():
                    pause, quiet_since = SHORTEST, time.monotonic()
                    continue
                if last and (self._decoder.ended or time.monotonic() - quiet_since > self._last_words):
                    if not self._end_lines():
                        break
                    continue
                if not self._finishing:
                    self._wake.wait(pause)
                    pause = min(LONGEST, pause * 2)
                else:
                    time.sleep(SHORTEST)
        except Exception as error:
            self.failed = True
            what = f"{type(error).__name__}: {error}"
            self._say(f"reading stopped, a mistake in MemWatch ({what}); the journals are whole: try memwatch log")
            say(*traceback.format_exc().rstrip().splitlines())
        finally:
            with self._turn:
                if not (self._decoder.ended or self._abandoned or self.failed):
                    self._say("a process of the session still runs: what it writes from now on is in its journal only")
                if self._claim is not None:
                    self._claim.close()
                self._decoder.close()
                self._pipeline.close()

    def flush(self) -> None:
        """Returns once everything committed before the call was handed to the sinks and flushed. Thread-safe."""
        self._catch_up()
        if self._decoder.several:
            time.sleep(2 * self._decoder.delay / 1e9)  # records of several processes wait for each other, to be ordered
            self._catch_up()
        self._end_lines()

    def finish(self) -> None:
        """Makes the thread end once it has read everything there is; returns at once."""
        self._finishing = True
        self._wake.set()

    def abandon(self) -> None:
        """Makes the thread end after the current batch."""
        self._abandoned = True
        self.finish()

    @property
    def gone(self) -> bool:
        """Whether the session's folder was removed meanwhile."""
        return self._decoder.gone

    def _end_lines(self) -> bool:
        """Hands over the lines that more events might still have been added to. Returns whether there were any."""
        if self._pipeline.merging is None:
            return False
        with self._turn:
            self._decoder.end_lines()
        return self._catch_up()

    def _catch_up(self) -> bool:
        with self._turn:
            some = False
            while not self._abandoned and (records := self._decoder.poll()):
                some = True
                self._summary.write(records)
                self._pipeline.write(records)
            if some:
                self._pipeline.flush()
                if self._claim is not None and self._claim.held:
                    self._decoder.acknowledge()
            return some
