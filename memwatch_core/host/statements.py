"""The SQL contexts of one journal: opened by CONTEXT records, changed by OUTCOME records (docs/journal-format.md)."""

from __future__ import annotations

from collections import OrderedDict, defaultdict

import msgspec

from ..journal.stores import PythonStores
from ..records import Context

KEPT = 100_000
"""Contexts that have ended are forgotten when this many have ended after them."""


class _Outcome(msgspec.Struct):
    outcome: str | None = None
    rows: int | None = None
    ended: int | None = None
    transaction: int | None = None
    scope: str = ""


_context = msgspec.json.Decoder(Context)
_outcome = msgspec.json.Decoder(_Outcome)


class Contexts:
    """What is known of each context, and, told to the store loop, which of them are in force."""

    def __init__(self, stores: PythonStores) -> None:
        self.known: dict[int, Context] = {}
        """By id, as of now: also those that have ended."""
        self._stores = stores
        self._ended: OrderedDict[int, None] = OrderedDict()
        self._transactions: defaultdict[int, set[int]] = defaultdict(set)
        self._texts: dict[str, str] = {}

    def _same(self, text: str) -> str:
        """One object for equal texts: a program runs few statements, often."""
        if len(self._texts) > 10_000:
            self._texts.clear()
        return self._texts.setdefault(text, text)

    def open(self, ident: int, payload: bytes) -> None:
        """A CONTEXT record. Raises msgspec.MsgspecError, ValueError, RecursionError."""
        context = _context.decode(payload)
        context = msgspec.structs.replace(
            context, id=ident, driver=self._same(context.driver), statement=self._same(context.statement),
            statement_hash=self._same(context.statement_hash), database=self._same(context.database),
            thread=self._same(context.thread),
        )  # fmt: skip
        self._set(ident, context)

    def _set(self, ident: int, context: Context) -> None:
        """In force, for the stores that name it, only while its outcome is ``open``."""
        before = self.known.get(ident)
        self.known[ident] = context
        self._ended.pop(ident, None)
        if before is not None and before.transaction != context.transaction:
            self._leave(before)
        if context.transaction:
            self._transactions[context.transaction].add(ident)
        if context.outcome == "open":
            self._stores.context(ident, context)
            return
        self._stores.context(ident, None)
        self._ended[ident] = None
        if len(self._ended) > KEPT:
            self._leave(self.known.pop(self._ended.popitem(last=False)[0]))

    def _leave(self, context: Context) -> None:
        members = self._transactions.get(context.transaction, set())
        members.discard(context.id)
        if not members:
            self._transactions.pop(context.transaction, None)

    def update(self, ident: int, payload: bytes) -> None:
        """An OUTCOME record. Raises like :meth:`open`."""
        new = _outcome.decode(payload)
        if new.scope == "transaction":
            for member in self._transactions.pop(ident, ()):
                if new.outcome is not None and self.known[member].outcome in ("open", "ended", "closed"):
                    self.known[member] = msgspec.structs.replace(self.known[member], outcome=new.outcome)
            return
        context = self.known.get(ident)
        if context is None:
            return  # ended long ago and forgotten, or its record was lost, which has been said
        names = ("outcome", "rows", "ended", "transaction")
        said = {name: value for name in names if (value := getattr(new, name)) is not None}
        self._set(ident, msgspec.structs.replace(context, **said))
