"""``memwatch run``: starts the program as a child that writes its journal; this process reads it and feeds the sinks.

The program only pays for writing. It keeps its own standard streams, exit status and signals.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .. import config as configuration
from ..adapter.launch import COMMAND
from ..config import Config
from ..errors import ConfigError, MemWatchError, SessionError
from ..host.follow import Follow
from ..host.own import is_own_by
from ..host.pipeline import Pipeline, open_sinks
from ..host.summary import Summary
from ..journal.claim import Claim
from ..journal.session import create_session, save_drivers
from ..loading.discovery import Plugins, load
from ..printed import say, settle
from .child import Child, end_like

STACK = 16
"""``watch.stack`` under ``memwatch run``."""
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


def refuse_unsupported(config: Config) -> None:
    """Raises ConfigError for a setting of the specification that this version doesn't implement."""
    for key in ("track_locals",):
        if getattr(config.watch, key):
            raise ConfigError(
                f"{config.source(f'watch.{key}').where}: watch.{key} isn't implemented in this version of MemWatch: "
                "watch values one by one with watch(), and leave it out"
            )


def with_stacks(config: Config) -> Config:
    """The settings of a program that is run: its stores are recorded with their callers, unless it was said
    otherwise."""
    return config if config.watch.stack != "auto" else config.but(watch=config.watch.but(stack=STACK))


def run(target: Target, config: Config, *, quiet: bool = False) -> int:
    """Runs the target to its end and returns this process's exit status, or dies by the target's signal.

    Raises MemWatchError if the target can't be started; nothing of it has run then. Call it in the main thread.
    """
    refuse_unsupported(config)
    plugins = load(config)
    _check_installed(target, plugins, config)
    for broken in plugins.report.problems:  # defaults only: a configured plugin would have raised
        say(f"{broken}: {broken.reason}; going on without it")
    command, environment = _bridged(target, plugins, _environment())
    summary = Summary()
    outputs = open_sinks(plugins.sinks, config)
    pipeline = Pipeline(outputs, say)
    started = time.monotonic()
    with ExitStack() as undo:
        undo.callback(pipeline.close)
        folder = create_session(config.journal.folder, target.shown)
        configuration.save(with_stacks(config), folder)
        save_drivers(folder, plugins.sql)
        claim = Claim(folder)  # before any writer could wait for a reader
        undo.callback(claim.close)
        child = Child(command, {**environment, "MEMWATCH_SESSION": str(folder)})
        undo.pop_all()
    follow = Follow(folder, plugins.serializers, summary, pipeline, say, claim, is_own_by(config.sites.own))
    follow.start()
    try:
        status = child.wait()
        follow.finish()
        if not child.patience(lambda: not follow.is_alive()):
            follow.abandon()
            say("interrupted: what the journal holds beyond this was not shown; memwatch log shows it all")
    finally:
        child.release()
    summary.unread = follow.gone
    if follow.gone and quiet:
        say(f"{folder}: the session's folder was removed while it was in use: events may be missing")
    if not (quiet or follow.failed):
        _conclude(summary, folder, config, f"{time.monotonic() - started:.2f} s, {_ending(status)}")
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


def _conclude(summary: Summary, folder: Path, config: Config, end: str) -> None:
    together = f"({end})".replace(" ", "\t")
    say(f"{summary.sentence()} {together}")
    for line in summary.lines():
        say(f"  {line}")
    if summary.empty:
        return
    if summary.unread:
        say(f"session {folder} is gone: it can't be read again")
        return
    shown = str(folder)
    with suppress(OSError):  # the working folder may be gone
        relative = os.path.relpath(folder)
        shown = shown if relative.startswith("..") else relative
    say(f"session {shown}; read it again with: memwatch\tlog{'' if _is_found(config) else f' {shown}'}")


def _is_found(config: Config) -> bool:
    """Whether ``memwatch log`` finds this session without options."""
    try:
        return configuration.load().journal.folder == config.journal.folder
    except ConfigError:
        return False
