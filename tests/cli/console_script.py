"""Where the console script is, and the environment that it is run in."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from click.testing import CliRunner

from memwatch_core.cli.group import group

SCRIPT = Path(sys.executable).with_name("memwatch")
DISTRIBUTIONS = Path(__file__).parent.parent / "plugins" / "distributions"


def environment(*fakes: str, **variables: str) -> dict[str, str]:
    """An environment without settings of ours; ``fakes`` are fake distributions to be found in it."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MEMWATCH_", "PYTHON", "COV_"))}
    for name in ("NO_COLOR", "FORCE_COLOR"):
        clean.pop(name, None)
    if fakes:
        clean["PYTHONPATH"] = os.pathsep.join(str(DISTRIBUTIONS / name) for name in fakes)
    return clean | variables


def log(recorded: Path, *arguments: str) -> tuple[int, str, str]:
    """``memwatch log`` of a session, in this process: status, output, errors."""
    done = CliRunner().invoke(group, ["log", str(recorded), *arguments], terminal_width=80)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr
