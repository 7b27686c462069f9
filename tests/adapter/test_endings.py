"""The end of a watch says where and why: ways to end it by kinds of values, cold, warm and traced."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from journals import Opened

from memwatch_core.adapter import process
from memwatch_core.adapter.watch import unwatch, watch
from memwatch_core.host.decoder import JournalDecoder
from memwatch_core.records import Record, Unwatched

TIMES = 20
"""Often enough for the interpreter to specialise the code."""

KINDS = {
    "int": "watch(5, name='x')",
    "float": "watch(1.5, name='x')",
    "bool": "watch(True, name='x')",
    "bytes": "watch(b'ab', name='x')",
    "bytearray": "watch(bytearray(b'ab'), name='x')",
    "struct": "watch((1, 2.5), format='<qd', name='x')",
    "on a shared page": "watch(5, name='x', share_page=True)",
    "instance": "watch(Thing(), name='x')",
    "slots": "watch(Slots(), name='x')",
    "dict": "watch({'a': 1}, name='x')",
    "list": "watch([1, 2], name='x')",
    "set": "watch({1, 2}, name='x')",
}

IN_PLACE = ("instance", "slots", "dict", "list", "set")
SOAK = bool(os.environ.get("MEMWATCH_SOAK"))
OLD = sys.version_info < (3, 12) and not SOAK
"""Then fewer of what is watched in place."""


class Thing:
    def __init__(self) -> None:
        self.a = 1


class Slots:
    __slots__ = ("a",)

    def __init__(self) -> None:
        self.a = 1


class Way(NamedTuple):
    """A program that ends a watch at the line that says so."""

    why: str
    target: str
    function: str
    source: str


WAYS = {
    "local variable": Way("rebound", "x", "work", "def work():\n x = MAKE\n x = None  # here\n return 1\n"),
    "one of two": Way("rebound", "x", "work", "def work():\n x = MAKE\n a, x = 1, 2  # here\n return 1\n"),
    "the other of two": Way("rebound", "x", "work", "def work():\n x = MAKE\n x, a = 1, 2  # here\n return 1\n"),
    "another name": Way("rebound", "y", "work", "def work():\n y = MAKE\n y = None  # here\n return 1\n"),
    "loop": Way("rebound", "x", "work", "def work():\n x = MAKE\n for x in (1,):  # here\n  pass\n return 1\n"),
    "with": Way(
        "rebound", "x", "work",
        "import contextlib\ndef work():\n x = MAKE\n with contextlib.nullcontext() as x:  # here\n  pass\n return 1\n",
    ),
    "walrus": Way("rebound", "x", "work", "def work():\n x = MAKE\n return (x := 0)  # here\n"),
    "inner function": Way("rebound", "x", "work", "def work():\n x = MAKE\n def x(): pass  # here\n return 1\n"),
    "global variable": Way(
        "rebound", "x", "work", "x = 0\ndef work():\n global x\n x = MAKE\n x = None  # here\n return 1\n"
    ),
    "cell": Way(
        "rebound", "x", "inner",
        "def work():\n x = MAKE\n def inner():\n  nonlocal x\n  x = None  # here\n inner()\n return 1\n",
    ),
    "attribute": Way(
        "rebound", ".x", "work", "def work():\n t = Thing()\n t.x = MAKE\n t.x = None  # here\n return 1\n"
    ),
    "slot": Way("rebound", ".a", "work", "def work():\n t = Slots()\n t.a = MAKE\n t.a = None  # here\n return 1\n"),
    "key": Way("rebound", "[]", "work", "def work():\n t = {'x': MAKE}\n t['x'] = None  # here\n return 1\n"),
    "list item": Way("rebound", "[]", "work", "def work():\n t = [MAKE]\n t[0] = None  # here\n return 1\n"),
    "slice": Way("rebound", "[]", "work", "def work():\n t = [MAKE]\n t[:] = [1]  # here\n return 1\n"),
    "what holds it": Way("rebound", "t", "work", "def work():\n t = [(MAKE,)]\n t = 0  # here\n return 1\n"),
    "long name": Way(
        "rebound", "a_name_of_more_than_thirty-six_bytes".replace("-", "_")[:36], "work",
        "def work():\n a_name_of_more_than_thirty_six_bytes = MAKE\n a_name_of_more_than_thirty_six_bytes = 0  # here\n"
        " return 1\n",
    ),
    "del of a local": Way("deleted", "x", "work", "def work():\n x = MAKE\n del x  # here\n return 1\n"),
    "del of a global": Way(
        "deleted", "x", "work", "def work():\n global x\n x = MAKE\n del x  # here\n return 1\n"
    ),
    "del of a cell": Way(
        "deleted", "x", "work", "def work():\n x = MAKE\n del x  # here\n return lambda: x\n"
    ),
    "del of an attribute": Way(
        "deleted", ".x", "work", "def work():\n t = Thing()\n t.x = MAKE\n del t.x  # here\n return 1\n"
    ),
    "del of a key": Way("deleted", "[]", "work", "def work():\n t = {'x': MAKE}\n del t['x']  # here\n return 1\n"),
    "return": Way("left", "", "work", "def work():\n x = MAKE\n return 1  # here\n"),
    "return of a variable": Way("left", "", "work", "def work():\n x = MAKE\n y = [1]\n return y  # here\n"),
    "end of a function": Way("left", "", "work", "def work():\n x = MAKE\n for y in (1, 2): pass  # here\n"),
    "argument": Way("left", "", "inner", "def work():\n def inner(x):\n  return 1  # here\n return inner(MAKE)\n"),
    "called by C": Way(
        "left", "", "inner", "def work():\n def inner(y):\n  x = MAKE\n  return 1  # here\n return [*map(inner, [1])]\n"
    ),
    "in a list of a function": Way("left", "", "work", "def work():\n t = [[MAKE]]\n return 1  # here\n"),
    "in a cell of a function": Way(
        "left", "", "work", "def work():\n x = MAKE\n def inner(): return x\n inner()\n return 1  # here\n"
    ),
    "init": Way(
        "left", "", "__init__",
        "class C:\n def __init__(self):\n  x = MAKE\n  self.y = 1  # here\ndef work():\n return C()\n",
    ),
    "property": Way(
        "left", "", "y",
        "class C:\n @property\n def y(self):\n  x = MAKE\n  return 1  # here\ndef work():\n return C().y\n",
    ),
    "traceback": Way(
        "rebound", ".__traceback__", "work",
        "def work():\n def inner():\n  x = MAKE\n  {}['no']\n"
        " try:\n  inner()\n except KeyError as error:\n  error.__traceback__ = None  # here\n return 1\n",
    ),
    "exception": Way(
        "rebound", "error", "work",
        "def work():\n def inner():\n  x = MAKE\n  {}['no']\n"
        " try:\n  inner()\n except KeyError as error: pass  # here\n return 1\n",
    ),
    "exception without a name": Way(
        "dropped", "", "work",
        "def work():\n def inner():\n  x = MAKE\n  {}['no']\n"
        " try:\n  inner()\n except KeyError: pass  # here\n return 1\n",
    ),
    "exception that C handles": Way(
        "dropped", "", "work",
        "class C:\n def __getattr__(self, name):\n  x = MAKE\n  raise AttributeError\n"
        "def work():\n return getattr(C(), 'y', 1)  # here\n",
    ),
    "expression": Way("dropped", "", "work", "def work():\n MAKE  # here\n return 1\n"),
    "clear": Way("dropped", "", "work", "def work():\n t = [MAKE]\n t.clear()  # here\n return 1\n"),
    "pop": Way("dropped", "", "work", "def work():\n t = {'x': MAKE}\n t.pop('x')  # here\n return 1\n"),
    "comparison": Way("dropped", "", "work", "def work():\n return MAKE is None  # here\n"),
    "collector": Way(
        "collected", "", "work",
        "import gc\ndef work():\n t = [MAKE]\n t.append(t)\n del t\n gc.collect()  # here\n return 1\n",
    ),
    "finalizer": Way(
        "rebound", "x", "__del__",
        "class C:\n def __del__(self):\n  x = MAKE\n  x = 0  # here\ndef work():\n c = C()\n del c\n return 1\n",
    ),
    "generator": Way(
        "rebound", "x", "flow",
        "def work():\n def flow():\n  x = MAKE\n  yield 1\n  x = None  # here\n  yield 2\n return [*flow()]\n",
    ),
    "called by a generator": Way(
        "left", "", "inner",
        "def work():\n def inner(x):\n  return 1  # here\n def flow():\n  yield inner(MAKE)\n return [*flow()]\n",
    ),
    "end of a generator": Way(
        "dropped", "", "work", "def work():\n def flow():\n  x = MAKE\n  yield 1\n return [*flow()]  # here\n"
    ),
    "recursion": Way(
        "left", "", "deep",
        "def work(): deep(150, MAKE)\ndef deep(n, x):\n if n: deep(n - 1, 0)\n del n\n return 1  # here\n",
    ),
    "unwatch": Way("unwatched", "", "work", "def work():\n x = MAKE\n x = unwatch(x)  # here\n return 1\n"),
}  # fmt: skip


def line_of(source: str) -> int:
    (line,) = [number for number, text in enumerate(source.splitlines(), 1) if text.endswith("# here")]
    return line


def records(journal: Opened | Path) -> list[Record]:
    decoder = JournalDecoder(journal.path if isinstance(journal, Opened) else journal, {}, final=True)
    found: list[Record] = []
    while more := decoder.poll():
        found += more
    decoder.close()
    return found


def endings(journal: Opened | Path) -> list[Unwatched]:
    return [record for record in records(journal) if isinstance(record, Unwatched)]


def compiled(source: str, file: str = "ends.py") -> dict[str, Any]:
    names: dict[str, Any] = {"watch": watch, "unwatch": unwatch, "Thing": Thing, "Slots": Slots}
    exec(compile(source, file, "exec"), names)
    return names


@contextmanager
def traced(how: str) -> Iterator[None]:
    def trace(*_: object) -> Any:
        return trace

    if how == "traced":
        before = sys.gettrace()
        sys.settrace(trace)
    try:
        yield
    finally:
        if how == "traced":
            sys.settrace(before)


@pytest.mark.parametrize("how", ["plain", "traced", "in a thread"])
@pytest.mark.parametrize("kind", KINDS)
def test_end_of_a_watch_says_where_and_why(journal: Opened, kind: str, how: str) -> None:
    if how != "plain" and ((kind in IN_PLACE and OLD) or (kind not in ("int", "instance") and not SOAK)):
        pytest.skip("in the long tests")
    times = TIMES if how == "plain" and (kind == "int" or (kind == "instance" and not OLD)) else 3
    gc.collect()
    for name, way in WAYS.items():
        work = compiled(way.source.replace("MAKE", KINDS[kind]))["work"]

        def works(work: Any = work) -> None:
            with traced(how):
                for _ in range(times):
                    work()

        if how == "in a thread":
            thread = threading.Thread(target=works)
            thread.start()
            thread.join()
        else:
            works()
        unwatch(watch(0, name=f"end of {name}"))
    found = endings(journal)
    told: dict[str, list[object]] = {name: [] for name in WAYS}
    for name in WAYS:
        while (each := found.pop(0)).variable != f"end of {name}":
            site = each.site and (each.site.file, each.site.line, each.site.function)
            told[name].append((each.variable, each.why, each.target, site))
    assert told == {
        name: [("x", way.why, way.target, ("ends.py", line_of(way.source), way.function))] * times
        for name, way in WAYS.items()
    }


GIVEN = {
    "x = x + 1": "computed",
    "x = 1 + x": "computed",
    "x = -x": "computed",
    "x = x * y + 1": "computed",
    "x = y + (x - 1) * 2": "computed",
    "x = max(x, 3) + 1": "computed",
    "x = len([x]) + 1": "computed",
    "x = str(x) + str(y)": "computed",
    "x = y + 1": "plain",
    "x = 7": "plain",
    "x = 7.5": "plain",
    "x = x.value": "plain",
    "x = min(x, 3)": "plain",
    "x = b'ab'": "plain",
    "x = None": "",
    "x = 'text'": "",
    "x = [x.value]": "",
    "x = 0 if y else x + 1": "plain",
    "x = y and x + 1 and 3": "plain",
    "y, x = 1, 2": "plain",
}
SCOPES = {
    "local": "def work():\n x = watch(5, name='x')\n y = 2\n STATEMENT\n return 1\n",
    "global": "def work():\n global x, y\n x = watch(5, name='x')\n y = 2\n STATEMENT\n return 1\n",
    "cell": "def work():\n x = watch(5, name='x')\n y = 2\n def inner():\n  nonlocal x, y\n  STATEMENT\n inner()\n",
    "module": "x = watch(5, name='x')\ny = 2\nSTATEMENT\ndef work(): pass\n",
    "class": "def work():\n class C:\n  x = watch(5, name='x')\n  y = 2\n  STATEMENT\n",
}


@pytest.mark.parametrize("scope", SCOPES)
def test_what_a_name_is_given_is_told_where_it_is_known(journal: Opened, scope: str) -> None:
    for statement in GIVEN:
        compiled(SCOPES[scope].replace("STATEMENT", statement))["work"]()
    told = [(each.why, each.target, each.given) for each in endings(journal)]
    assert dict(zip(GIVEN, told, strict=True)) == {
        statement: ("rebound", "x", given) for statement, given in GIVEN.items()
    }


@pytest.mark.parametrize(
    ("statement", "given"),
    [
        ("t.x = t.x + 1", "computed"),
        ("t.x = 2 * (t.x + 1)", "computed"),
        ("t.x = -t.x", "computed"),
        ("t.x = u.x + 1", ""),
        ("t.x = t.y + 1", ""),
        ("t.x = 1", ""),
    ],
)
def test_attribute_that_is_computed_from_itself_is_told(journal: Opened, statement: str, given: str) -> None:
    for scope in (" t.y, u.x = 1, 2\n", " global t, u\n t, u = Thing(), Thing()\n t.y, u.x = 1, 2\n"):
        local = "" if "global" in scope else " t, u = Thing(), Thing()\n"
        source = f"def work():\n{local}{scope} t.x = watch(5, name='t.x')\n {statement}\n return 1\n"
        compiled(source)["work"]()
    assert [(each.why, each.target, each.given) for each in endings(journal)] == [("rebound", ".x", given)] * 2


def test_another_watched_value_in_its_place_is_told(journal: Opened) -> None:
    source = "def work():\n for i in range(50):\n  x = watch(i, name='x')\n return 1\n"
    compiled(source)["work"]()
    found = endings(journal)
    assert [each.why for each in found] == ["replaced"] * 49 + ["left"]
    assert {each.site.line for each in found[:-1] if each.site} == {3}


def test_names_that_utf8_has_in_several_bytes_are_cut_between_characters(journal: Opened) -> None:
    name = "ж" * 30
    compiled(f"def work():\n {name} = watch(5, name='x')\n {name} = 1\n return 1\n")["work"]()
    (found,) = endings(journal)
    assert found.target == "ж" * 18


def test_more_variables_than_an_instruction_has_room_for(journal: Opened) -> None:
    """EXTENDED_ARG before the stores, and jumps over many instructions."""
    many = "".join(f" v{i} = {i}\n" for i in range(400))
    loads = "".join(f" w.v{i} = v{i}\n" for i in range(400))
    source = (
        f"def work():\n{many} w = Thing()\n{loads} last = watch(5, name='x')\n last = last + 1  # here\n return 1\n"
    )
    compiled(source)["work"]()
    (found,) = endings(journal)
    assert (found.why, found.target, found.given) == ("rebound", "last", "computed")
    assert found.site
    assert found.site.line == line_of(source)


def run(program: str, folder: Path) -> list[list[Record]]:
    """What the journals of a program's processes tell, of the first process first."""
    script = folder / "program.py"
    script.write_text(textwrap.dedent(program))
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MEMWATCH_")}
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**inherited, "MEMWATCH_JOURNAL_FOLDER": str(folder / "sessions")},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    paths = sorted((folder / "sessions").glob("*/*.mwj"), key=lambda path: int(path.name.partition("-")[0]))
    return [records(path) for path in paths]


