"""Traces calls of the library, whatever kind of function is called.

A **trace** is a generator function, called with the arguments of the traced call. Code before its ``yield`` runs before
the call; ``yield`` returns the call's result, or raises what the call raised:

.. code-block:: python

    @of_connections("commit")
    def commit(self, connection):
        before = self.in_transaction(connection)
        yield
        if before:
            self.publish.transaction_ends(connection, "committed")

* The program gets the library's result or error, whether the trace returns, raises something else, or catches it.
* A trace that returns before its ``yield``, or returns None instead of a generator, is done. So is one that doesn't
  accept the call's arguments: the library will report what is wrong with them.
* Around a generator, each ``yield`` returns a row, and finally None: at the end of the rows, or of the iteration.
* Around a function made by ``contextlib.contextmanager``, ``yield`` lasts as long as the ``with`` block.

Statements and rows must be fast: for them, a driver declares traces in C,
:class:`~memwatch_core.native.tracing.Running` and :class:`~memwatch_core.native.tracing.Fetching`.

Only the functions below stand between the program and the library. A :class:`~memwatch_core.native.tracing.Shell`
contains our errors: an Exception of ours is counted; the program's own continues unchanged, with one more frame. An
exception of a signal handler that runs inside our code is the program's.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Protocol

from memwatch_core.native.tracing import Fetching, Running, raise_unless_ours
from memwatch_core.native.tracing import Shell as Shell

from .plain import IMMUTABLE, is_a, member

Steps = Generator[None, Any, None]
"""The generator of a trace."""
Trace = Running | Fetching | Callable[..., Steps | None]


class Host(Protocol):
    """The driver that a trace belongs to."""

    tracer: Any

    def trouble(self, error: Exception) -> None:
        """Takes an exception of the driver's own, which the program must not see."""


def traced(host: Host, owner: type, name: str, trace: Trace, *, late: bool = False) -> Callable[..., Any]:
    """The traced method ``owner.name``, to be put into a class. It traces while the driver is installed.

    ``late``: for a subclass of ``owner``. The method is looked up at each call, so that later patches by others apply.
    """
    call = member(owner, name)
    fixed = None if late and not member(owner, "__flags__") & IMMUTABLE else call
    original = getattr(call, "__wrapped__", call)
    shell = Shell(host, trace)
    if inspect.iscoroutinefunction(original):
        kind = _coroutine
    elif inspect.isgeneratorfunction(call):
        kind = _generator
    elif inspect.isasyncgenfunction(call):
        kind = _async_generator
    elif inspect.isgeneratorfunction(original):
        return named(contextmanager(_of_block(_generator, shell, owner, name, original)), call, owner, name)
    elif inspect.isasyncgenfunction(original):
        block = _of_block(_async_generator, shell, owner, name, original)
        return named(asynccontextmanager(block), call, owner, name)
    else:
        kind = _function
    return named(kind(shell, owner, name, fixed), call, owner, name)


def named(function: Any, like: Any, owner: type, name: str) -> Callable[..., Any]:
    """Makes a function look like the one it replaces, in tracebacks too."""
    function.__name__ = name
    function.__qualname__ = getattr(like, "__qualname__", f"{member(owner, '__qualname__')}.{name}")
    function.__code__ = function.__code__.replace(co_name=name, co_qualname=function.__qualname__)
    function.__doc__ = like.__doc__
    function.__annotations__ = getattr(like, "__annotations__", {})
    function.__module__ = getattr(like, "__module__", None) or member(owner, "__module__")
    function.__wrapped__ = like  # used by inspect.signature
    return function  # type: ignore[no-any-return]


def _function(shell: Shell, owner: type, name: str, fixed: Any) -> Callable[..., Any]:
    run = shell.call

    def traced(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        return run(fixed or member(owner, name), self, args, kwargs)

    return traced


def _coroutine(shell: Shell, owner: type, name: str, fixed: Any) -> Callable[..., Any]:
    async def traced(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        call = fixed or member(owner, name)
        if shell.host.tracer is None:
            return await call(self, *args, **kwargs)
        token = None
        try:
            token = shell.before(self, args, kwargs)
            result = await call(self, *args, **kwargs)
        except BaseException as error:
            shell.failed(self, token, error)
            raise
        shell.after(self, token, result)
        return result

    return traced


def _generator(shell: Shell, owner: type, name: str, fixed: Any, rows: bool = True) -> Callable[..., Any]:
    def traced(self: Any, /, *args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        call = fixed or member(owner, name)
        if shell.host.tracer is None:
            return (yield from call(self, *args, **kwargs))
        token = None
        try:
            token = shell.before(self, args, kwargs)
            source = call(self, *args, **kwargs)
            item = next(source)
            while True:
                if rows:
                    shell.each(self, token, item)
                try:
                    sent = yield item
                except GeneratorExit:
                    source.close()
                    raise
                except BaseException as error:
                    item = source.throw(error)
                else:
                    item = next(source) if sent is None else source.send(sent)
        except StopIteration as end:
            shell.after(self, token, None)
            return end.value
        except GeneratorExit:
            shell.after(self, token, None)
            raise
        except BaseException as error:
            shell.failed(self, token, error)
            raise

    return traced


def _async_generator(shell: Shell, owner: type, name: str, fixed: Any, rows: bool = True) -> Callable[..., Any]:
    async def traced(self: Any, /, *args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        call = fixed or member(owner, name)
        token = None
        try:
            token = None if shell.host.tracer is None else shell.before(self, args, kwargs)
            source = call(self, *args, **kwargs)
            item = await anext(source)
            while True:
                if rows:
                    shell.each(self, token, item)
                try:
                    sent = yield item
                except GeneratorExit:
                    await source.aclose()
                    raise
                except BaseException as error:
                    item = await source.athrow(error)
                else:
                    item = await source.asend(sent)
        except (StopAsyncIteration, GeneratorExit) as end:
            shell.after(self, token, None)
            if is_a(end, GeneratorExit):
                raise
        except BaseException as error:
            shell.failed(self, token, error)
            raise

    return traced


def _of_block(kind: Callable[..., Any], shell: Shell, owner: type, name: str, generator: Any) -> Callable[..., Any]:
    return named(kind(shell, owner, name, generator, rows=False), generator, owner, name)


def contained(host: Host, call: Callable[..., Any], *args: Any) -> Any:
    """``call(*args)``; None if it raised, which is counted and reported."""
    try:
        return call(*args)
    except Exception as trouble:
        raise_unless_ours(trouble)
        host.trouble(trouble)
        return None
