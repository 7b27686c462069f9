"""Where the code of a function binds names, and that code with each binding announced.

An announcement stands before the instruction that stores or deletes, while the name still holds what it held, or where
a function begins. It loads a constant of the code, asks for its truth, and drops the answer. That constant is of a type
of ours, a *site*, which is told so that it is its turn; it finds the value to be stored on the frame's stack, below
itself. Where something else stands for it, in code that was marshalled or pickled, the announcement does nothing.

``x += e`` is announced in two steps, before the addition and behind the store: CPython adds to a text in place, as long
as the store is the next instruction.

Code that :func:`instrument` returns has placeholders, which can be marshalled; :func:`bind` puts in the sites.

What isn't announced: variables of comprehensions, what a lambda or a generator expression has for itself, what the
compiler stores for itself.
"""

from __future__ import annotations

import inspect
import opcode
from collections.abc import Collection, Sequence
from types import CodeType
from typing import Any, NamedTuple, Protocol

from . import comprehensions, stacks
from .assembler import Insertions, Instruction, Op, compiled, halves, insert, instructions

MARK = "\0memwatch locals 2"
"""The first item of a placeholder."""
_LOAD, _POP = opcode.opmap["LOAD_CONST"], Op(opcode.opmap["POP_TOP"])
_TRUTH = compiled("not a", "TO_BOOL" if "TO_BOOL" in opcode.opmap else "UNARY_NOT")
_RESUME, _MAKE_CELL = opcode.opmap["RESUME"], opcode.opmap["MAKE_CELL"]
_NONE = next(one for one in instructions(compile("[None, a]", "", "eval")) if one.op != _RESUME)
_KINDS = {"FAST": "fast", "DEREF": "cell", "NAME": "name", "GLOBAL": "global"}
_STORES = {opcode.opmap[f"STORE_{end}"]: kind for end, kind in _KINDS.items()}
_DELETES = {opcode.opmap[f"DELETE_{end}"]: kind for end, kind in _KINDS.items()}
_ADD, _ADD_TO = compiled("a + b", "BINARY_OP"), compiled("a += b", "BINARY_OP")
_STORE_FAST = opcode.opmap["STORE_FAST"]
_STORE_AND_LOAD = opcode.opmap.get("STORE_FAST_LOAD_FAST", -1)
_DEPTH = 1
_OF_CLASSES = frozenset(
    ("__module__", "__qualname__", "__firstlineno__", "__static_attributes__", "__class__", "__classcell__")
).union(("__classdict__", "__classdictcell__", "__conditional_annotations__"))
"""What the compiler stores in the body of a class."""


class Entry(NamedTuple):
    """Placeholder for what stands where a function, or the body of a class, begins."""

    mark: str
    kind: str
    name: str
    """Of its variable: ``orders:add_order()``."""
    line: int
    parameters: tuple[tuple[str, int, bool], ...]
    """Name, slot, whether the slot has a cell by then."""
    shared: tuple[int, ...]
    """Slots of cells that inner functions bind."""


class Site(NamedTuple):
    """Placeholder for what announces a binding."""

    mark: str
    kind: str
    """fast, cell, name or global: where the name is kept."""
    does: str
    """store or delete, of what follows; add, of an addition that follows, and then sum, behind the store."""
    name: str
    slot: int
    owner: int
    """Which of the functions around, itself included, the outermost is 0; -1: the module."""
    depth: int
    """How many values are on the stack."""


class _Scope:
    """A code object on the way down."""

    def __init__(self, code: CodeType, parent: _Scope | None, module: bool) -> None:
        self.code, self.parent = code, parent
        self.names = _slots(code)
        self.is_class = not module and not code.co_flags & inspect.CO_OPTIMIZED
        hidden = code.co_name.startswith("<") or "".join(code.co_varnames[: code.co_argcount]).startswith(".")
        self.tells = not module and not hidden
        self.depth: int = (-1 if parent is None else parent.depth) + self.tells
        """Of the function that it is in, or is: the outermost is 0."""
        self.shared: set[str] = set()
        self.is_used = False

    def owner_of(self, name: str) -> _Scope | None:
        """The scope whose cell a free variable is; None: it isn't known."""
        scope = self.parent
        while scope is not None and (scope.is_class or name not in scope.code.co_cellvars):
            scope = scope.parent
        return scope

    def teller(self) -> _Scope | None:
        """The function that it is in, or is."""
        scope: _Scope | None = self
        while scope is not None and not scope.tells:
            scope = scope.parent
        return scope


