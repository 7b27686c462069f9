"""Where an expression of a stopped frame stores: the places that change when what it shows is given another value.

The expression is what a debugger's user points at: ``config['debug']``, ``self.total``, ``LIMITS``. What stands before
its last part is evaluated in the frame, as the debugger does to show it.
"""

from __future__ import annotations

import ast
import inspect
import sys
import weakref
from collections.abc import Callable, Mapping
from types import FrameType, ModuleType
from typing import Any, NamedTuple

from ..errors import WatchError
from ..native import proxy
from .names import type_name
from .places import why_not

WHOLE = object()
"""A :class:`Spot`'s key: all that the owner holds."""


class Spot(NamedTuple):
    """One thing to watch."""

    owner: Callable[[], Any]
    """Returns it; None once it is gone: what can be referred to weakly isn't kept."""
    key: Any
    """An attribute or key of the owner; ``WHOLE``."""
    name: str
    """What events call it."""
    part: str = ""
    """Of the whole, the path of the one place that is meant: ``[2]``; "": all."""


def spot_of(owner: Any, key: Any, name: str, part: str = "") -> Spot:
    """A place of an owner, which isn't kept if it can be referred to weakly."""
    try:
        return Spot(weakref.ref(owner), key, name, part)
    except TypeError:
        return Spot(lambda: owner, key, name, part)


class Found(NamedTuple):
    """What an expression means."""

    spots: tuple[Spot, ...]
    """A second one is the class's attribute, which the object shows as long as it has none of its own."""
    description: str
    target: str | None
    """By what it is found in another run: ``orders:config['debug']``; None: by nothing."""


def find(expression: str, frame: FrameType | None, scope: str = "") -> Found:
    """What an expression means in a frame; without one, in ``__main__``. ``scope``: ``globals`` if a name is asked for
    among these alone. Raises WatchError: nothing can be watched there, and why; what evaluating it raises."""
    main = sys.modules.get("__main__")
    names: dict[str, Any] = vars(main) if main is not None else {}
    return _find(expression, _Names(names if frame is None else frame.f_globals, frame), scope)


def find_in(expression: str, module: ModuleType) -> Found:
    """The same among the global names of a module."""
    return _find(expression, _Names(ModuleType.__getattribute__(module, "__dict__"), None), "globals")


def _find(expression: str, names: _Names, scope: str) -> Found:
    try:
        tree = ast.parse(expression.strip(), mode="eval").body
    except SyntaxError as error:
        raise WatchError(f"{expression}: not an expression of Python ({error.msg})") from None
    text = ast.unparse(tree)
    target = names.target(tree, text, scope)
    if isinstance(tree, ast.Name):
        return _name(names, tree.id, scope, target)
    if isinstance(tree, ast.Attribute):
        return Found(_attribute(names.value(tree.value), tree.attr, text), text, target)
    if isinstance(tree, ast.Subscript):
        whole = ast.unparse(tree.value)
        return Found(_item(names.value(tree.value), names.value(tree.slice), text, whole), text, target)
    return _held(names.value(tree), text, "")


class _Names:
    """The names of a frame."""

    def __init__(self, names: dict[str, Any], frame: FrameType | None) -> None:
        self.frame = frame
        self.globals = names
        self.locals: Mapping[str, Any] = frame.f_locals if frame is not None else names

    def value(self, tree: ast.expr) -> Any:
        return eval(compile(ast.Expression(tree), "<data breakpoint>", "eval"), self.globals, self.locals)

    def of_function(self, name: str) -> bool:
        code = self.frame.f_code if self.frame is not None else None
        if code is None or not code.co_flags & inspect.CO_OPTIMIZED:
            return False
        return name in code.co_varnames or name in code.co_cellvars or name in code.co_freevars

    def of_class_body(self, name: str) -> bool:
        code = self.frame.f_code if self.frame is not None else None
        plain = code is not None and not code.co_flags & inspect.CO_OPTIMIZED
        return plain and self.locals is not self.globals and name in self.locals

    def target(self, tree: ast.expr, text: str, scope: str) -> str | None:
        """Its name from outside; only constants and names lead there."""
        root = tree
        while isinstance(root, (ast.Attribute, ast.Subscript)):
            if isinstance(root, ast.Subscript) and not isinstance(root.slice, ast.Constant):
                return None
            root = root.value
        if not isinstance(root, ast.Name) or self.module() is None:
            return None
        if scope != "globals" and (self.of_function(root.id) or self.of_class_body(root.id)):
            return None
        return f"{self.globals['__name__']}:{text}"

    def module(self) -> ModuleType | None:
        """Whose the global names are."""
        name = self.globals.get("__name__")
        module = sys.modules.get(name) if isinstance(name, str) else None
        if isinstance(module, ModuleType) and ModuleType.__getattribute__(module, "__dict__") is self.globals:
            return module
        return None


