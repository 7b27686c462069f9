"""What the SQL tests share: a writer of contexts that keeps them, and a session whose events are read back."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from memwatch_core.adapter.contexts import SqlContexts
from memwatch_core.host.decoder import JournalDecoder
from memwatch_core.native.tracing import in_force
from memwatch_core.records import Database, Event, Layout, Record, Serializer

CONTINUATION = 2
KEY = b"a key of 32 bytes, for the tests"
DEFAULTS = {"outcome": "open", "transaction": 0, "autocommit": False, "database": "", "server": "", "parameters": []}


@dataclass
class Records:
    """A writer of contexts that keeps them, and applies outcomes as docs/journal-format.md says."""

    contexts: dict[int, dict[str, Any]] = field(default_factory=dict)
    log: list[tuple[str, int, dict[str, Any]]] = field(default_factory=list)
    fail: BaseException | None = None

    def context(self, context: int, payload: bytes) -> None:
        if self.fail is not None:
            raise self.fail
        self.contexts[context] = DEFAULTS | json.loads(payload)
        self.log.append(("context", context, json.loads(payload)))

    def outcome(self, context: int, payload: bytes) -> None:
        if self.fail is not None:
            raise self.fail
        new = json.loads(payload)
        self.log.append(("outcome", context, json.loads(payload)))
        if new.pop("scope", ""):
            for ident, each in self.contexts.items():
                concerned = each["transaction"] == context and ident >= new.get("since", 0)
                if concerned and each["outcome"] in ("open", "ended", "closed"):
                    each["outcome"] = new["outcome"]
        else:
            self.contexts[context] |= {key: value for key, value in new.items() if value is not None}

    @property
    def current(self) -> dict[str, Any] | None:
        """The context in force here, as somebody who reads the journal now would attribute a store."""
        context = self.contexts.get(in_force())
        return context if context is not None and context["outcome"] == "open" else None

    @property
    def statement(self) -> str | None:
        return self.current["statement"] if self.current is not None else None

    @property
    def outcomes(self) -> list[tuple[str, str]]:
        """(statement, outcome) in order of beginning."""
        return [(each["statement"], each["outcome"]) for _, each in sorted(self.contexts.items())]


def outcomes(records: Records) -> list[str]:
    """Of each statement, in order of beginning."""
    return [outcome for _, outcome in records.outcomes]


class Connection:
    """Anything that allows weak references will do."""


def run(tracer: SqlContexts, text: str, connection: object = None, /, dialect: str = "", **ends: Any) -> Any:
    """One statement, from its beginning to its end; its token."""
    token = tracer.statement_begins("driver", text, None, connection, Database("db"), dialect)
    tracer.statement_ends(token, **({"fetchable": False, "in_transaction": False} | ends))
    return token


INT64 = Serializer(
    name="int64",
    summary="64-bit integers",
    accepts=lambda value: type(value) is int,
    layout=lambda value, options: Layout("int", 8),
    encode=lambda value, options: int(value).to_bytes(8, "little", signed=True),
    decode=lambda data, options: int.from_bytes(data, "little", signed=True),
    format="<q",
)


@dataclass
class Session:
    folder: Path
    leave: Callable[[], None]

    def records(self) -> list[Record]:
        """Everything in the journal. Ends the session."""
        self.leave()
        (journal,) = self.folder.glob("*.mwj")
        decoder = JournalDecoder(journal, {"int64": INT64})
        found: list[Record] = []
        while not decoder.ended:
            found += decoder.poll()
        return found

    def events(self) -> list[Event]:
        return [record for record in self.records() if isinstance(record, Event)]

    def bytes(self) -> bytes:
        """Every byte of the session but its key; a record's payload in one piece, as its slots are joined."""
        found = [path.read_bytes() for path in self.folder.iterdir() if path.name != "key" and path.suffix != ".mwj"]
        for journal in self.folder.glob("*.mwj"):
            data = journal.read_bytes()
            slots = [data[at : at + 64] for at in range(4096, len(data), 64)]
            found += [data[:4096], b"".join(slot[4:] if slot[0] == CONTINUATION else slot for slot in slots), data]
        return b"\n".join(found)