class _Binding(NamedTuple):
    at: Instruction
    half: int
    depth: int
    """How many values are on the stack before it."""
    added: Instruction | None
    """The addition whose sum it stores, by the instruction before."""
    kind: str
    name: str
    slot: int
    deletes: bool


def instrument(code: CodeType, module: str, names: Collection[str] | None = None) -> CodeType:
    """The code of a module, or of a function, in which the functions announce what they bind; with placeholders.

    ``module`` is its name in names of variables; ``names``: only these. Runs nothing of the program's. Raises
    ValueError if the code is none that a compiler made."""
    top = None if code.co_flags & inspect.CO_OPTIMIZED else _Scope(code, None, module=True)
    return _instrumented(top or _Scope(code, None, module=False), module, names)


def _instrumented(scope: _Scope, module: str, names: Collection[str] | None) -> CodeType:
    code = scope.code
    inner = tuple(
        _instrumented(_Scope(one, scope, module=False), module, names) if isinstance(one, CodeType) else one
        for one in code.co_consts
    )
    found = list(instructions(code))
    insertions, constants = Insertions(), _Constants(len(inner))
    changed = any(a is not b for a, b in zip(inner, code.co_consts, strict=True))
    for binding in _bindings(code, found, scope):
        owner = _owner(binding, scope) if names is None or binding.name in names else None
        if owner is not None:
            _announce(insertions, constants, binding, owner)
    parameters = _parameters(code, found, names) if scope.tells and not scope.is_class else ()
    if scope.tells and (constants.new or parameters or scope.is_used or changed):
        shared = tuple(sorted(scope.names.index(name) for name in scope.shared))
        name = f"{module}:{code.co_qualname}" + ("" if scope.is_class else "()")
        entry = Entry(MARK, "entry", name, code.co_firstlineno, parameters, shared)
        resume = next(one for one in found if one.op == _RESUME)
        insertions.behind[resume.at] = constants.announce(entry)
    if changed:
        code = code.replace(co_consts=inner)
    return insert(code, insertions, constants.new, _DEPTH) if constants.new else code


class _Constants:
    """Those that come behind the code's own."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._numbers: dict[tuple[Any, ...], int] = {}

    @property
    def new(self) -> list[tuple[Any, ...]]:
        return list(self._numbers)

    def announce(self, placeholder: tuple[Any, ...]) -> list[Op]:
        number = self._numbers.setdefault(tuple(placeholder), len(self._numbers))
        return [Op(_LOAD, self._count + number), _TRUTH, _POP]


def _announce(insertions: Insertions, constants: _Constants, binding: _Binding, owner: int) -> None:
    def announcement(does: str, depth: int) -> list[Op]:
        return constants.announce(Site(MARK, binding.kind, does, binding.name, binding.slot, owner, depth))

    at, depth = binding.at.at, binding.depth
    if binding.added is not None:
        # what the addition takes: two values, of which it makes the one that is stored
        insertions.before.setdefault(binding.added.at, []).extend(announcement("add", depth + 1))
        insertions.after[at] = announcement("sum", depth - 1)
        return
    where = insertions.between if binding.half else insertions.before
    where.setdefault(at, []).extend(announcement("delete" if binding.deletes else "store", depth))


def _slots(code: CodeType) -> list[str]:
    """Names of the slots of a frame."""
    known = set(code.co_varnames)
    return [*code.co_varnames, *(name for name in code.co_cellvars if name not in known), *code.co_freevars]


def _owner(binding: _Binding, scope: _Scope) -> int | None:
    """Whose name is bound: the depth of a function, -1 for the module. None: it isn't told."""
    teller = scope.teller()
    if teller is None:
        return None
    if binding.kind == "global":
        return -1
    if binding.kind == "cell" and binding.slot >= len(scope.names) - len(scope.code.co_freevars):
        owner = scope.owner_of(binding.name)
        if owner is not None and not owner.tells:
            return None
        if owner is not None:
            owner.shared.add(binding.name)
        teller = owner or teller
    elif not scope.tells:
        return None
    teller.is_used = True
    return teller.depth


