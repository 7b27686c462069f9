"""Risk: a debugger that doesn't stop where a value changes, stops elsewhere, or stops for nothing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from client import Client, Refused, Stop, on_pipes, on_port

pytest.importorskip("debugpy", reason="memwatch dap stands before debugpy, which isn't installed here")

PROGRAM = """\
import threading


class Order:
    limit = 100
    __slots__ = ("total", "__dict__")

    def __init__(self):
        self.total = 0
        self.tags = []
        self.__secret = 1

    def add(self, n):
        self.total += n
        self.tags.append(n)

    def change(self):
        self.__secret += 1


def tune(**options):
    config.update(options)


def rename():
    global NAME
    NAME = "y"


config = {"debug": False, 5: "five"}
LIMITS = [1, 2, 3]
NAME = "x"
order = Order()
other = Order()
print("ready")
tune(port=1)
tune(debug=True)
order.add(5)
other.add(7)
LIMITS[1] = 20
LIMITS[2] = 30
rename()
order.limit = 3
Order.limit = 4
order.change()
config[5] = 6
del config["debug"]
print("end")
"""
READY = PROGRAM[: PROGRAM.index('print("ready")')].count("\n") + 1


def line_of(code: str) -> int:
    (number,) = [n for n, line in enumerate(PROGRAM.splitlines(), 1) if line.strip() == code]
    return number


KINDS = [
    ("config['debug']", ("config", "'debug'"), "config.update(options)", "tune", "config['debug'] False → True"),
    ("order.total", ("order", "total"), "self.total += n", "Order.add", "order.total 0 → 5"),
    ("order.tags", ("order", "tags"), "self.tags.append(n)", "Order.add", "order.tags[0] absent → 5"),
    ("LIMITS[2]", ("LIMITS", "2"), "LIMITS[2] = 30", "<module>", "LIMITS[2] 3 → 30"),
    ("NAME", ("NAME",), 'NAME = "y"', "rename", "NAME 'x' → 'y'"),
    ("order.limit", ("order", "limit"), "order.limit = 3", "<module>", "order.limit absent → 3"),
    ("order.__secret", ("order", "_Order__secret"), "self.__secret += 1", "Order.change", "order.__secret 1 → 2"),
    ("config[5]", ("config", "5"), "config[5] = 6", "<module>", "config[5] 'five' → 6"),
]
"""What it is by an expression, what by the lines of the view, the line that stores, in which function, what is said."""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    file = tmp_path / "program.py"
    file.write_text(PROGRAM)
    return file


@contextmanager
def at(program: Path, *lines: int, **more: Any) -> Iterator[tuple[Client, Stop]]:
    """A program that stands still at the first of these lines."""
    with on_pipes(program.parent) as (client, _):
        client.initialize()
        client.launch(program, *lines, **more)
        yield client, client.stopped()
        client.ask("disconnect", {"terminateDebuggee": True})


def ended(client: Client) -> str:
    """What a program has written, at its end."""
    client.event("terminated")
    return client.output()


def set_for(client: Client, stop: Stop, *expressions: str, **more: Any) -> list[int]:
    """Data breakpoints for expressions; their numbers."""
    wanted = []
    for expression in expressions:
        info = stop.info(expression)
        assert info["dataId"] is not None, info
        wanted.append({"dataId": info["dataId"], **more})
    found = client.set(*wanted)
    assert all(one["verified"] for one in found), found
    return [one["id"] for one in found]


@pytest.mark.parametrize("by", ["expression", "line of the view"])
def test_each_kind_of_place_stops_where_it_is_stored_to(by: str, program: Path) -> None:
    with at(program, READY) as (client, stop):
        infos = [
            stop.info(kind[0]) if by == "expression" else stop.info_in(*kind[1], scope="Globals") for kind in KINDS
        ]
        assert [info["accessTypes"] for info in infos] == [["write"]] * len(KINDS)
        numbers = client.set(*({"dataId": info["dataId"], "accessType": "write"} for info in infos))
        assert all(one["verified"] for one in numbers)
        client.go(stop)
        for (*_, code, function, said), number in zip(KINDS, numbers, strict=True):
            stop = client.stopped()
            if "__secret" in said and by != "expression":
                said = said.replace("__secret", "_Order__secret")
            body = stop.body
            assert (body["reason"], body["description"]) == ("data breakpoint", said)
            assert body["hitBreakpointIds"] == [number["id"]]
            assert f"{said} at {program.name}:{line_of(code)}" in body["text"]
            assert body["allThreadsStopped"]
            assert stop.line == line_of(code)
            assert stop.frames[0]["name"].endswith(function.rpartition(".")[2])
            assert stop.frames[0]["source"]["path"] == str(program)
            assert not any("memwatch" in frame["source"]["path"] for frame in stop.frames)
            client.go(stop)
        stop = client.stopped()
        assert stop.body["description"] == "config['debug'] True → absent"
        client.go(stop)
        assert ended(client) == "ready\nend\n"


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("text", "a local name of work()"),
        ("number", "a local name of work()"),
        ("point", "a local name of work()"),
        ("later", "has no value yet"),
        ("text[0]", "a str never changes"),
        ("point[0]", "a tuple never changes"),
        ("tags[0:1]", "one item of a list"),
        ("self.double", "property"),
        ("queue[0]", "deque"),
        ("len", "no global name"),
        ("missing", "no global name"),
        ("missing.name", "missing"),
        ("self.fails()", "on purpose"),
        ("1 +", "not an expression"),
    ],
)
def test_what_can_not_be_watched_says_why(expression: str, why: str, held: tuple[Client, Stop]) -> None:
    _, stop = held
    info = stop.info(expression)
    assert info["dataId"] is None
    assert why in info["description"], info
    assert "accessTypes" not in info


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, Stop]]:
    """A program that stands still in a method."""
    file = tmp_path_factory.mktemp("held") / "program.py"
    file.write_text(
        "from collections import deque\n"
        "class Work:\n"
        "    double = property(lambda self: 2)\n"
        "    def fails(self):\n        raise ValueError('on purpose')\n"
        "    def work(self, number):\n"
        "        text, tags, point, queue = 'abc', [1], (1, 2), deque([1])\n"
        "        print(number)\n"
        "        later = 1\n"
        "        tags.append(2)\n"
        "        return later\n"
        "Work().work(3)\n"
    )
    with at(file, 8) as (client, stop):
        yield client, stop


def test_a_local_list_is_watched_for_what_it_holds_and_that_is_said(held: tuple[Client, Stop]) -> None:
    _, stop = held
    by_name, by_line = stop.info("tags"), stop.info_in("tags")
    assert by_name["description"] == by_line["description"]
    assert by_name["description"].startswith("what tags holds (it is a local name of work()")
    assert not by_name["canPersist"]


@pytest.mark.parametrize("arguments", [{}, {"name": ""}, {"name": "x", "variablesReference": 99999}, {"name": 5}])
def test_a_request_that_makes_no_sense_is_answered(arguments: dict[str, Any], held: tuple[Client, Stop]) -> None:
    client, _ = held
    info = client.ask("dataBreakpointInfo", arguments)
    assert info["dataId"] is None
    assert info["description"]


@pytest.mark.parametrize(
    ("condition", "stops"),
    [
        ("new > 2", [3, 4, 5]),
        ("new == 2 or new == 4", [2, 4]),
        ("old < 2 and changed", [1, 2]),
        ("new % 2 == 0", [2, 4]),
        ("new in (1, 5)", [1, 5]),
        ("thread.name == 'nobody'", []),
        ("", [1, 2, 3, 4, 5]),
    ],
)
def test_a_condition_decides_in_our_language(condition: str, stops: list[int], tmp_path: Path) -> None:
    assert values_stopped_at(tmp_path, condition=condition) == stops


@pytest.mark.parametrize(
    ("count", "stops"),
    [("3", [3]), ("== 3", [3]), (">3", [4, 5]), (">= 3", [3, 4, 5]), ("< 3", [1, 2]), ("<= 1", [1]), ("% 2", [2, 4])],
)
def test_a_hit_condition_counts(count: str, stops: list[int], tmp_path: Path) -> None:
    assert values_stopped_at(tmp_path, hitCondition=count) == stops


def values_stopped_at(folder: Path, **more: Any) -> list[int]:
    file = folder / "program.py"
    file.write_text("total = 0\nprint()\nfor total in range(1, 6):\n    pass\nprint(total)\n")
    with at(file, 2) as (client, stop):
        set_for(client, stop, "total", **more)
        client.ask("setBreakpoints", {"source": {"path": str(file)}, "breakpoints": [{"line": 5}]})
        found = []
        while True:
            client.go(stop)
            stop = client.stopped()
            if stop.reason != "data breakpoint":
                return found
            assert stop.line == 3
            found.append(int(stop.evaluate("total")))


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"condition": "new <"}, "new <"),
        ({"condition": "colour == 1"}, "colour"),
        ({"condition": "__import__('os')"}, "__import__"),
        ({"hitCondition": "many"}, "hit count"),
        ({"accessType": "read"}, "no reads"),
        ({"accessType": "readWrite"}, "no reads"),
        ({"dataId": "#999"}, "point at it again"),
        ({"dataId": "nonsense"}, "point at it again"),
        ({"dataId": "no_such_module:name"}, "no_such_module isn't imported yet"),
    ],
)
def test_a_breakpoint_that_can_not_be_is_not_verified_and_says_why(
    more: dict[str, Any], why: str, held: tuple[Client, Stop]
) -> None:
    client, stop = held
    good = stop.info("tags")["dataId"]
    first, second = client.set({"dataId": good, **more}, {"dataId": good})
    assert not first["verified"]
    assert why in first["message"]
    assert second["verified"], "one that is wrong spoils no other"
    client.set()


def test_breakpoints_are_replaced_as_a_whole(program: Path) -> None:
    with at(program, READY) as (client, stop):
        ids = {name: stop.info(name)["dataId"] for name in ("config['debug']", "order.total", "NAME")}
        first = client.set({"dataId": ids["config['debug']"]}, {"dataId": ids["order.total"]})
        second = client.set({"dataId": ids["order.total"]}, {"dataId": ids["NAME"]})
        assert second[0]["id"] == first[1]["id"]
        assert second[1]["id"] not in [one["id"] for one in first]
        client.go(stop)
        for said in ("order.total 0 → 5", "NAME 'x' → 'y'"):
            stop = client.stopped()
            assert stop.body["description"] == said
            client.go(stop)
        ended(client)


def test_after_clearing_nothing_is_watched(program: Path) -> None:
    with at(program, READY) as (client, stop):
        set_for(client, stop, "config['debug']", "order.total", "LIMITS[2]", "NAME", "order.limit")
        assert client.set() == []
        watched = "[__import__('memwatch_core.native.proxy', fromlist=['_']).find_places(o) for o in (order, LIMITS)]"
        assert stop.evaluate(watched) == "[None, None]"
        client.go(stop)
        assert ended(client) == "ready\nend\n"


def test_until_it_is_asked_for_the_program_knows_nothing_of_us(program: Path) -> None:
    with at(program, READY) as (_, stop):
        assert stop.evaluate("'memwatch_core' in __import__('sys').modules") == "False"


def test_where_memwatch_is_not_installed_the_client_is_told(program: Path) -> None:
    with at(program, READY, python=[sys.executable, "-S"]) as (client, stop):
        assert "MemWatch isn't installed where the program runs" in stop.info("NAME")["description"]
        (one,) = client.set({"dataId": "__main__:NAME"})
        assert not one["verified"]
        assert "pip install memwatch" in one["message"]
        client.go(stop)
        assert ended(client) == "ready\nend\n"


def test_what_was_written_is_recorded_as_well(program: Path) -> None:
    with at(program, READY) as (client, stop):
        set_for(client, stop, "order.total")
        client.go(stop)
        client.go(client.stopped())
        ended(client)
    run = subprocess.run(
        [sys.executable, "-m", "memwatch_core.cli", "log", "--json"],
        cwd=program.parent, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    events = [event for event in map(json.loads, run.stdout.splitlines()) if "seq" in event]
    assert [
        (event["variable"], event["part"]["old"], event["part"]["new"], event["site"]["line"]) for event in events
    ] == [("order.total", 0, 5, line_of("self.total += n"))]


def test_what_the_user_evaluates_does_not_stop_again(program: Path) -> None:
    with at(program, READY) as (client, stop):
        set_for(client, stop, "NAME", "order.total")
        assert stop.evaluate("order.add(1)") in ("", "None")
        client.go(stop)
        stop = client.stopped()
        assert stop.body["description"] == "order.total 1 → 6"
        assert stop.evaluate("order.add(100)") in ("", "None")
        assert stop.evaluate("order.total") == "106"
        client.go(stop)
        assert client.stopped().body["description"] == "NAME 'x' → 'y'"


STEPPED = """\
def add(order, n):
    order["total"] += n
    a = 1
    order["total"] += n; b = a
    return b


