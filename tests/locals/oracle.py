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
