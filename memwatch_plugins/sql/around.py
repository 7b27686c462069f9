"""Tracing around a call of the library's, whatever kind of function it is.

What is done around it is a **trace**: a function that is called with the same arguments, and returns a generator. What
comes before its ``yield`` is done before the call; ``yield`` gives the call's result, or raises what the call raises:

.. code-block:: python

    @of_connections("commit")
    def commit(self, connection):
        before = self.in_transaction(connection)
        yield
        if before:
            self.publish.transaction_ends(connection, "committed")

* The program gets the library's result or error, whatever the trace does: return, raise something else, catch it.
* A trace that returns before its ``yield``, or None in the place of a generator, isn't run any further; nor is one that
  doesn't take the call's arguments: the library will say what is wrong with them.
* Around a generator each ``yield`` gives a row, and the last one None: the rows are over, or the program wants no more.
* Around what ``contextlib.contextmanager`` makes, ``yield`` lasts as long as the block.

For statements and rows, which have to be fast, there are traces in C that a driver declares:
:class:`~memwatch_core.native.tracing.Running` and :class:`~memwatch_core.native.tracing.Fetching`.

Nothing but the functions below stands between the program and the library. What they call is contained by a
:class:`~memwatch_core.native.tracing.Shell`: an Exception of ours is counted, and the program's own goes on as it was,
with one frame more. What a signal's handler raises while our code runs is the program's.
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
"""What a trace returns."""
Trace = Running | Fetching | Callable[..., Steps | None]


class Host(Protocol):
    """A driver, for what is traced on its behalf."""

    tracer: Any

    def trouble(self, error: Exception) -> None:
        """Takes what the driver itself raised, which the program doesn't see."""


def traced(host: Host, owner: type, name: str, trace: Trace, *, late: bool = False) -> Callable[..., Any]:
    """The method ``owner.name``, traced while the driver is installed: a function to be put into a class.

    ``late``: it is for a subclass of ``owner``, and finds the method at each call, so that it respects what others
    patch there later.
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
    """Makes a function look like the one that it stands for, in tracebacks as well."""
    function.__name__ = name
    function.__qualname__ = getattr(like, "__qualname__", f"{member(owner, '__qualname__')}.{name}")
    function.__code__ = function.__code__.replace(co_name=name, co_qualname=function.__qualname__)
    function.__doc__ = like.__doc__
    function.__annotations__ = getattr(like, "__annotations__", {})
    function.__module__ = getattr(like, "__module__", None) or member(owner, "__module__")
    function.__wrapped__ = like  # for inspect.signature
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
    """``call(*args)``; None if it raised, which is counted and told."""
    try:
        return call(*args)
    except Exception as trouble:
        raise_unless_ours(trouble)
        host.trouble(trouble)
        return None
