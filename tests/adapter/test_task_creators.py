"""Behind the callers of what an asyncio task writes come those who created it; the program notices nothing."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_stacks import CREATED, callers_of, events_of, written

PROGRAM = Path(__file__).parent / "task_creators.py"
LIBRARY = str(Path(asyncio.__file__).parent)


@pytest.mark.parametrize("way", ["plain", "factory", "inited", "eager", "uvloop", "fork"])
def test_creators_are_those_who_made_the_task(tmp_path: Path, way: str) -> None:
    """Random trees of tasks, made in seven ways: each has the stack of the call that made it, and of its maker's."""
    if way == "eager" and sys.version_info < (3, 12):
        pytest.skip("tasks begin eagerly from CPython 3.12 on")
    if way == "uvloop":
        pytest.importorskip("uvloop")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MEMWATCH_")}
    environment |= {"MEMWATCH_JOURNAL_FOLDER": str(tmp_path / "sessions"), "MEMWATCH_WATCH_STACK": "64"}
    done = subprocess.run(
        [sys.executable, PROGRAM, "5", way], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    expected = json.loads(done.stdout)
    (session,) = (tmp_path / "sessions").iterdir()
    events = [event for event in events_of(session) if event.before != event.after and any(event.after)]
    checked = 0
    for event in events:
        number = int.from_bytes(event.after, "little")
        assert event.stack is not None
        behind = list(event.stack[len(callers_of(event)) :])
        if str(number) not in expected:  # the child's
            assert way == "fork"
            continue
        creator = expected[str(number)]
        assert bool(behind) == (creator is not None), number
        if creator is None:
            continue
        assert behind[0] == CREATED
        rest = behind[1:]
        of_creator = rest[: rest.index(CREATED)] if CREATED in rest else rest
        told = [[site.file, site.line, site.function] for site in of_creator]
        first = told.index(creator[0])
        assert all(file.startswith(LIBRARY) or name in ("<lambda>", "__init__") for file, _, name in told[:first])
        is_cut = event.stack_cut and CREATED not in rest
        assert told[first:] == (creator[: len(told) - first] if is_cut else creator), number
        checked += 1
    assert checked > 100


SIMPLE = """
import asyncio
from memwatch_core import watch
number = watch(0)
async def work():
    await asyncio.sleep(0)
    number.value += 1
async def main():
    await asyncio.create_task(work())
asyncio.run(main())
"""


def test_stack_that_is_cut_has_no_creators(tmp_path: Path) -> None:
    """Nobody could say what is missing between them."""
    for limit in (1, 3, 16):
        folder = tmp_path / str(limit)
        folder.mkdir()
        (event,) = written(SIMPLE, folder, stack=limit)
        assert (CREATED in (event.stack or ())) == (limit == 16)
        assert event.stack_cut == (limit == 3)


def test_task_at_the_address_of_another_has_its_own_creator(tmp_path: Path) -> None:
    program = """
import asyncio
from memwatch_core import watch
class Early(asyncio.Task):
    pass
number = watch(0)
async def work():
    number.value += 1
def one(): return asyncio.create_task(work())
def two(): return asyncio.create_task(work())
def none(): return Early(work())
async def main():
    at = {}
    for n in range(300):
        make = (one, two, none)[n % 3]
        task = make()
        at.setdefault(id(task), set()).add(make)
        await task
        del task
    assert any(len(makers) > 1 for makers in at.values())
asyncio.run(main())
"""
    events = written(program, tmp_path, stack=32)
    assert len(events) == 300
    for number, event in enumerate(events):
        behind = (event.stack or ())[len(callers_of(event)) :]
        assert [site.function for site in behind if site.function in ("one", "two", "none")] == [
            ["one"], ["two"], []
        ][number % 3]  # fmt: skip


def test_program_sees_nothing_of_it(tmp_path: Path) -> None:
    """The type's attributes, the loop's factory, a task's context: as without."""
    program = """
import asyncio, contextvars, sys
from memwatch_core import watch
before = {name: getattr(asyncio.Task, name) for name in dir(asyncio.Task) if name != "__doc__"}
if "watch" in sys.argv or True:
    number = watch(0)
assert {name: getattr(asyncio.Task, name) for name in dir(asyncio.Task) if name != "__doc__"} == before
async def work():
    number.value += 1
    return list(contextvars.copy_context())
async def main():
    loop = asyncio.get_running_loop()
    assert loop.get_task_factory() is None
    assert [type(variable) for variable in await asyncio.create_task(work())] == []
    try:
        asyncio.Task(5)
    except TypeError:
        pass
    else:
        raise AssertionError
    gone = asyncio.create_task(work())
    gone.cancel()
    await asyncio.wait([gone])
asyncio.run(main())
"""
    (event,) = written(program, tmp_path, stack=32)
    assert CREATED in (event.stack or ())
