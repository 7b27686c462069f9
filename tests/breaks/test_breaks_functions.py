"""``then=function``, ``then="raise"``, several conditions, what an action does itself, forks, secrets."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from memwatch_core import MutationError, config, unwatch, watch, watch_place
from memwatch_core.adapter import process
from memwatch_core.errors import SessionError
from memwatch_core.journal.session import create_session
from memwatch_core.native import core
from memwatch_core.records import Hit


@pytest.mark.usefixtures("journal")
def test_a_function_gets_what_was_written_after_it_was_written() -> None:
    seen: list[tuple[Hit, int, int]] = []
    total = watch(
        5, name="total", when="new > old", then=lambda hit: seen.append((hit, total.value, threading.get_native_id()))
    )
    total.value = 9
    total.value = 3
    ((hit, value, thread),) = seen
    assert (hit.variable, hit.path, hit.old, hit.new, hit.changed) == ("total", "total", 5, 9, True)
    assert value == 9
    assert hit.tid == thread
    assert hit.thread == "MainThread"
    assert hit.site is not None
    assert hit.site[2] == "test_a_function_gets_what_was_written_after_it_was_written"
    assert hit.origin == "announced"
    assert hit.when == "new > old"
    with pytest.raises(AttributeError):
        hit.new = 3  # type: ignore[misc]


@pytest.mark.usefixtures("journal")
def test_what_a_function_raises_comes_out_where_it_was_stored() -> None:
    def refuse(hit: Hit) -> None:
        raise LookupError(hit.new)

    total = watch(5, when="new < 0", then=refuse)
    with pytest.raises(LookupError, match="-1"):
        total.value = -1
    assert total == -1


@pytest.mark.usefixtures("journal")
def test_what_an_action_writes_is_recorded_and_not_acted_on() -> None:
    seen: list[int] = []

    def clamp(hit: Hit) -> None:
        seen.append(hit.new)
        total.value = -5
        places["a"] = -3
        after = 1
        after += 1

    places = {"a": 1}
    watch(places, when="new < 0", then=clamp)
    total = watch(5, when="new < 0", then=clamp)
    total.value = -1
    after = 1
    after += 1
    assert seen == [-1]
    assert (total.value, places["a"]) == (-5, -3)
    total.value = -2
    assert seen == [-1, -2]


@pytest.mark.usefixtures("journal")
def test_several_conditions_of_one_value_are_all_judged() -> None:
    from memwatch_core.adapter import breaks

    seen: list[str] = []
    total = watch(0, name="total", when="new > 1", then=lambda _: seen.append("one"))
    breaks.arm(total, "new > 2", lambda _: seen.append("two"))
    breaks.arm(total, "new > 3", "raise")
    total.value = 1
    assert seen == []
    total.value = 3
    assert sorted(seen) == ["one", "two"]
    with pytest.raises(MutationError):
        total.value = 4
    assert sorted(seen) == ["one", "one", "two", "two"]  # raise comes last


@pytest.mark.usefixtures("journal")
def test_then_alone_means_every_change() -> None:
    seen: list[Any] = []
    total = watch(1, then=lambda hit: seen.append(hit.new))
    total.value = 1
    total.value = 2
    assert seen == [2]


@pytest.mark.usefixtures("journal")
def test_an_error_says_that_the_value_has_been_written() -> None:
    order = {"qty": 1}
    watch_place(order, "qty", name="order.qty", when="new < 0", then="raise")
    with pytest.raises(MutationError, match=r"order\.qty 1 → -4 at .*; it has been written") as raised:
        order["qty"] = -4
    assert order == {"qty": -4}
    assert raised.value.hit is not None
    assert raised.value.hit.new == -4


@pytest.mark.usefixtures("journal")
def test_a_secret_tells_a_function_that_it_was_written_and_nothing_else() -> None:
    seen: list[Hit] = []
    pin = watch(4711, name="pin", secret=True, when="changed", then=seen.append)
    pin.value = 1234
    (hit,) = seen
    assert (hit.old, hit.new, hit.secret) == (None, None, True)
    with pytest.raises(MutationError) as raised:
        watch(4711, name="code", secret=True, then="raise").value = 1234
    assert "1234" not in str(raised.value)
    assert "4711" not in str(raised.value)


def test_secret_places_are_told_without_their_values(tmp_path: Path) -> None:
    """In a process of its own: from the first secret place on, what others hold is recorded with less detail."""
    program = (
        "from memwatch_core import watch\ndata = {'card': '4111'}\n"
        "watch(data, name='d', secret=True, when='path == \"d[\\\\\"card\\\\\"]\" and changed', then=print)\n"
        "data['card'] = '4222'\nafter = 1\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.count("Hit(") == 1, done.stderr
    assert "4111" not in done.stdout + done.stderr
    assert "4222" not in done.stdout + done.stderr


@pytest.mark.usefixtures("journal")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_keeps_its_conditions() -> None:
    total = watch(1, when="new < 0", then="raise")
    data = {"a": 1}
    watch(data, when="new < 0", then="raise")
    child = os.fork()
    if not child:
        met = 0
        try:
            total.value = -1
        except MutationError:
            met += 1
        try:
            data["a"] = -1
            met += 10
        except MutationError:
            met += 1
        os._exit(met)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
    total.value, data["a"] = 2, 2
    with pytest.raises(MutationError):
        total.value = -1


@pytest.mark.usefixtures("journal")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_an_action_writes_in_a_child_that_it_forks_is_not_acted_on() -> None:
    """Else the child would act, and fork, and so on."""
    seen: list[int] = []
    ends: list[int] = []
    parent = os.getpid()

    def fork(hit: Hit) -> None:
        seen.append(hit.new)
        if os.getpid() != parent:
            return
        child = os.fork()
        if not child:
            total.value = -5
            data["a"] = -6
            within = len(seen)
            os._exit(within)
        ends.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    data = {"a": 1}
    total = watch(1, when="new < 0", then=fork)
    watch(data, name="data", when="new < 0", then=fork)
    total.value = -1
    data["a"] = -2
    after = total.value
    assert (seen, ends, after) == ([-1, -2], [1, 2], -1)


class Plain:
    """Anything with attributes."""

    def __init__(self) -> None:
        self.x: object = 0


KINDS: dict[str, tuple[Callable[[], Any], Callable[[Any, int], object]]] = {
    "value": (lambda: watch(0, name="it"), lambda it, n: setattr(it, "value", n)),
    "object": (Plain, lambda it, n: setattr(it, "x", n)),
    "dict": (dict, lambda it, n: it.update(x=n)),
    "list": (lambda: [0], lambda it, n: it.__setitem__(0, n)),
    "set": (set, lambda it, n: it.add(n)),
}


@pytest.mark.usefixtures("journal")
@pytest.mark.parametrize("kind", KINDS)
def test_an_action_may_end_the_watch_and_begin_another_one(kind: str) -> None:
    make, write = KINDS[kind]
    seen: list[str] = []
    other = Plain()

    def act(hit: Hit) -> None:
        seen.append(hit.variable)
        unwatch(it)
        watch(other, name="other", then=lambda hit: seen.append(hit.path))
        other.x = "while it acts"

    it = make()
    if kind == "value":
        it = unwatch(it)
        it = watch(it, name="it", then=act)
    else:
        watch(it, name="it", then=act)
    for number in (1, 2):
        try:
            write(it, number)
        except SessionError:
            assert (kind, number) == ("value", 2)
        after = number
    other.x = "afterwards"
    after = 3
    assert (seen, after) == (["it", "other.x"], 3)


@pytest.mark.usefixtures("journal")
def test_each_of_many_threads_gets_its_own_error() -> None:
    """More of them than wait at a time."""
    places: dict[str, int] = {}
    watch(places, name="d", then="raise")
    wrong: list[object] = []

    def work(key: str) -> None:
        for number in range(50):
            try:
                places[key] = number
                after = number
            except MutationError as error:
                if (error.hit.path, error.hit.new) != (f'd["{key}"]', number):
                    wrong.append(error)
            else:
                wrong.append(after)

    threads = [threading.Thread(target=work, args=(f"k{n}",)) for n in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.usefixtures("journal")
def test_it_ends_with_the_watch() -> None:
    seen: list[Hit] = []
    data = {"a": 1}
    watch(data, then=seen.append)
    unwatch(data)
    data["a"] = 2
    watch(data)
    data["a"] = 3
    assert not seen


@pytest.mark.usefixtures("journal")
def test_places_that_come_later_are_judged_too() -> None:
    """More than a page of them, which takes another part of the watch."""
    seen: list[str] = []
    data: dict[str, int] = {}
    watch(data, name="d", when="new == 7", then=lambda hit: seen.append(hit.path))
    for i in range(300):
        data[f"k{i}"] = 7 if i % 50 == 0 else 0
    assert seen == [f'd["k{i}"]' for i in range(0, 300, 50)]


@pytest.mark.usefixtures("journal")
def test_many_that_are_met_at_once_are_counted() -> None:
    seen: list[Hit] = []
    block = watch((0,) * 100, format="<100q", name="block", when="changed", then=seen.append)
    numpy = pytest.importorskip("numpy")
    numbers = numpy.frombuffer(block, dtype="<i8")
    numbers[::2] = 1
    after = 1
    after += 1
    assert len(seen) == 1
    assert seen[0].more >= 10


@pytest.mark.usefixtures("journal")
def test_many_conditions_that_are_met_at_once_are_all_acted_on() -> None:
    """By one call of C's: nothing of the program's runs in between."""
    seen: list[str] = []
    config: dict[str, int] = {}
    keys = [f"k{i}" for i in range(300)]
    for key in keys:
        watch_place(config, key, name=key, then=lambda hit: seen.append(hit.variable))
    watch_place(config, "last", name="last", then="raise")
    with pytest.raises(MutationError):
        config.update(dict.fromkeys([*keys, "last"], 1))
    assert seen == keys


def test_how_many_could_not_be_acted_on_is_said(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "from memwatch_core import watch_place\n"
        "config, seen, keys = {}, [], [f'k{i}' for i in range(1100)]\n"
        "for key in keys:\n"
        "    watch_place(config, key, name=key, then=lambda hit: seen.append(hit.variable))\n"
        "config.update(dict.fromkeys(keys, 1))\n"
        "print(len(seen))\n"
    )
    done = subprocess.run(
        [sys.executable, str(program)], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout == "1024\n"
    assert "memwatch: 76 writes met a condition and aren't acted on: too many waited" in done.stderr


@pytest.mark.usefixtures("journal")
@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**30, -(10**30), 2**127 - 1])
def test_whole_numbers_of_more_than_64_bits_are_judged(number: int) -> None:
    seen: list[object] = []
    places: dict[str, object] = {"a": 0}
    when = "(new > 9223372036854775807 or new < -9223372036854775808) and new - old == new and new != old"
    watch(places, when=when, then=lambda hit: seen.append(hit.new))
    for value in (number, 0, 2**127, "9" * 30, [number], 5):
        places["a"] = value
        after = value
    assert after == 5
    assert seen == [number]


@pytest.mark.usefixtures("journal")
def test_a_text_with_lone_surrogates_is_given_as_it_is() -> None:
    seen: list[object] = []
    places: dict[str, object] = {"a": ""}
    watch(places, when='new like "?x"', then=lambda hit: seen.append(hit.new))
    places["a"] = "\udc80x"
    places["a"] = "\ud800\udfffx"
    places["a"] = "plain"
    assert seen == ["\udc80x"]


@pytest.mark.usefixtures("journal")
def test_what_cant_be_known_is_said_once(capfd: pytest.CaptureFixture[str]) -> None:
    seen: list[Hit] = []
    x = watch(1, name="x", when="10 / new > 1", then=seen.append)
    for _ in range(5):
        x.value = 0
    x.value = 2
    assert len(seen) == 1
    assert capfd.readouterr().err.count("can't be judged") == 1


def test_what_actions_hold_is_let_go_of_when_the_journal_is_closed(tmp_path: Path) -> None:
    def program() -> None:
        total = watch(5, name="total", when="new < 0", then=lambda hit: total)

    gc.collect()
    before = core.stats().pages
    process.open_journal(create_session(tmp_path, ["pytest"]), config.load())
    program()
    process.close_journal()
    gc.collect()
    assert core.stats().pages == before
