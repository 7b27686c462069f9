"""In-process use: ``with memwatch_core.session():`` reports the writes of this process while the block runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from .. import config as configuration
from ..adapter.join import join
from ..config import Config
from ..errors import ConfigError, SessionError
from ..files import keep_with
from ..host.follow import Follow
from ..host.own import is_own_by
from ..host.pipeline import Pipeline, merged_sinks, open_sinks
from ..host.summary import Summary
from ..journal.claim import Claim
from ..journal.session import create_session
from ..loading.discovery import load
from ..native import core
from ..printed import say
from ..records import RecordSink


class Session:
    """An open session. The journal stays in ``folder``, for ``memwatch log``."""

    def __init__(self, folder: Path, tracker: str, config: Config, follow: Follow, summary: Summary) -> None:
        self.folder = folder
        self.tracker = tracker
        self.config = config
        self.summary = summary
        """The counts so far; complete after the block."""
        self._follow = follow

    def flush(self) -> None:
        """Returns once every write made before the call has reached every sink. Thread-safe."""
        self._follow.flush()


@contextmanager
def session(
    config: Config | str | os.PathLike[str] | None = None,
    *,
    folder: str | os.PathLike[str] | None = None,
    sinks: Sequence[str | RecordSink] | None = None,
    **sections: Mapping[str, Any],
) -> Iterator[Session]:
    """Watches in this process, without ``memwatch run``: a thread hands the events of a new session to the sinks.

    ``config`` is a file's path or a :class:`Config` (default: found as :mod:`memwatch_core.config` describes);
    ``folder`` keeps sessions; ``sinks`` are names of plugins, or objects with ``write``, ``flush`` and ``close``;
    ``sections`` override settings. At the end of the block all watches end, all events are handed to the sinks, and the
    sinks are closed.

    .. code-block:: python

        with memwatch_core.session(sinks=["console"], watch={"track_sql": True}) as session:
            total = watch(0, name="total")
            total += 5

    Raises ConfigError, PluginError, SessionError (this process already writes to a session, or the folder can't be
    created), CoreError (this machine can't; see ``memwatch doctor``).
    """
    keep_with(core.keep_descriptor, core.close_descriptor)
    effective = _configure(config, folder, sinks, sections)
    kinds = ("serializers", "sinks", *(("sql",) if effective.asks_for_sql else ()))
    plugins = load(effective, kinds, light=True)
    for broken in plugins.report.problems:
        say(f"{broken}: {broken.reason}; going on without it")
    outputs = open_sinks(plugins.sinks, effective)
    objects = [sink for sink in sinks or () if not isinstance(sink, str)]
    pipeline = Pipeline(
        [*outputs, *((type(sink).__name__, sink) for sink in objects)], say, merged_sinks(plugins.sinks, effective)
    )
    with ExitStack() as undo:
        undo.callback(pipeline.close)
        where = create_session(effective.journal.folder, sys.orig_argv)
        configuration.save(effective, where)
        claim = Claim(where)
        undo.callback(claim.close)
        membership = join(where, _never_waiting(effective), plugins)
        undo.pop_all()
    summary = Summary()
    follow = Follow(where, plugins.serializers, summary, pipeline, say, claim, is_own_by(effective.sites.own))
    follow.start()
    try:
        yield Session(where, membership.journal.tracker, effective, follow, summary)
    finally:
        try:
            membership.leave()
        finally:
            follow.finish()
            follow.join()


def _never_waiting(config: Config) -> Config:
    """Replaces the policy ``block``: here the reader needs the GIL, which a waiting writer would hold."""
    if config.journal.policy != "block":
        return config
    return config.but(journal=config.journal.but(policy="drop"))


def _configure(
    config: Config | str | os.PathLike[str] | None,
    folder: str | os.PathLike[str] | None,
    sinks: Sequence[str | RecordSink] | None,
    sections: Mapping[str, Mapping[str, Any]],
) -> Config:
    overrides: dict[str, dict[str, Any]] = {}
    labels: dict[str, str] = {}
    for section, values in sections.items():
        if not isinstance(values, Mapping):
            example = "a section of settings, such as watch={'track_sql': True}"
            raise ConfigError(f"session({section}=...): must be {example}")
        overrides[section] = dict(values)
        labels |= {section: f"session({section}=...)"} | {f"{section}.{k}": f"session({section}=...)" for k in values}
    if folder is not None:
        overrides.setdefault("journal", {})["folder"] = os.fspath(folder)
        labels["journal.folder"] = "session(folder=...)"
    if sinks is not None:
        for sink in sinks:
            if not isinstance(sink, str) and not all(hasattr(sink, name) for name in ("write", "flush", "close")):
                raise SessionError(f"session(sinks=...): {sink!r} is neither a name nor has write, flush and close")
        overrides.setdefault("plugins", {})["sinks"] = [sink for sink in sinks if isinstance(sink, str)]
        labels["plugins.sinks"] = "session(sinks=...)"
    if not isinstance(config, Config):
        return configuration.load(config, overrides=overrides, labels=labels)
    return configuration.override(config, overrides, labels)