def ends(told: list[Record]) -> dict[str, tuple[str, int | None]]:
    """Why and at which line each variable's watch ended."""
    found = [record for record in told if isinstance(record, Unwatched)]
    return {each.variable: (each.why, None if each.site is None else each.site.line) for each in found}


def test_end_of_the_program_is_told_and_names_no_line(tmp_path: Path) -> None:
    (journal,) = run(
        """
        import atexit, sys
        from memwatch_core import watch

        class Held: pass

        early = watch(1)
        early = 2
        late = watch(3)
        last = watch(4)
        held = Held()
        held.number = watch(5)
        held.itself = held
        for_ever = [watch(6, name="for_ever")]
        sys.modules["nobody"] = for_ever
        atexit.register(lambda: globals().pop("late"))
        """,
        tmp_path,
    )
    told = ends(journal)
    assert told.pop("for_ever")[0] in ("exit", "closed")
    assert told == {
        "early": ("rebound", 8),
        "late": ("dropped", None),
        "last": ("exit", None),
        "held.number": ("exit", None),
    }


def test_forked_child_tells_its_own_ends(tmp_path: Path) -> None:
    journals = run(
        """
        import os, warnings
        from memwatch_core import watch

        warnings.simplefilter("ignore")
        x = watch(1)
        y = watch(2)
        if os.fork():
            os.wait()
            y = x = 5
        else:
            def work():
                z = watch(3)
                return 1
            y += 1  # a child that records nothing tells no ends either: it has no journal
            x = x + 1
            work()
        """,
        tmp_path,
    )
    assert [ends(journal) for journal in journals] == [
        {"x": ("rebound", 10), "y": ("rebound", 10)},
        {"x": ("rebound", 16), "z": ("left", 14), "y": ("exit", None)},
    ]


def test_session_that_is_closed_ends_what_is_still_watched(journal: Opened) -> None:
    x = watch(1)
    things = watch(Thing())
    process.close_journal()
    assert {(each.why, each.site) for each in endings(journal)} == {("closed", None)}
    del x, things


def test_exception_that_is_pending_survives_the_end_of_a_watch(journal: Opened) -> None:
    def work() -> None:
        x = watch(5)
        x += 1
        raise KeyError(7)

    for _ in range(TIMES):
        with pytest.raises(KeyError, match="7"):
            work()
    gc.collect()
    assert len(endings(journal)) == TIMES
