"""``label()``: the unit of work that the writes within are done for, as the program calls it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, ParamSpec, TypeVar, cast

from ..native import proxy

MOST = 200
"""Characters of a label; a longer one is cut off."""

_P = ParamSpec("_P")
_R = TypeVar("_R")


class Label:
    """What :func:`label` returns: a context manager, and a decorator of functions. May be used again, also by several
    threads and tasks at once. But generators that are under it at once want one each: if another flow closes one of
    them, which one isn't known, and none of them is under it any more."""

    __slots__ = ("_entered", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._entered: list[Any] = []

    def __enter__(self) -> Label:
        self._entered.append(proxy.enter_label(self.text))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        entered = tuple(self._entered)  # other threads enter and leave meanwhile
        here = next((one for one in reversed(entered) if proxy.is_label_here(one)), None)
        for one in entered if here is None else (here,):
            proxy.leave_label(one)
            with suppress(ValueError):
                self._entered.remove(one)

    def __call__(self, function: Callable[_P, _R]) -> Callable[_P, _R]:
        """Calls of the function are under this label; of a coroutine function, until it returns."""
        import inspect  # only where it is asked for: a program that watches shall not pay for it

        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                f"label(): {getattr(function, '__qualname__', 'this')} is a generator, which runs between other code: "
                "write a with statement in it, around what is done for the label"
            )
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def labelled(*args: _P.args, **keywords: _P.kwargs) -> Any:
                with Label(self.text):
                    return await function(*args, **keywords)

            return cast(Callable[_P, _R], labelled)

        @functools.wraps(function)
        def labelled_call(*args: _P.args, **keywords: _P.kwargs) -> _R:
            with Label(self.text):
                return function(*args, **keywords)

        return labelled_call


def label(text: str) -> Label:
    """Names the unit of work that the writes within are done for: ``with label("order 17"):``.

    Goes where context variables go: into tasks that are started within and ``asyncio.to_thread``, not into a new
    thread. Labels nest, and events carry those around the innermost one as well. Decorates functions and coroutine
    functions, too. Cut off after 200 characters. Raises TypeError, ValueError: the text is no ``str``, or empty.
    """
    if not isinstance(text, str):
        raise TypeError(f"label() takes a str, not {type(text).__name__}: label(str(value))")
    plain = str.__str__(text)
    if not plain:
        raise ValueError('label(): the text is empty; say what is done: label("order 17")')
    return Label(plain if len(plain) <= MOST else plain[: MOST - 1] + "…")
