"""What a program binds, told by the interpreter itself: each instruction that stores or deletes, as it is executed.

Which of them belong to comprehensions, or end an ``except … as e``, is found out by their positions in the source: by
another way than the one that is tested.
"""

from __future__ import annotations

import ast
import dis
import sys
from collections.abc import Callable, Iterator
from types import CodeType, FrameType
from typing import Any, NamedTuple

STORES = {f"{what}_{where}" for what in ("STORE", "DELETE") for where in ("FAST", "DEREF", "GLOBAL", "NAME")}
MACHINERY = {
    *("__module__", "__qualname__", "__firstlineno__", "__static_attributes__", "__class__", "__classcell__"),
    *("__classdict__", "__classdictcell__", "__conditional_annotations__"),
}


class Bound(NamedTuple):
    """A binding."""

    function: str
    name: str
    deleted: bool
    line: int | None


class Source:
    """A module's text, and what its positions say."""

    def __init__(self, text: str, path: str) -> None:
        self.path = path
        tree = ast.parse(text)
        self.stored = set[tuple[Any, ...]]()
        """Where a name stands that is bound, as the source says."""
        self.alone = set[tuple[Any, ...]]()
        """Where a comprehension stands, and where its variables are."""
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
                self.stored.add((node.id, *_where(node)))
            if isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
                self.alone.add(_where(node))
                for one in node.generators:
                    self.alone |= {_where(n) for n in ast.walk(one.target) if isinstance(n, ast.Name | ast.Starred)}
                    self.alone.add(_where(one.target))


def _where(node: Any) -> tuple[int, int, int, int]:
    return node.lineno, node.end_lineno, node.col_offset, node.end_col_offset


class _Step(NamedTuple):
    """A store or deletion of an instruction."""

    name: str
    deleted: bool
    own: bool
    """Of a cell: the code has made it."""


class Oracle:
    """Traces what the code of a source binds while it runs."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.bound: list[Bound] = []
        self._tables: dict[CodeType, dict[int, dis.Instruction]] = {}

    def run(self, function: Callable[[], Any]) -> Any:
        import threading

        frame = sys._getframe()
        frame.f_trace_opcodes = True  # 3.12: otherwise no instruction is traced
        threading.settrace(self._trace)
        sys.settrace(self._trace)
        try:
            return function()
        finally:
            sys.settrace(None)
            threading.settrace(None)  # type: ignore[arg-type]

    def _trace(self, frame: FrameType, event: str, argument: object) -> Any:
        if frame.f_code.co_filename != self.source.path:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            self._take(frame)
        return self._trace

    def _take(self, frame: FrameType) -> None:
        code = frame.f_code
        table = self._tables.get(code)
        if table is None:
            table = self._tables[code] = {i.offset: i for i in dis.get_instructions(code)}
        found = table.get(frame.f_lasti)
        for step in () if found is None else _steps(code, found):
            self.bound += self._told(code, table, found, step)

    def _told(self, code: CodeType, table: dict[int, dis.Instruction], found: Any, step: _Step) -> Iterator[Bound]:
        if code.co_name == "<module>" or step.name.startswith("."):
            return
        if code.co_name.startswith("<") and step.own:
            return
        if not code.co_flags & 1 and step.name in MACHINERY:
            return
        where = tuple(found.positions)
        positions = (where[0], where[1], where[2], where[3])
        if positions in self.source.alone:
            return
        following = table.get(found.offset + 2)
        if not step.deleted and following is not None and (step.name, *positions) not in self.source.stored:
            ends = following.opname.startswith("DELETE_") and following.argval == step.name
            if ends and following.positions == found.positions:
                return  # `except … as e` ends: None is stored, and deleted
        yield Bound(code.co_name, step.name, step.deleted, positions[0])


def _steps(code: CodeType, found: dis.Instruction) -> Iterator[_Step]:
    name = found.opname
    if name == "STORE_FAST_STORE_FAST":
        for one in found.argval:
            yield _Step(one, False, True)
    elif name == "STORE_FAST_LOAD_FAST":
        yield _Step(found.argval[0], False, True)
    elif name in STORES:
        own = name.endswith("_FAST") or (name.endswith("_DEREF") and found.argval not in code.co_freevars)
        yield _Step(found.argval, name.startswith("DELETE"), own or name.endswith("_NAME"))


class Change(NamedTuple):
    """A name of a function holds something else than before."""

    function: str
    name: str
    old: str
    new: str


class Values(Oracle):
    """Also tells what names of functions hold before and after, parameters too."""

    def __init__(self, source: Source, code: CodeType, words: Callable[[object], str]) -> None:
        super().__init__(source)
        self._changes: list[Change | None] = []
        self._words = words
        self._codes = {one.co_qualname: one for one in _codes(code)}
        self._open: dict[FrameType, list[tuple[int, str, Any]]] = {}
        """Of a frame whose instruction hasn't ended: which change it is, the name, and what it held."""
        self._begun: set[FrameType] = set()
        self._handled: dict[tuple[FrameType, str], Any] = {}
        """What a name held before it was given None, with which ``except … as e`` ends, and then deleted."""

    def _trace(self, frame: FrameType, event: str, argument: object) -> Any:
        if frame.f_code.co_filename == self.source.path:
            if frame in self._open:
                self._close(frame)
            if event == "call" and frame not in self._begun:
                self._begin(frame)
        return super()._trace(frame, event, argument)

    def _begin(self, frame: FrameType) -> None:
        self._begun.add(frame)
        code = frame.f_code
        if code.co_flags & 1 and not code.co_name.startswith("<"):
            count = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & 4) + bool(code.co_flags & 8)
            for name in code.co_varnames[:count]:
                self._changes.append(Change(code.co_name, name, "absent", self._words(frame.f_locals[name])))

    def _take(self, frame: FrameType) -> None:
        before = len(self.bound)
        super()._take(frame)
        found = self._tables[frame.f_code].get(frame.f_lasti)
        if len(self.bound) == before and found is not None and found.opname.startswith("STORE_"):
            self._handled[frame, found.argval] = frame.f_locals.get(found.argval, _ABSENT)
        for bound in self.bound[before:]:
            if (owner := self._owner(frame.f_code, bound.name)) is not None:
                old = frame.f_locals.get(bound.name, _ABSENT)
                if bound.deleted and old is None:
                    old = self._handled.pop((frame, bound.name), None)
                self._changes.append(Change(owner, bound.name, self._said(old), ""))
                self._open.setdefault(frame, []).append((len(self._changes) - 1, bound.name, old))

    def _owner(self, code: CodeType, name: str) -> str | None:
        """The function whose name it is; None: it is the module's, or the body's of a class."""
        if name not in code.co_freevars:
            own = code.co_flags & 1 and name in (*code.co_varnames, *code.co_cellvars)
            return code.co_name if own else None
        outer = code.co_qualname
        while outer:
            outer = outer.rpartition(".")[0]
            if (found := self._codes.get(outer.removesuffix(".<locals>"))) and name in found.co_cellvars:
                return found.co_name
        return None

    def _close(self, frame: FrameType) -> None:
        for index, name, old in self._open.pop(frame):
            new = frame.f_locals.get(name, _ABSENT)
            change = self._changes[index]
            assert change is not None
            self._changes[index] = None if new is old else change._replace(new=self._said(new))

    def _said(self, value: Any) -> str:
        return "absent" if value is _ABSENT else self._words(value)

    def told(self) -> list[Change]:
        """All but the bindings of what a name holds already."""
        return [change for change in self._changes if change is not None]


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield from _codes(one)


_ABSENT = object()
