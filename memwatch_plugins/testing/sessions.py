"""A real session of this process, with only the plugins under test, read back by the host's decoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from memwatch_core.adapter.join import Membership, join
from memwatch_core.config import Config
from memwatch_core.host.decoder import JournalDecoder
from memwatch_core.journal.session import create_session
from memwatch_core.loading.discovery import Plugins
from memwatch_core.loading.report import LoadReport
from memwatch_core.records import Event, Layout, Record, Serializer, SqlDriver, TypeFormat

INT64 = Serializer(
    name="int64",
    summary="64-bit integers",
    accepts=lambda value: type(value) is int,
    layout=lambda value, options: Layout("int", 8),
    encode=lambda value, options: int(value).to_bytes(8, "little", signed=True),
    decode=lambda data, options: int.from_bytes(data, "little", signed=True),
    format="<q",
)
"""The default serializer of contracts that aren't about serializers."""
_PAGE, _SLOT, _CONTINUATION = 4096, 64, 2


class RealSession:
    """An open session. :meth:`records`, :meth:`events` and :meth:`bytes` end it."""

    def __init__(self, folder: Path, membership: Membership, serializers: Sequence[Serializer]) -> None:
        self.folder = folder
        self._membership = membership
        self._serializers = {serializer.name: serializer for serializer in serializers}

    def leave(self) -> None:
        """Ends the session. Idempotent."""
        self._membership.leave()

    def records(self) -> list[Record]:
        """All records of its journal."""
        self.leave()
        (journal,) = self.folder.glob("*.mwj")
        decoder = JournalDecoder(journal, self._serializers)
        found: list[Record] = []
        while not decoder.ended:
            found += decoder.poll()
        return found

    def events(self) -> list[Event]:
        return [record for record in self.records() if isinstance(record, Event)]

    def bytes(self) -> bytes:
        """All bytes of the session except its key. Payloads that continue over several slots are added in one piece."""
        self.leave()
        found = [path.read_bytes() for path in self.folder.iterdir() if path.name != "key"]
        for journal in self.folder.glob("*.mwj"):
            data = journal.read_bytes()
            slots = (data[at : at + _SLOT] for at in range(_PAGE, len(data), _SLOT))
            found.append(b"".join(slot[4:] if slot[:1] == bytes([_CONTINUATION]) else slot for slot in slots))
        return b"\n".join(found)


@contextmanager
def real_session(
    folder: Path,
    *,
    serializers: Sequence[Serializer] = (INT64,),
    drivers: Sequence[SqlDriver] = (),
    formats: Sequence[TypeFormat] = (),
    **sql: str,
) -> Iterator[RealSession]:
    """Watches in a new session below ``folder``, with SQL contexts, while the block runs. ``sql``: settings of
    ``[sql]``."""
    config = Config.of({"sql": sql, "watch": {"track_sql": True}})
    where = create_session(folder, ["contract"])
    plugins = Plugins(tuple(serializers), tuple(drivers), (), (), LoadReport(()), formats=tuple(formats))
    session = RealSession(where, join(where, config, plugins), serializers)
    try:
        yield session
    finally:
        session.leave()