def last(order):
    order["total"] = 9


def caller(order):
    last(order)
    return 3


order = {"total": 0}
print()
add(order, 5)
caller(order)
"""


@pytest.mark.parametrize(
    ("how", "lines"),
    [
        ("next", [(2, "d"), (3, "s"), (4, "s"), (4, "d"), (5, "s")]),
        ("stepIn", [(2, "d"), (3, "s"), (4, "s"), (4, "d"), (5, "s")]),
        ("stepOut", [(2, "d"), (4, "d")]),
        ("continue", [(2, "d"), (4, "d"), (9, "d")]),
    ],
)
def test_steps_go_on_from_the_line_that_stored(how: str, lines: list[tuple[int, str]], tmp_path: Path) -> None:
    file = tmp_path / "program.py"
    file.write_text(STEPPED)
    found = []
    with at(file, 18) as (client, stop):
        set_for(client, stop, "order['total']")
        client.go(stop)
        for _ in lines:
            stop = client.stopped()
            found.append((stop.line, stop.reason[0]))
            client.ask(how, {"threadId": stop.thread})
    assert found == lines


@pytest.mark.parametrize("how", ["next", "stepIn", "stepOut"])
def test_a_step_from_a_functions_last_store_leads_to_its_caller(how: str, tmp_path: Path) -> None:
    file = tmp_path / "program.py"
    file.write_text(STEPPED)
    with at(file, 20) as (client, stop):
        set_for(client, stop, "order['total']")
        client.go(stop)
        stop = client.stopped()
        assert (stop.reason, stop.line) == ("data breakpoint", 9)
        client.ask(how, {"threadId": stop.thread})
        stop = client.stopped()
        assert (stop.reason, stop.frames[0]["name"]) == ("step", "caller")
        assert stop.line in (13, 14)


def test_each_thread_stops_for_what_it_has_written(tmp_path: Path) -> None:
    file = tmp_path / "program.py"
    file.write_text(
        "import threading\n"
        "places = {'a': 0, 'b': 0, 'c': 0}\n"
        "begin = threading.Barrier(3)\n"
        "def write(name):\n"
        "    begin.wait()\n"
        "    for n in range(1, 5):\n"
        "        places[name] = n\n"
        "threads = [threading.Thread(target=write, args=(name,), name=f'writer of {name}') for name in places]\n"
        "print()\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
        "print(places)\n"
    )
    seen: list[tuple[str, str]] = []
    with at(file, 9) as (client, stop):
        set_for(client, stop, "places['a']", "places['b']", "places['c']")
        client.go(stop)
        for _ in range(12):
            stop = client.stopped()
            assert (stop.reason, stop.line) == ("data breakpoint", 7), stop.body
            names = {one["id"]: one["name"] for one in client.ask("threads")["threads"]}
            place = stop.evaluate("name").strip("'")
            assert names[stop.thread] == f"writer of {place}"
            assert stop.body["description"].startswith(f"places['{place}'] ")
            seen.append((place, stop.body["description"][-1]))
            client.go(stop)
        assert ended(client).splitlines()[-1] == "{'a': 4, 'b': 4, 'c': 4}"
    assert sorted(seen) == [(place, str(n)) for place in "abc" for n in range(1, 5)]


def test_threads_that_wait_for_their_stop_go_on_when_it_is_removed(tmp_path: Path) -> None:
    file = tmp_path / "program.py"
    file.write_text(
        "import threading\n"
        "total = {'n': 0}\n"
        "begin = threading.Barrier(4)\n"
        "def write():\n"
        "    begin.wait()\n"
        "    total['n'] = threading.get_ident()\n"
        "threads = [threading.Thread(target=write) for _ in range(4)]\n"
        "print()\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
        "print('end')\n"
    )
    with at(file, 8) as (client, stop):
        set_for(client, stop, "total['n']")
        client.go(stop)
        stop = client.stopped()
        assert stop.line == 6
        client.set()
        client.go(stop)
        assert ended(client).endswith("end\n")


def test_a_line_breakpoint_of_another_thread_takes_no_stop_away(tmp_path: Path) -> None:
    file = tmp_path / "program.py"
    file.write_text(
        "import threading\n"
        "total = {'n': 0}\n"
        "begin = threading.Barrier(2)\n"
        "def write():\n"
        "    begin.wait()\n"
        "    for n in range(1, 6):\n"
        "        total['n'] = n\n"
        "def pass_by():\n"
        "    begin.wait()\n"
        "    for n in range(5):\n"
        "        a = n\n"
        "threads = [threading.Thread(target=write), threading.Thread(target=pass_by)]\n"
        "print()\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
    )
    seen = []
    with at(file, 13, 11) as (client, stop):
        set_for(client, stop, "total['n']")
        client.go(stop)
        for _ in range(10):
            stop = client.stopped()
            seen.append((stop.reason, stop.line))
            client.go(stop)
        ended(client)
    assert sorted(seen) == [("breakpoint", 11)] * 5 + [("data breakpoint", 7)] * 5


def test_tasks_of_asyncio_stop_in_their_coroutines(tmp_path: Path) -> None:
    file = tmp_path / "program.py"
    file.write_text(
        "import asyncio\n"
        "stock = {'tea': 3}\n"
        "async def sell(n):\n"
        "    await asyncio.sleep(0)\n"
        "    stock['tea'] -= n\n"
        "    await asyncio.sleep(0)\n"
        "async def main():\n"
        "    async with asyncio.TaskGroup() as group:\n"
        "        for n in (1, 2):\n"
        "            group.create_task(sell(n))\n"
        "print()\n"
        "asyncio.run(main())\n"
        "print(stock)\n"
    )
    with at(file, 11) as (client, stop):
        set_for(client, stop, "stock['tea']")
        client.go(stop)
        for said in ("3 → 2", "2 → 0"):
            stop = client.stopped()
            assert stop.body["description"] == f"stock['tea'] {said}"
            assert (stop.frames[0]["name"], stop.line) == ("sell", 5)
            client.go(stop)
        assert ended(client).endswith("{'tea': 0}\n")


def test_two_sessions_through_one_port_have_their_own(program: Path) -> None:
    with on_port(program.parent) as connect:
        clients = [connect(), connect()]
        stops = []
        for client in clients:
            client.initialize()
            client.launch(program, READY)
            stops.append(client.stopped())
        for client, stop, place in zip(clients, stops, ("NAME", "order.total"), strict=True):
            set_for(client, stop, place)
            client.go(stop)
        for client, said in zip(clients, ("NAME 'x' → 'y'", "order.total 0 → 5"), strict=True):
            stop = client.stopped()
            assert stop.body["description"] == said
            client.go(stop)
            assert ended(client) == "ready\nend\n"
            client.ask("disconnect")


def attached(client: Client, port: int, **more: Any) -> None:
    client.initialize()
    begun = client.begin("attach", {"connect": {"host": "127.0.0.1", "port": port}, "justMyCode": True, **more})
    client.event("initialized")
    client.ask("configurationDone")
    assert client.answer(begun)["success"]


@pytest.mark.parametrize("end", ["disconnect", "hangs up"])
def test_a_program_that_was_attached_to_is_left_without_a_watch(end: str, tmp_path: Path) -> None:
    file = tmp_path / "program.py"
    file.write_text(
        "import sys, time, debugpy\n"
        "print(debugpy.listen(0)[1], flush=True)\n"
        "total = {'n': 0}\n"
        "debugpy.wait_for_client()\n"
        "while debugpy.is_client_connected():\n"
        "    total['n'] += 1\n"
        "    time.sleep(0.01)\n"
        "before = total['n']\n"
        "for _ in range(100): total['n'] += 1\n"
        "from memwatch_core.native import proxy\n"
        "print(proxy.find_places(total, 'n'), total['n'] - before)\n"
    )
    command = [sys.executable, "-Xfrozen_modules=off", str(file)]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as debugged:
        assert debugged.stdout is not None
        port = int(debugged.stdout.readline())
        with on_pipes(tmp_path) as (client, _):
            attached(client, port)
            info = client.ask("dataBreakpointInfo", {"name": "total['n']"})
            assert client.set({"dataId": info["dataId"]})[0]["verified"], "while it runs"
            for _ in range(3):
                stop = client.stopped()
                assert re.fullmatch(r"total\['n'\] \d+ → \d+", stop.body["description"])
                assert stop.line == 6
                client.go(stop)
            client.stopped()
            if end == "disconnect":
                client.ask("disconnect", {"terminateDebuggee": False})
            client.close()
        out, _ = debugged.communicate(timeout=60)
    assert (debugged.returncode, out) == (0, "None 100\n")


def test_a_child_process_has_a_session_of_its_own(tmp_path: Path) -> None:
    file, inner = tmp_path / "program.py", tmp_path / "child.py"
    file.write_text("import subprocess, sys\nprint('end', subprocess.run([sys.executable, sys.argv[1]]).returncode)\n")
    inner.write_text("total = {'n': 0}\ndef work():\n    print('child')\n    total['n'] = 7\nwork()\n")
    with on_port(tmp_path) as connect:
        parent, child = connect(), connect()
        parent.initialize()
        parent.launch(file, subProcess=True, args=[str(inner)])
        asked = parent.event("debugpyAttach")
        child.initialize()
        begun = child.begin("attach", asked)
        child.event("initialized")
        child.ask("setBreakpoints", {"source": {"path": str(inner)}, "breakpoints": [{"line": 3}]})
        child.ask("configurationDone")
        assert child.answer(begun)["success"]
        stop = child.stopped()
        set_for(child, stop, "total['n']")
        child.go(stop)
        stop = child.stopped()
        assert (stop.body["description"], stop.line) == ("total['n'] 0 → 7", 4)
        child.go(stop)
        child.event("terminated")
        child.ask("disconnect")
        while "end 0" not in parent.output():
            parent.event("output")


IDS = {
    "__main__:total": "total absent → 0",
    "__main__:config['debug']": "config['debug'] False → True",
    "stock:count": "count absent → 3",
    "stock:shelf.price": "shelf.price 1 → 2",
}


@pytest.mark.parametrize("ident", IDS)
def test_a_breakpoint_of_an_earlier_run_is_there_from_the_beginning(ident: str, tmp_path: Path) -> None:
    """Editors keep them, and set them before the program has begun."""
    file = tmp_path / "program.py"
    file.write_text("total = 0\nconfig = {'debug': False}\nconfig['debug'] = True\nimport stock\nprint('end')\n")
    (tmp_path / "stock.py").write_text(
        "class Shelf:\n    price = 1\ncount = 3\nshelf = Shelf()\nshelf.price = 1\nshelf.price = 2\n"
    )
    found: list[dict[str, Any]] = []
    with on_pipes(tmp_path) as (client, _):
        client.initialize()
        client.launch(file, before=lambda: found.extend(client.set({"dataId": ident})))
        assert not found[0]["verified"]
        assert "yet" in found[0]["message"]
        stop = client.stopped()
        while stop.body["description"] != IDS[ident]:
            client.go(stop)
            stop = client.stopped()
        assert stop.reason == "data breakpoint"
        changed = next(m["body"] for m in client.received if m.get("event") == "breakpoint")
        assert changed["reason"] == "changed"
        assert (changed["breakpoint"]["id"], changed["breakpoint"]["verified"]) == (found[0]["id"], True)
        client.ask("setBreakpoints", {"source": {"path": str(file)}, "breakpoints": [{"line": 5}]})
        client.go(stop)
        assert client.stopped().line == 5
        client.ask("disconnect", {"terminateDebuggee": True})


def test_an_info_that_takes_its_time_can_be_cancelled(tmp_path: Path) -> None:
    file = tmp_path / "program.py"
    file.write_text(
        "import time\n"
        "class Slow:\n"
        "    @property\n"
        "    def inner(self):\n        time.sleep(3)\n        return self\n"
        "slow = Slow()\n"
        "print()\n"
    )
    with at(file, 8) as (client, stop):
        frame = stop.frames[0]["id"]
        asked = client.begin("dataBreakpointInfo", {"name": "slow.inner.name", "frameId": frame})
        client.ask("cancel", {"requestId": asked})
        answer = client.answer(asked, 2)
        assert (answer["success"], answer["message"]) == (False, "cancelled")
        assert client.ask("threads")["threads"]


def test_a_request_that_is_refused_is_not_taken_for_a_success(held: tuple[Client, Stop]) -> None:
    client, _ = held
    with pytest.raises(Refused):
        client.ask("noSuchRequest")
