"""A process beside ``memwatch attach`` that ends the session in the program if memwatch is killed.

Its standard input is a pipe from memwatch, which says ``done`` at its end; if the pipe ends without a word, memwatch is
gone.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

COMMAND = "from memwatch_core.running.guardian import main; main()"
"""For ``python -P -c``; the process and the session's folder follow."""


def main() -> None:
    """Waits, and ends the session if nobody else does."""
    pid, folder = int(sys.argv[1]), Path(sys.argv[2])
    if os.read(0, 4) == b"done":
        return
    from .attaching import end
    from .child import Signals

    end(pid, folder, Signals())
