"""The SQL context of a store is pulled from the writing thread's contextvars at the moment of the store."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from journals import Opened

from memwatch_core.adapter.watch import watch
from memwatch_core.native import core, proxy

CURRENT: contextvars.ContextVar[int] = contextvars.ContextVar("test_current")


@pytest.fixture(autouse=True)
def pulled() -> Iterator[None]:
    proxy.set_context_variable(CURRENT)
    yield
    proxy.set_context_variable(None)
    core.lib.mw_set_context(0)


def test_both_kinds_of_write_carry_the_context(journal: Opened) -> None:
    p = watch(0, track_sql=True)
    view = memoryview(p).cast("B").cast("q")
    written = []
    for number in (1, 2**30 - 1, 2**30, 2**32 - 1, 0, 7):
        token = CURRENT.set(number)
        p += 1
        view[0] = 5
        written += [number, number]
        CURRENT.reset(token)
        p += 1
        written.append(0)
    assert [store.context for store in journal.stores(p)] == written


def test_values_that_are_no_ids_leave_the_threads_own(journal: Opened) -> None:
    p = watch(0, track_sql=True)
    core.lib.mw_set_context(41)
    for odd in (0, -1, 2**32, 2**64, 2**200, "x", None, True):
        CURRENT.set(odd)  # type: ignore[arg-type]
        p += 1
        memoryview(p).cast("B").cast("q")[0] = 1
    CURRENT.set(9)
    p += 1
    assert [store.context for store in journal.stores(p)] == [41] * 16 + [9]


def test_variable_without_track_sql_has_none(journal: Opened) -> None:
    p = watch(0, track_sql=False)
    CURRENT.set(5)
    p += 1
    memoryview(p).cast("B").cast("q")[0] = 1
    assert [store.context for store in journal.stores(p)] == [0, 0]


def test_tasks_do_not_mix(journal: Opened) -> None:
    shared = watch([0][0], track_sql=True, name="shared")
    view = memoryview(shared).cast("B").cast("q")

    async def task(n: int) -> None:
        nonlocal shared
        CURRENT.set(n)
        for _ in range(5):
            await asyncio.sleep(0)
            view[0] = n
            await asyncio.sleep(0)
            shared.value = n

    async def main() -> None:
        await asyncio.gather(*(task(n) for n in range(1, 9)))

    asyncio.run(main())
    stores = journal.stores(shared)
    assert len(stores) == 80
    assert all(store.context == int.from_bytes(store.after, "little") for store in stores)


def test_threads_do_not_mix(journal: Opened) -> None:
    shared = watch(0, track_sql=True)
    view = memoryview(shared).cast("B").cast("q")

    def work(n: int) -> None:
        CURRENT.set(n)
        for _ in range(500):
            view[0] = n
            shared.value = n

    threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stores = journal.stores(shared)
    assert len(stores) == 4000
    assert all(store.context == int.from_bytes(store.after, "little") for store in stores)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(others=st.integers(0, 400), number=st.integers(1, 2**32 - 1), drop=st.integers(0, 3))
def test_any_shape_of_the_context_tree_is_walked(journal: Opened, others: int, number: int, drop: int) -> None:
    p = watch(0, track_sql=True)

    def inside() -> None:
        crowd = [contextvars.ContextVar(f"other {i}") for i in range(others)]
        tokens = [variable.set(variable) for variable in crowd[: others // 2]]
        CURRENT.set(number)
        tokens += [variable.set(variable) for variable in crowd[others // 2 :]]
        for token in tokens[:: drop + 1]:
            token.var.reset(token)
        memoryview(p).cast("B").cast("q")[0] = 1
        p.value = 2

    contextvars.copy_context().run(inside)
    assert [store.context for store in journal.stores(p)] == [number, number]


def test_only_context_variables_are_taken() -> None:
    with pytest.raises(TypeError, match="ContextVar"):
        proxy.set_context_variable(5)  # type: ignore[arg-type]
