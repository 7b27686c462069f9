"""A program whose functions say each binding of a name themselves, and what follows from what they said. Nothing here
reads a journal.

Calls within calls, generators that take turns, threads, deletions, exceptions, the bodies of classes. Each line that is
said is one event: ``[variable, call, name, value, thread, line]``; its number is that of the event. A value is a small
whole number, of which there is one object each, or "absent".
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

ORDERS = """
from saying import begin, draw, say

def climb(me, depth):
    say("orders:climb()", me, "me", me)
    say("orders:climb()", me, "depth", depth, 2)
    total = draw()
    say("orders:climb()", me, "total", total)
    for i in range(draw() % 3):
        say("orders:climb()", me, "i", i)
        if depth:
            below = climb(begin("climb"), depth - 1)
            say("orders:climb()", me, "below", below)
        if draw() % 4 == 0:
            del total
            say("orders:climb()", me, "total", "absent")
            total = draw()
            say("orders:climb()", me, "total", total)
    try:
        if draw() % 5 == 0:
            raise ValueError
    except ValueError:
        total = -1
        say("orders:climb()", me, "total", total)
    return total

def steps(me, count):
    say("orders:steps()", me, "me", me)
    say("orders:steps()", me, "count", count, 2)
    try:
        for at in range(count):
            say("orders:steps()", me, "at", at)
            yield at
            total = draw()
            say("orders:steps()", me, "total", total)
    finally:
        count = -2
        say("orders:steps()", me, "count", count)

def body(number):
    say("orders:body()", number, "number", number)
    class Order:
        limit = draw()
        say("orders:body.<locals>.Order", number, "limit", limit)
        del limit
        say("orders:body.<locals>.Order", number, "limit", "absent")
    say("orders:body()", number, "Order", "class", 6)
    del Order
    say("orders:body()", number, "Order", "absent")
"""

SAYING = """
import json, os, random, sys, threading

random = random.Random(int(sys.argv[2]))
said = open(f"{sys.argv[1]}/{os.getpid()}", "a", buffering=1)
counts, held = {}, {}

def draw():
    return random.randrange(100)

def begin(function):
    counts[function] = counts.get(function, 0) + 1
    return counts[function]

def say(variable, call, name, value, behind=1):
    if held.get((variable, call, name), "absent") != value:
        line = sys._getframe(1).f_lineno - behind  # where the name was bound
        said.write(json.dumps([variable, call, name, value, threading.current_thread().name, line]) + "\\n")
    held[variable, call, name] = value
"""

PROGRAM = """
import os, random, signal, sys, threading
import orders
from saying import begin, draw

chosen = random.Random(int(sys.argv[2]) + 1)
lock, waiting = threading.Lock(), []

def work(turns):
    for _ in range(turns):
        with lock:
            way = chosen.randrange(5)
            if way < 2:
                orders.climb(begin("climb"), chosen.randrange(4))
            elif way == 2 or not waiting:
                waiting.append(orders.steps(begin("steps"), chosen.randrange(1, 5)))
                next(waiting[-1], None)
            elif way == 3 and chosen.random() < 0.2:
                waiting.pop(chosen.randrange(len(waiting))).close()
            elif chosen.random() < 0.3:
                orders.body(begin("Order"))
            else:
                next(chosen.choice(waiting), None)

turns = int(sys.argv[3])
work(turns)
threads = [threading.Thread(target=work, args=(turns,), name=f"worker-{n}") for n in range(3)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
if sys.argv[4] == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
[each.close() for each in waiting]
"""


class Binding(NamedTuple):
    """What a function said."""

    variable: str
    call: int
    name: str
    value: Any
    thread: str
    line: int


class Process:
    """What a process said."""

    def __init__(self, folder: Path) -> None:
        (file,) = folder.iterdir()
        self.pid = int(file.name)
        self.said = [Binding(*json.loads(line)) for line in file.read_text().splitlines()]

    def in_calls(self, variable: str, until: int, since: int = 0) -> dict[tuple[int, str], tuple[Any, int, int]]:
        """For each call and name: its value, the number of the binding that left it, and how many there were."""
        found: dict[tuple[int, str], tuple[Any, int, int]] = {}
        for number, each in enumerate(self.said[:until], 1):
            if each.variable == variable and number > since:
                count = found.get((each.call, each.name), (None, 0, 0))[2]
                found[each.call, each.name] = each.value, number, count + 1
        return found

    def last(self, variable: str, until: int, since: int = 0) -> dict[str, tuple[int, Any, int, int]]:
        """For each name: which call bound it last, to what, by which binding, and how many there were in all calls."""
        found: dict[str, tuple[int, Any, int, int]] = {}
        for (call, name), (value, number, count) in self.in_calls(variable, until, since).items():
            known = found.get(name)
            total = count + (0 if known is None else known[3])
            newer = known is None or number > known[2]
            found[name] = (call, value, number, total) if newer else (*known[:3], total)  # type: ignore[index]
        return found

    def of(self, variable: str, call: int | None, name: str | None) -> list[int]:
        """The numbers of bindings."""
        return [
            number
            for number, each in enumerate(self.said, 1)
            if each.variable == variable and call in (None, each.call) and name in (None, each.name)
        ]
