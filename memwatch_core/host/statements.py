"""The SQL contexts of one journal: opened by CONTEXT records, changed by OUTCOME records (docs/journal-format.md)."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

import msgspec

from ..records import NAME_MAX, Context

KEPT = 100_000
"""A context is forgotten once this many others have ended after it. If events carried it and its transaction is open,
its id and number of events are kept until the outcome comes: some 200 bytes each."""

STATEMENT_MAX = 1 << 16
"""Characters of a statement; writers truncate it to fewer."""

TEXTS_KEPT = 10_000
"""Limit of distinct texts that are interned."""

UNDECIDED = ("open", "ended", "closed")
"""Outcomes that the end of a transaction replaces."""


class _Outcome(msgspec.Struct):
    outcome: str | None = None
    rows: int | None = None
    ended: int | None = None
    transaction: int | None = None
    autocommit: bool | None = None
    scope: str = ""
    since: int = 0


_NAMES = ("driver", "statement_hash", "database", "server", "thread", "outcome")
_context = msgspec.json.Decoder(Context)
_outcome = msgspec.json.Decoder(_Outcome)


class InForce(Protocol):
    """Where stores look up the context that they name."""

    def context(self, ident: int, context: Context | None) -> int:
        """Sets the context for an id; None removes it. Returns how many events carried the id since the last call."""


class Settled(NamedTuple):
    """What became of contexts; the fields of :class:`memwatch_core.records.Outcome`."""

    outcome: str
    contexts: tuple[int, ...]
    transaction: int
    events: int


class Contexts:
    """All known contexts. Tells the store loop which of them are in force.

    ``final`` has outcomes that are known in advance (see :mod:`memwatch_core.host.outcomes`); events then carry those.
    """

    def __init__(self, stores: InForce, final: Mapping[int, str] | None = None) -> None:
        self.known: dict[int, Context] = {}
        """By id, in their present state; includes those that have ended."""
        self._stores = stores
        self._final: Mapping[int, str] = {} if final is None else final
        self._ended: OrderedDict[int, None] = OrderedDict()
        self._transactions: dict[int, list[int]] = {}
        """Transaction id -> ids of its contexts whose outcome it may still replace, in ascending order."""
        self._carried: dict[int, int] = {}  # id -> events whose statement's outcome wasn't reported yet
        self._reopened: dict[int, str] = {}  # in force again after its transaction ended: that outcome
        self._texts: dict[str, str] = {}

    def _same(self, text: str, most: int = NAME_MAX) -> str:
        """Interns a text, truncated if too long: a program runs few different statements, often."""
        text = text if len(text) <= most else text[: most - 1] + "…"
        if len(self._texts) > TEXTS_KEPT:
            self._texts.clear()
        return self._texts.setdefault(text, text)

    def open(self, ident: int, payload: bytes) -> None:
        """A CONTEXT record. Raises msgspec.MsgspecError, ValueError, RecursionError."""
        context = _context.decode(payload)
        context = msgspec.structs.replace(
            context, id=ident, statement=self._same(context.statement, STATEMENT_MAX),
            **{name: self._same(getattr(context, name)) for name in _NAMES},
        )  # fmt: skip
        self._set(ident, context)

    def update(self, ident: int, payload: bytes) -> Settled | None:
        """Handles an OUTCOME record. Returns the outcome to report, if final. Raises like :meth:`open`."""
        new = _outcome.decode(payload)
        new.outcome = None if new.outcome is None else self._same(new.outcome)
        if new.scope in ("transaction", "savepoint"):
            return self._end_transaction(ident, new)
        context = self.known.get(ident)
        if context is None:
            return None  # forgotten long after its end, or its record was lost, which was reported
        names = ("outcome", "rows", "ended", "transaction", "autocommit")
        said = {name: value for name in names if (value := getattr(new, name)) is not None}
        after = msgspec.structs.replace(context, **said)
        if after.outcome == "open" and context.outcome not in UNDECIDED:
            self._reopened[ident] = context.outcome
        elif after.outcome != "open" and ident in self._reopened:  # it ends again; its transaction has ended before
            decided = self._reopened.pop(ident)
            if after.outcome in UNDECIDED:
                after = msgspec.structs.replace(after, outcome=decided)
        self._set(ident, after)
        if after.outcome not in UNDECIDED:
            return self._settle(after.outcome, (ident,), 0 if after.outcome.startswith("failed") else after.transaction)
        if after.autocommit and after.outcome != "open":
            return self._settle("committed", (ident,), 0)
        return None

    def _end_transaction(self, transaction: int, new: _Outcome) -> Settled | None:
        if new.outcome is None:
            return None
        members = self._transactions.pop(transaction, [])
        first = bisect_left(members, new.since) if new.scope == "savepoint" else 0
        decided = []
        for member in members[first:]:
            context = self.known.get(member)
            if context is None:  # forgotten, except for the events to report
                decided.append(member)
            elif context.outcome in UNDECIDED:
                decided.append(member)
                after = msgspec.structs.replace(context, outcome=new.outcome)
                if context.outcome == "open":
                    self._set(member, after)
                else:
                    self.known[member] = after
        # Only contexts before the savepoint stay in the transaction: later ones have their final outcome unless
        # reopened.
        self._transactions.pop(transaction, None)
        if first:
            self._transactions[transaction] = members[:first]
        return self._settle(new.outcome, decided, transaction)

    def _settle(self, outcome: str, idents: Iterable[int], transaction: int) -> Settled | None:
        """The outcome of ``idents`` (ascending) to report, if events carried them. Those events then count as
        reported."""
        events = {ident: count for ident in idents if (count := self._carried.pop(ident, 0))}
        return Settled(self._same(outcome), tuple(events), transaction, sum(events.values())) if events else None

    def _set(self, ident: int, context: Context) -> None:
        """Stores may refer to a context only while its outcome is ``open``."""
        before = self.known.get(ident)
        self.known[ident] = context
        self._ended.pop(ident, None)
        if before is not None and before.transaction != context.transaction:
            self._leave(before.transaction, ident)
        if context.transaction:
            members = self._transactions.setdefault(context.transaction, [])
            if not members or members[-1] < ident:
                members.append(ident)
            elif members[bisect_left(members, ident)] != ident:
                insort(members, ident)
        if context.outcome == "open":
            final = self._final.get(ident)
            shown = context if final is None else msgspec.structs.replace(context, outcome=final)
            self._count(ident, self._stores.context(ident, shown))
            return
        self._count(ident, self._stores.context(ident, None))
        self._ended[ident] = None
        if len(self._ended) > KEPT:
            self._forget(self._ended.popitem(last=False)[0])

    def _count(self, ident: int, events: int) -> None:
        if events:
            self._carried[ident] = self._carried.get(ident, 0) + events

    def _forget(self, ident: int) -> None:
        context = self.known.pop(ident)
        if ident in self._carried and context.transaction and context.outcome in UNDECIDED:
            return
        self._carried.pop(ident, None)
        self._leave(context.transaction, ident)

    def _leave(self, transaction: int, ident: int) -> None:
        members = self._transactions.get(transaction, [])
        at = bisect_left(members, ident)
        if at < len(members) and members[at] == ident:
            del members[at]
        if not members:
            self._transactions.pop(transaction, None)
