"""Runs a command, and writes its exit status and its peak memory in KiB to a file. Linux lets a child's peak begin with
its parent's memory (``getrusage(2)``, inherited by exec): so the parent has to be small."""

from __future__ import annotations

import resource
import subprocess
import sys

if __name__ == "__main__":
    result, *command = sys.argv[1:]
    status = subprocess.run(command).returncode
    with open(result, "w") as file:
        file.write(f"{status} {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss}")
