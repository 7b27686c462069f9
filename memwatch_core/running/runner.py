"""``memwatch run``: starts the program as a child that writes its journal; this process reads it and feeds the sinks.

The program only pays for writing. It keeps its own standard streams, exit status and signals.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..adapter.launch import COMMAND
from ..config import Config
from ..errors import MemWatchError, SessionError
from ..loading.discovery import Plugins, load
from ..printed import say, settle
from .child import Child, end_like
from .reading import Reading

_OF_NODE = re.compile(r"node(js)?([-.]?\d[\d.]*)?|.+\.[cm]?[jt]s")


@dataclass(frozen=True, slots=True)
class Target:
    """The program to run."""

    kind: Literal["script", "module", "command"]
    arguments: tuple[str, ...]
    """Name of the script or module, or the command; then its arguments."""

    @property
    def shown(self) -> list[str]:
        """The command recorded in the session."""
        return ["-m", *self.arguments] if self.kind == "module" else list(self.arguments)

    @property
    def folder(self) -> Path:
        """The folder in which a bridge looks for its runtime's packages: a script's own, as for imports, or the working
        folder."""
        if self.kind != "script":
            return Path.cwd()
        script = Path(os.path.realpath(self.arguments[0]))
        return script if script.is_dir() else script.parent

    def command(self) -> list[str]:
        """The command line to execute. Raises SessionError if the script doesn't exist."""
        if self.kind == "command":
            return list(self.arguments)
        if self.kind == "script":
            _check_script(self.arguments[0])
        return [sys.executable, "-P", "-c", COMMAND, self.kind, *self.arguments]


def _check_script(name: str) -> None:
    hint = "for a command write: memwatch run -- COMMAND"
    try:
        if os.path.isdir(name):
            return
        with open(name, "rb") as file:
            start = file.readline(200)
    except OSError as error:
        raise SessionError(f"{name}: the script can't be read: {error.strerror}; {hint}") from error
    if start.startswith(b"\x7fELF") or (start.startswith(b"#!") and b"python" not in start):
        raise SessionError(f"{name}: not a Python script; {hint}")


def run(target: Target, config: Config, *, quiet: bool = False) -> int:
    """Runs the target to its end and returns this process's exit status, or dies by the target's signal.

    Raises MemWatchError if the target can't be started; nothing of it has run then. Call it in the main thread.
    """
    plugins = load(config)
    _check_installed(target, plugins, config)
    for broken in plugins.report.problems:  # defaults only: a configured plugin would have raised
        say(f"{broken}: {broken.reason}; going on without it")
    _check_targets(target, plugins, config)
    command, environment = _bridged(target, plugins, _environment())
    reading = Reading(config, plugins, target.shown)
    try:
        child = Child(command, {**environment, "MEMWATCH_SESSION": str(reading.folder)})
    except BaseException:
        reading.cancel()
        raise
    reading.start()
    try:
        status = child.wait()
        reading.end(child.patience)
    finally:
        child.release()
    reading.conclude(_ending(status), quiet)
    for stream in (sys.stdout, sys.stderr):
        settle(stream)  # ignore errors: the exit status is the program's
    return end_like(status)


def _check_installed(target: Target, plugins: Plugins, config: Config) -> None:
    """Raises SessionError, with what to install, if nothing can be watched because only the core is installed. If only
    the sinks are missing, prints a message. Plugins that the configuration excludes are not missing."""
    if not plugins.bridges and target.kind != "module" and not config.chosen("plugins.bridges"):
        program = target.arguments[0]
        if _OF_NODE.fullmatch(os.path.basename(program)):
            raise SessionError(f'{program}: to watch programs of Node.js: pip install "memwatch[node]"')
    if not plugins.serializers and not config.chosen("plugins.serializers"):
        raise SessionError(
            "no serializer is installed, so no value can be watched: pip install memwatch brings the usual plugins "
            "(memwatch-core is the core alone)"
        )
    if not plugins.sinks and not config.chosen("plugins.sinks"):
        say("no sink is installed, so no event is shown: pip install memwatch-sink-console; memwatch log shows them")


def _check_targets(target: Target, plugins: Plugins, config: Config) -> None:
    """Raises SessionError where targets, which are places of Python modules, are given for a program of another
    runtime. Those of a file may be meant for other programs."""
    if target.kind == "module":
        return
    for key, option in (("watch.targets", "--watch"), ("watch.breaks", "--break")):
        if config.source(key).where != option:
            continue
        for bridge in plugins.bridges:
            if bridge.matches(target.arguments):
                raise SessionError(
                    f"{option}: a target is a place of a Python module, and {target.arguments[0]} is run by another "
                    f"runtime ({bridge.name}): there the program watches, watch(x, {{when: 'new < 0'}}), or "
                    " --when judges all that it watches (docs/breaks.md)"
                )


def _environment() -> dict[str, str]:
    """Our environment without our settings: those are in the session's folder."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MEMWATCH_")}


def _bridged(
    target: Target, plugins: Plugins, environment: Mapping[str, str]
) -> tuple[Sequence[str], Mapping[str, str]]:
    """The target's command line and environment, as modified by the bridges."""
    command: Sequence[str] | None = None
    for bridge in plugins.bridges:
        try:
            if bridge.environment is not None:
                environment = bridge.environment(target.folder, environment)
            if command is None and target.kind != "module" and bridge.matches(target.arguments):
                command, environment = bridge.prepare(target.arguments, environment)
        except MemWatchError:
            raise
        except Exception as error:
            raise SessionError(f"bridge {bridge.name!r} failed: {type(error).__name__}: {error}") from error
    return command or target.command(), environment


def _ending(status: int) -> str:
    """``exit status 1``, ``killed by SIGTERM``."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"