def _bindings(code: CodeType, found: Sequence[Instruction], scope: _Scope) -> list[_Binding]:
    """All that the code binds, in its order."""
    lying = stacks.follow(code, found)
    alone = comprehensions.stores(found, lying)
    positions = list(code.co_positions())
    bindings: list[_Binding] = []
    for index, one in enumerate(found):
        for half, (op, arg, _) in enumerate(halves(one)):
            if op == _STORE_AND_LOAD:
                op, arg = _STORE_FAST, arg >> 4
            kind = _STORES.get(op) or _DELETES.get(op)
            if kind is None or (one.at, half) in alone or index not in lying:
                continue
            name = code.co_names[arg] if kind in ("name", "global") else scope.names[arg]
            if name.startswith(".") or (scope.is_class and name in _OF_CLASSES):
                continue
            if op in _DELETES and _ends_handler(code, found, index, positions):
                last = bindings.pop()  # None is stored, and deleted: the name holds the exception until then
                bindings.append(last._replace(deletes=True))
            else:
                added = found[index - 1] if one.op == _STORE_FAST and _adds_to(found, index - 1, arg) else None
                bindings.append(_Binding(one, half, len(lying[index]) - half, added, kind, name, arg, op in _DELETES))
    return bindings


def _adds_to(found: Sequence[Instruction], index: int, slot: int) -> bool:
    """Whether it is an addition to what a slot of the frame holds: ``x += e``, or ``x + e`` with a simple ``e``."""
    one = found[index]
    if one.op != _ADD.op or one.arg not in (_ADD.arg, _ADD_TO.arg):
        return False
    if one.arg == _ADD_TO.arg:
        return True
    names = [opcode.opname[each.op] for each in found[max(0, index - 2) : index]]
    if len(names) < 2 or not all(name.startswith("LOAD_") for name in names):
        return False
    if names[1].count("LOAD_FAST") == 2:  # both in one
        return found[index - 1].arg >> 4 == slot
    return names[0].startswith("LOAD_FAST") and found[index - 2].arg == slot


def _ends_handler(
    code: CodeType, found: Sequence[Instruction], index: int, positions: Sequence[tuple[int | None, ...]]
) -> bool:
    """Whether a deletion is the last of ``None; STORE e; DELETE e``, with which ``except … as e`` ends."""
    if index < 2:
        return False
    none, store, delete = found[index - 2 : index + 1]
    if _STORES.get(store.op) != _DELETES[delete.op] or store.arg != delete.arg:
        return False
    if none.op != _NONE.op or (none.op == _LOAD and code.co_consts[none.arg] is not None):
        return False
    if none.op != _LOAD and none.arg != _NONE.arg:
        return False
    return positions[none.at] == positions[store.at] == positions[delete.at]


def _parameters(
    code: CodeType, found: Sequence[Instruction], names: Collection[str] | None
) -> tuple[tuple[str, int, bool], ...]:
    count = code.co_argcount + code.co_kwonlyargcount
    count += bool(code.co_flags & inspect.CO_VARARGS) + bool(code.co_flags & inspect.CO_VARKEYWORDS)
    resume = next(one.at for one in found if one.op == _RESUME)
    cells = {one.arg for one in found if one.op == _MAKE_CELL and one.at < resume}
    wanted = ((name, slot, slot in cells) for slot, name in enumerate(code.co_varnames[:count]))
    return tuple(one for one in wanted if names is None or one[0] in names)


# ---- placeholders ----------------------------------------------------------------------------------------------------


class Makes(Protocol):
    """What placeholders stand for."""

    def entry(self, entry: Entry, code: CodeType, number: int, /) -> Any:
        """``number``: which constant of the code it is."""

    def site(self, site: Site, entry: Any, own: bool, number: int, /) -> Any:
        """``entry``: what was made of the entry that the name belongs to; None: the name is the module's. ``own``:
        that entry is in the same code. ``number``: which constant of the code it is."""


def _is_placeholder(constant: object) -> bool:
    return type(constant) is tuple and len(constant) > 1 and constant[0] == MARK


def bind(code: CodeType, make: Makes, around: tuple[Any, ...] = ()) -> CodeType:
    """The code with what its placeholders stand for, which ``make`` makes; the code objects within it as well.
    ``around``: what entries of the functions around it stand for."""
    entries = [n for n, one in enumerate(code.co_consts) if _is_placeholder(one) and one[1] == "entry"]
    if entries:
        around = (*around, make.entry(Entry(*code.co_consts[entries[0]]), code, entries[0]))
    made: list[Any] = []
    for number, one in enumerate(code.co_consts):
        if isinstance(one, CodeType):
            made.append(bind(one, make, around))
        elif not _is_placeholder(one):
            made.append(one)
        elif one[1] == "entry":
            made.append(around[-1])
        else:
            site = Site(*one)
            own = bool(entries) and site.owner == len(around) - 1
            made.append(make.site(site, None if site.owner < 0 else around[site.owner], own, number))
    if all(a is b for a, b in zip(made, code.co_consts, strict=True)):
        return code
    return code.replace(co_consts=tuple(made))
