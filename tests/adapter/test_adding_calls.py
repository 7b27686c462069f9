"""``x += f()`` on a proxy is known, once for each place: the value is looked up after the call, not before."""

from __future__ import annotations

from pathlib import Path

import pytest
from journals import Opened
from test_endings import compiled, records, run

from memwatch_core.records import Event

STATEMENTS = {
    "x += f()": True,
    "x -= f(1)": True,
    "x *= f(f())": True,
    "x += 1 + f() * 2": True,
    "x += y.f()": True,
    "x += int(f())": True,
    "x += f(*z)": True,
    "x += f(a=1)": True,
    "x += max(1, 2, key=f)": True,
    "x += (lambda: 1)()": True,
    "x += w": False,
    "x += 1": False,
    "x += w + 1": False,
    "x += z[0]": False,
    "x += y.w": False,
    "x += len(z)": False,
    "x += int('3') + abs(w)": False,
    "x += max(w, 3)": False,
    "x.value = x.value + f()": False,
    "x.value += f()": False,
    "x += w\n f()": False,
    "f()\n x += w": False,
}
SCOPES = {
    "local": "def work():\n x = watch(5)\n w, y, z = 1, Y(), [1]\n STATEMENT\n",
    "global": "def work():\n global x, w, y, z\n x = watch(5)\n w, y, z = 1, Y(), [1]\n STATEMENT\n",
    "cell": "def work():\n x = watch(5)\n w, y, z = 1, Y(), [1]\n def inner():\n  return x, w, y, z\n STATEMENT\n",
    "attribute": "def work():\n t = Thing()\n t.x = watch(5)\n w, y, z = 1, Y(), [1]\n STATEMENT\n",
    "in a loop": "def work():\n x = watch(5)\n w, y, z = 1, Y(), [1]\n for _ in range(30):\n  STATEMENT\n",
    "module": "x = watch(5)\nclass Y:\n w = 1\n def f(self): return 1\nw, y, z = 1, Y(), [1]\n"
    "def f(*a, **k): return 1\nSTATEMENT\ndef work(): pass\n",
}
HELP = "class Y:\n w = 1\n def f(self): return 1\ndef f(*a, **k): return 1\n"


@pytest.mark.parametrize("scope", SCOPES)
def test_place_that_adds_a_call_is_known(journal: Opened, scope: str) -> None:
    for number, (statement, _) in enumerate(STATEMENTS.items()):
        if scope == "attribute":
            statement = statement.replace("x", "t.x").replace("mat.x", "max")
        indent = "\n" + " " * {"in a loop": 2, "module": 0}.get(scope, 1)
        source = HELP + SCOPES[scope].replace("STATEMENT", statement.replace("\n ", indent))
        compiled(source, f"{number}.py")["work"]()
    told: dict[str, set[bool]] = {}
    for record in records(journal):
        if isinstance(record, Event) and record.site:
            told.setdefault(record.site.file, set()).add(record.site.adds_call)
    assert {statement: told[f"{number}.py"] for number, statement in enumerate(STATEMENTS)} == {
        statement: {adds} for statement, adds in STATEMENTS.items()
    }


@pytest.mark.parametrize("statement", ["x += await f()", "x += 1 + await f()", "x += (yield)"])
def test_value_that_is_waited_for_counts_as_a_call(journal: Opened, statement: str) -> None:
    kind = "async def" if "await" in statement else "def"
    source = "import asyncio\nasync def f():\n await asyncio.sleep(0)\n return 1\n"
    source += f"{kind} work():\n x = watch(5)\n {statement}\n"
    work = compiled(source)["work"]
    if "await" in statement:
        import asyncio

        asyncio.run(work())
    else:
        flow = work()
        next(flow)
        with pytest.raises(StopIteration):
            flow.send(1)
    (event,) = [record for record in records(journal) if isinstance(record, Event)]
    assert event.site
    assert event.site.adds_call


def test_forked_child_knows_it_as_well(tmp_path: Path) -> None:
    """Of a place that its parent has written from before."""
    journals = run(
        """
        import os, warnings
        from memwatch_core import watch

        warnings.simplefilter("ignore")
        def f(): return 1
        x = watch(1)
        for _ in range(2):
            x += f()
            if _ == 0 and not os.fork():
                continue
        """,
        tmp_path,
    )
    for journal in journals:
        events = [record for record in journal if isinstance(record, Event)]
        assert [event.site and event.site.adds_call for event in events] == [True] * len(events)
        assert events
    assert len(journals) == 2
