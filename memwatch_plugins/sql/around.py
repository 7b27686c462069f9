"""Tracing around a call of the library's: before it, after it, or when it failed; whatever kind of function it is.

Each kind has a shell of its own, and nothing but these shells stands between the program and the library. What they
call is contained: an exception of ours is counted, and the program's own goes on as it was, with one frame more.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

_IMMUTABLE = 1 << 8  # Py_TPFLAGS_IMMUTABLETYPE


@dataclass(frozen=True, slots=True)
class Around:
    """What is done around a call. Each may raise: that is contained."""

    before: Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]
    """``before(self, args, kwargs)``: returns a token for the others, and, of a generator, for ``each``."""
    after: Callable[[Any, Any, Any], None]
    """``after(self, token, result)``; of a generator, when it is exhausted or closed, with the result None."""
    failed: Callable[[Any, Any, BaseException], None]
    """``failed(self, token, error)``: the call raised; ``token`` is None if ``before`` did."""
    each: Callable[[Any, Any, Any], None] | None = None
    """Of a generator: ``each(self, token, item)``, before the program gets the item. What ``contextlib.contextmanager``
    makes counts as the generator that it is: one item, when the block is entered; an exception in it is a failure."""


class Host(Protocol):
    """A driver, for what is traced on its behalf."""

    tracer: Any

    def trouble(self, error: Exception) -> None: ...


def traced(host: Host, owner: type, name: str, around: Around, *, late: bool = False) -> Callable[..., Any]:
    """The method ``owner.name``, traced while the driver is installed: a function to be put into a class.

    ``late``: it is for a subclass of ``owner``, and finds the method at each call, so that it respects what others
    patch there later.
    """
    call = getattr(owner, name)
    fixed = None if late and not owner.__flags__ & _IMMUTABLE else call
    original = getattr(call, "__wrapped__", call)
    if inspect.iscoroutinefunction(original):
        shell = _coroutine
    elif inspect.isgeneratorfunction(call):
        shell = _generator
    elif inspect.isasyncgenfunction(call):
        shell = _async_generator
    elif inspect.isgeneratorfunction(original):
        return named(contextmanager(_of_block(_generator, host, owner, name, original, around)), call, owner, name)
    elif inspect.isasyncgenfunction(original):
        block = _of_block(_async_generator, host, owner, name, original, around)
        return named(asynccontextmanager(block), call, owner, name)
    else:
        shell = _function
    return named(shell(host, owner, name, fixed, around), call, owner, name)


def named(function: Any, like: Any, owner: type, name: str) -> Callable[..., Any]:
    """Makes a function look like the one that it stands for, in tracebacks as well."""
    function.__name__ = name
    function.__qualname__ = getattr(like, "__qualname__", f"{owner.__qualname__}.{name}")
    function.__code__ = function.__code__.replace(co_name=name, co_qualname=function.__qualname__)
    function.__doc__ = like.__doc__
    function.__annotations__ = getattr(like, "__annotations__", {})
    function.__module__ = getattr(like, "__module__", None) or owner.__module__
    function.__wrapped__ = like  # for inspect.signature
    return function  # type: ignore[no-any-return]


def _function(host: Host, owner: type, name: str, fixed: Any, around: Around) -> Callable[..., Any]:
    before, after, failed = around.before, around.after, around.failed

    def shell(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = fixed or getattr(owner, name)
        if host.tracer is None:
            return call(self, *args, **kwargs)
        token = None
        try:
            token = before(self, args, kwargs)
        except Exception as trouble:
            host.trouble(trouble)
        try:
            result = call(self, *args, **kwargs)
        except BaseException as error:
            try:
                failed(self, token, error)
            except Exception as trouble:
                host.trouble(trouble)
            raise
        try:
            after(self, token, result)
        except Exception as trouble:
            host.trouble(trouble)
        return result

    return shell


def _coroutine(host: Host, owner: type, name: str, fixed: Any, around: Around) -> Callable[..., Any]:
    async def shell(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = fixed or getattr(owner, name)
        if host.tracer is None:
            return await call(self, *args, **kwargs)
        token = contained(host, around.before, self, args, kwargs)
        try:
            result = await call(self, *args, **kwargs)
        except BaseException as error:
            contained(host, around.failed, self, token, error)
            raise
        contained(host, around.after, self, token, result)
        return result

    return shell


def _generator(host: Host, owner: type, name: str, fixed: Any, around: Around) -> Callable[..., Any]:
    def shell(self: Any, *args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        call = fixed or getattr(owner, name)
        if host.tracer is None:
            return (yield from call(self, *args, **kwargs))
        token = contained(host, around.before, self, args, kwargs)
        source = call(self, *args, **kwargs)
        try:
            item = next(source)
            while True:
                if around.each is not None and host.tracer is not None:
                    contained(host, around.each, self, token, item)
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
            contained(host, around.after, self, token, None)
            return end.value
        except GeneratorExit:
            contained(host, around.after, self, token, None)
            raise
        except BaseException as error:
            contained(host, around.failed, self, token, error)
            raise

    return shell


def _async_generator(host: Host, owner: type, name: str, fixed: Any, around: Around) -> Callable[..., Any]:
    async def shell(self: Any, *args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        call = fixed or getattr(owner, name)
        token = None if host.tracer is None else contained(host, around.before, self, args, kwargs)
        source = call(self, *args, **kwargs)
        try:
            item = await anext(source)
            while True:
                if around.each is not None and host.tracer is not None:
                    contained(host, around.each, self, token, item)
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
            contained(host, around.after, self, token, None)
            if isinstance(end, GeneratorExit):
                raise
        except BaseException as error:
            contained(host, around.failed, self, token, error)
            raise

    return shell


def _of_block(
    shell: Callable[..., Any], host: Host, owner: type, name: str, generator: Any, around: Around
) -> Callable[..., Any]:
    return named(shell(host, owner, name, generator, around), generator, owner, name)


def contained(host: Host, call: Callable[..., Any], *args: Any) -> Any:
    """``call(*args)``; None if it raised, which is counted and told."""
    try:
        return call(*args)
    except Exception as trouble:
        host.trouble(trouble)
        return None
