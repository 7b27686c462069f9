"""A session of this process that this process reads itself, whenever it asks: no thread, no other process.

For tools that watch on their user's behalf, and ask in between what has been written: pytest-memwatch.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from .. import config as configuration
from ..adapter.aimed import IMPORT_NAMES as IMPORT_NAMES
from ..adapter.join import Membership, join
from ..adapter.names import UNNAMED as UNNAMED
from ..adapter.names import infer_argument as infer_argument
from ..adapter.names import infer_name as infer_name
from ..adapter.snapshot import MISSING as MISSING
from ..adapter.snapshot import Place as Place
from ..adapter.snapshot import Snapshot as Snapshot
from ..adapter.snapshot import path_to as path_to
from ..adapter.snapshot import snapshot as snapshot
from ..adapter.snapshot import step_to as step_to
from ..adapter.snapshot import value_at as value_at
from ..adapter.watch import unwatch as unwatch
from ..adapter.watch import unwatch_place as unwatch_place
from ..adapter.watch import variable as variable
from ..adapter.watch import watch as watch
from ..adapter.watch import watch_place as watch_place
from ..host.decoder import JournalDecoder
from ..host.own import is_own_by
from ..journal.session import create_session
from ..loading.discovery import load
from ..native import core, proxy
from ..native.proxy import is_proxy as is_proxy
from ..native.proxy import why_no_places as why_no_places
from ..records import Record


class Recording:
    """An open session whose folder is below ``folder``. ``sections`` override settings, as those of ``session()``.

    Raises ConfigError, PluginError, SessionError (this process already writes to a session, or the folder can't be
    created), CoreError (this machine can't). Not thread-safe.
    """

    def __init__(self, folder: str | os.PathLike[str], **sections: Mapping[str, Any]) -> None:
        overrides = {name: dict(values) for name, values in sections.items()}
        overrides.setdefault("journal", {}).update(folder=os.fspath(folder), max_bytes=0)
        config = configuration.load(overrides=overrides)
        kinds = ("serializers", *(("sql",) if config.asks_for_sql else ()))
        plugins = load(config, kinds, light=True)
        self.folder: Path = create_session(config.journal.folder, sys.orig_argv)
        configuration.save(config, self.folder)
        self._membership: Membership = join(self.folder, config, plugins)
        self._serializers = {one.name: one for one in plugins.serializers}
        self._is_own = is_own_by(config.sites.own)
        self._decoder: JournalDecoder | None = None
        self._pid = os.getpid()

    @property
    def moved(self) -> bool:
        """Whether something was recorded that wasn't read yet. Costs some µs."""
        read = 0 if self._decoder is None or self._pid != os.getpid() else self._decoder.reader.position
        return core.stats().slots != read

    def audit(self) -> int:
        """Compares everything that is watched where it lies with what was recorded of it; what was changed unseen is
        recorded. Returns how many places that were."""
        return proxy.audit_places()

    def read(self) -> Iterator[list[Record]]:
        """What this process has recorded since the last call, some thousands at a time. In a forked child: since the
        fork, of its own."""
        if self._pid != os.getpid():
            self._pid, self._decoder = os.getpid(), None
        until = core.stats().slots
        if self._decoder is None:
            if not os.path.exists(path := core.journal_path()):
                return
            self._decoder = JournalDecoder(path, self._serializers, is_own=self._is_own)
        while self._decoder.reader.position < until and (records := self._decoder.poll()):
            yield records

    def close(self, *, keep: bool) -> None:
        """Ends all watches and the session; without ``keep``, removes its folder, and the one that it is in if nothing
        else is there."""
        self._membership.leave()
        if self._decoder is not None:
            self._decoder.close()
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)
            with suppress(OSError):
                self.folder.parent.rmdir()