def _name(names: _Names, name: str, scope: str, target: str | None) -> Found:
    if scope != "globals" and names.of_function(name):
        assert names.frame is not None
        function = names.frame.f_code.co_name
        if name not in names.locals:
            raise WatchError(
                f"{name} is a local name of {function}() that has no value yet: it isn't a place in memory"
            )
        return _held(names.locals[name], name, f"it is a local name of {function}(), which isn't tracked")
    if scope != "globals" and names.of_class_body(name):
        raise WatchError(
            f"{name} is a name of a class body that still runs: watch the attribute once the class is there"
        )
    if name not in names.globals:
        raise WatchError(f"{name} is no global name of {names.globals.get('__name__')}")
    owner = names.module()
    return Found((_place(names.globals if owner is None else owner, name, name),), name, target)


def _held(value: Any, text: str, but: str) -> Found:
    """What something holds that isn't itself at a place. ``but``: why it isn't."""
    if proxy.is_proxy(value):
        return Found((spot_of(value, WHOLE, text),), f"{text}: the watched value", None)
    why = why_not(value)
    said = f"{but}: " if but else ""
    if why is not None:
        raise WatchError(f"{text} can't be watched: {said}{why}")
    return Found(
        (spot_of(value, WHOLE, text),), f"what {text} holds ({said}another value of {text} itself isn't seen)", None
    )


def _attribute(owner: Any, name: str, text: str) -> tuple[Spot, ...]:
    if proxy.is_proxy(owner):
        return (spot_of(owner, WHOLE, text[: -len(name) - 1], f".{name}"),)
    name = _mangled(owner, name)
    spot = _place(owner, name, text)
    inherited = None if isinstance(owner, (type, ModuleType)) else _inherited(owner, name)
    if inherited is None:
        return (spot,)
    return (spot, _place(inherited, name, f"{inherited.__name__}.{name}"))


def _item(owner: Any, key: Any, text: str, whole: str) -> tuple[Spot, ...]:
    if proxy.is_proxy(owner):
        return (spot_of(owner, WHOLE, whole, f"[{key!r}]" if type(key) is int else ""),)
    if isinstance(owner, dict):
        return (_place(owner, key, text),)
    if isinstance(owner, list):
        if type(key) is not int:
            raise WatchError(f"{text}: one item of a list can be watched, or all: not {key!r}")
        why = why_not(owner)
        if why is not None:
            raise WatchError(f"{text} can't be watched: {why}")
        return (spot_of(owner, WHOLE, whole, f"[{key + len(owner) if key < 0 else key}]"),)
    if isinstance(owner, (tuple, str, bytes, range)):
        raise WatchError(f"{text}: a {type(owner).__name__} never changes: its place can be watched, which holds it")
    raise WatchError(f"{text}: what a {type_name(owner)[1:-1]} holds can't be watched in place")


def _place(owner: Any, key: Any, text: str) -> Spot:
    try:
        why = proxy.place_of(owner, key)[3]
    except TypeError as error:
        raise WatchError(f"{text} can't be watched: {error}") from None
    if why is not None:
        raise WatchError(f"{text} can't be watched: {why}")
    return spot_of(owner, key, text)


def _mangled(owner: Any, name: str) -> str:
    """``self.__total`` as the class calls it."""
    if not name.startswith("__") or name.endswith("__"):
        return name
    for each in type.__dict__["__mro__"].__get__(type(owner)):
        private = f"_{each.__name__.lstrip('_')}{name}"
        if private in type.__dict__["__dict__"].__get__(each) or is_own(owner, private):
            return private
    return name


def is_own(owner: Any, name: str) -> bool:
    """Whether an object has an attribute of its own, not its class's. Runs nothing of the program's."""
    names = _names_of(owner)
    return names is not None and name in names


def _names_of(owner: Any) -> Mapping[str, Any] | None:
    try:
        names = object.__getattribute__(owner, "__dict__")
    except (AttributeError, TypeError):
        return None
    return names if isinstance(names, dict) else None


def _inherited(owner: Any, name: str) -> type | None:
    """The class whose attribute an object shows, as long as it has none of its own."""
    if is_own(owner, name):
        return None
    for each in type.__dict__["__mro__"].__get__(type(owner)):
        held = type.__dict__["__dict__"].__get__(each)
        if name in held:
            return None if hasattr(type(held[name]), "__set__") else each
    return None
