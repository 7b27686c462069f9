"""Containers whose items mutate them, or end their watch, where that is least convenient: as without a watch."""

from __future__ import annotations

import ctypes
import random
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cells import changes
from journals import Opened

from memwatch_core import unwatch, watch
from memwatch_core.native import proxy


class Dies:
    """Something whose end runs code."""

    def __init__(self, number: int, end: Callable[[int], object]) -> None:
        self.number, self.end = number, end

    def __hash__(self) -> int:
        return self.number

    def __del__(self) -> None:
        self.end(self.number)


ENDS_OF_SETS: dict[str, Callable[[set[Any]], object]] = {
    "clear": lambda x: x.clear(),
    "&=": lambda x: x.__iand__({-1, -2}),
    "intersection_update": lambda x: x.intersection_update([-1]),
    "__init__": lambda x: x.__init__([1, 2]),  # type: ignore[misc]
}


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("size", [3, 5, 500])
@pytest.mark.parametrize("way", ENDS_OF_SETS)
def test_the_watch_of_a_set_can_end_while_its_members_do(journal: Opened, way: str, size: int, again: bool) -> None:
    """The set's own code goes on to read the table that it had."""
    gone = []

    def end(number: int) -> None:
        gone.append(number)
        if len(gone) == 1:
            unwatch(members)
            others.extend(watch({i}, name="other") for i in range(3))  # would take the table's pages
            if again:
                watch(members, name="again")

    others: list[set[int]] = []
    members: set[Any] = {Dies(i, end) for i in range(size)}
    watch(members)
    ENDS_OF_SETS[way](members)
    assert sorted(gone) == list(range(size))
    assert others == [{0}, {1}, {2}]
    members.add("late")
    assert "late" in members
    assert proxy.audit_places() == 0
    for watched in [members] * again + others:
        unwatch(watched)
    assert "late" in members


ENDS_OF_DICTS: dict[str, Callable[[dict[Any, Any]], object]] = {
    "clear": lambda x: x.clear(),
    "PyDict_Clear": lambda x: PyDict_Clear(x),
    "pop": lambda x: [x.pop(key) for key in list(x)],
    "popitem": lambda x: [x.popitem() for _ in range(len(x))],
    "stored over": lambda x: x.update(dict.fromkeys(list(x))),
    "clear, and taken over from another": lambda x: (x.clear(), x.update({1: 1, 2: 2})),
}
PyDict_Clear = ctypes.PyDLL(None).PyDict_Clear
PyDict_Clear.argtypes, PyDict_Clear.restype = [ctypes.py_object], None


@pytest.mark.parametrize("fills", [False, True])
@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("size", [3, 5, 500])
@pytest.mark.parametrize("way", ENDS_OF_DICTS)
def test_the_watch_of_a_dict_can_end_while_its_values_do(
    journal: Opened, way: str, size: int, again: bool, fills: bool
) -> None:
    """The dict's own code goes on to read the table that it had."""
    gone = []

    def end(number: int) -> None:
        gone.append(number)
        if len(gone) == 1:
            unwatch(x)
            others.extend(watch({i: i}, name="other") for i in range(3))  # would take the table's pages
            if again:
                watch(x, name="again")
            if fills:
                x.update((f"new {i}", i) for i in range(20))

    others: list[dict[int, int]] = []
    x: dict[Any, Any] = {i: Dies(i, end) for i in range(size)}
    watch(x, name="x", depth=0)
    ENDS_OF_DICTS[way](x)
    others[0][0] = 5
    assert sorted(set(gone)) == list(range(size))
    assert others == [{0: 5}, {1: 1}, {2: 2}]
    x["late"] = 1
    assert [x[key] for key in x] == list(x.values())
    assert changes(journal)[-1].path == ('["late"]' if again else "[0]")
    assert proxy.audit_places() == 0
    for watched in [x] * again + others:
        unwatch(watched)
    x["later"] = 2
    assert x["late"] == 1


def test_remove_of_an_item_whose_comparison_has_emptied_the_list_raises_nothing(journal: Opened) -> None:
    class Empties:
        def __eq__(self, other: object) -> bool:
            items.clear()
            return True

        __hash__ = None  # type: ignore[assignment]

    items: list[Any] = [Empties(), 2]
    watch(items)
    items.remove(1)
    assert items == []
    assert [change.path for change in changes(journal)] == ["[1]", "[0]"]


def numbers(out: list[Any]) -> Iterator[int]:
    out.append("asked for")
    yield 1


def deleted(where: slice) -> Callable[[list[Any], list[Any]], object]:
    return lambda x, _: x.__delitem__(where)


def assigned(where: slice, n: int) -> Callable[[list[Any], list[Any]], object]:
    return lambda x, _: x.__setitem__(where, [0] * n)


SLICES = [slice(*args) for args in ((None, None), (2, 5), (None, None, 1), (None, None, 2), (None, None, -1),
                                    (6, 1, -2), (None, None, 10**30), (None, None, -(10**30)))]  # fmt: skip
WAYS: dict[str, Callable[[list[Any], list[Any]], object]] = {
    "clear": lambda x, _: x.clear(),
    "*= 0": lambda x, _: x.__imul__(0),
    "__init__": lambda x, _: x.__init__(),  # type: ignore[misc]
    "__init__(list)": lambda x, _: x.__init__([1]),  # type: ignore[misc]
    "__init__(generator)": lambda x, out: x.__init__(numbers(out)),  # type: ignore[misc]
    "__init__(5)": lambda x, _: x.__init__(5),  # type: ignore[misc]
    "__init__(1, 2)": lambda x, _: x.__init__(1, 2),  # type: ignore[misc]
    "__init__(name=1)": lambda x, _: x.__init__(name=1),  # type: ignore[misc]
    "x[1:3] = generator": lambda x, out: x.__setitem__(slice(1, 3), numbers(out)),
    **{f"del x[{s}]": deleted(s) for s in SLICES},
    **{f"x[{s}] = {n} items": assigned(s, n) for s in SLICES for n in (1, 3, 4, 8)},
}


@pytest.mark.parametrize("way", WAYS)
def test_destructors_of_items_run_when_and_in_the_order_in_which_they_would(journal: Opened, way: str) -> None:
    def seen(watched: bool) -> list[Any]:
        out: list[Any] = []
        items: list[Any] = [Dies(i, lambda number: out.append((number, len(items)))) for i in range(8)]
        if watched:
            watch(items)
        try:
            WAYS[way](items, out)
        except (TypeError, ValueError) as error:
            out.append(str(error))
        return [*out, [getattr(item, "number", item) for item in items]]

    assert seen(watched=True) == seen(watched=False)


@pytest.mark.parametrize("many", [1, 10, 1000, 100_000])
def test_a_list_that_a_destructor_fills_while_code_in_c_empties_it_goes_on_being_watched(
    journal: Opened, many: int
) -> None:
    clear = ctypes.pythonapi.PyList_SetSlice
    clear.argtypes = (ctypes.py_object, ctypes.c_ssize_t, ctypes.c_ssize_t, ctypes.c_void_p)
    items: list[Any] = [0]
    items.append(Dies(0, lambda _: items.extend(range(many))))
    watch(items)
    clear(items, 0, 2, None)
    assert items == list(range(many))
    items.append("late")
    last = changes(journal)[-1]
    assert (last.path, last.new) == (f"[{many}]", "late")
    assert proxy.audit_places() == 0
    assert unwatch(items) == [*range(many), "late"]


WITHOUT_MEMORY = """
import _testcapi
from memwatch_core import unwatch, watch
from memwatch_core.native import proxy

class Thing:
    pass

WAYS = [
    lambda x, s: s.__iand__({1, 2}), lambda x, s: s.__isub__({1, 2}), lambda x, s: s.update(range(100, 200)),
    lambda x, s: s.clear(), lambda x, s: x.extend(range(40)), lambda x, s: x.__setitem__(slice(1, 3), [[1]] * 9),
    lambda x, s: x.clear(), lambda x, s: x.__imul__(5), lambda x, s: x.sort(key=id), lambda x, s: x.__init__([1, 2, 3]),
    lambda x, s: unwatch(x), lambda x, s: unwatch(s),
    lambda x, s: x[-2].update(a=1, b=2), lambda x, s: x[-2].clear(),
    lambda x, s: x[-2].update({str(i): i for i in range(40)}),
    lambda x, s: (x[-2].clear(), x[-2].update({"y": 1})), lambda x, s: setattr(x[-1], "n", 1),
    lambda x, s: setattr(x[-1], "__dict__", {"u": 1}), lambda x, s: x[-2].__setitem__("b", Thing()),
    lambda x, s: x[-2].__setitem__("b", {1: {2: {3: 4}}}), lambda x, s: vars(x[-1]).clear(),
]
for way in WAYS:
    for nth in range(1, 40):
        d, o = {"a": 1, "b": [1], "c": {"x": 1}}, Thing()
        o.x, o.y = 1, {"k": 1}
        x, s = [1, 2, [3], 4, 5, 6, 7, d, o], set(range(20))
        watch(x, name="x", depth=3)
        watch(s, name="s")
        _testcapi.set_nomemory(nth, nth + 1 + nth % 3)
        try:
            way(x, s)
        except MemoryError:
            pass
        finally:
            _testcapi.remove_mem_hooks()
        x.append("end")
        s.add("end")
        assert x[-1] == "end" and len(list(x)) == len(x)
        assert "end" in s and len(list(s)) == len(s) and all(member in s for member in s)
        d["end"] = o.end = 1
        assert d["end"] == o.end == 1 and len(list(d)) == len(d) and all(key in d for key in d)
        proxy.audit_places()
        for watched in x, s:
            if proxy.find_places(watched):
                unwatch(watched)
        x.append(1)
        s.add(-1)
print("whole")
"""


def test_containers_stay_whole_where_memory_is_refused() -> None:
    pytest.importorskip("_testcapi")
    done = subprocess.run([sys.executable, "-c", WITHOUT_MEMORY], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "whole\n"), done.stderr[-2000:]


@pytest.mark.parametrize("seed", range(4))
def test_an_ordered_dict_keeps_its_order_whatever_table_it_has(journal: Opened, seed: int) -> None:
    rng = random.Random(seed)
    plain: OrderedDict[int, int] = OrderedDict()
    watched: OrderedDict[int, int] = watch(OrderedDict(), name="d")
    for step in range(1500):
        key, end = rng.randrange(12), bool(step % 2)
        way = rng.choice(["set", "set", "set", "pop", "popitem", "move", "clear"] if step % 17 else ["clear"])
        for d in plain, watched:
            if way == "set":
                d[key] = step
            elif way == "pop":
                d.pop(key, None)
            elif way == "popitem" and d:
                d.popitem(last=end)
            elif way == "move" and key in d:
                d.move_to_end(key, last=end)
            elif way == "clear" and step % 5 == 0:
                d.clear()
        assert [*zip(range(20), watched.items(), strict=False)] == [*enumerate(plain.items())]
        assert [*zip(range(20), reversed(watched), strict=False)] == [*enumerate(reversed(plain))]
    unwatch(watched)


def test_a_comparison_that_gives_a_dict_another_table_is_answered_as_without_a_watch(journal: Opened) -> None:
    for watched in False, True:
        d: dict[Any, Any] = {k: [k] for k in ("k0", "k1", "k2", "k3", "s")}
        d |= {f"f{i}": 0 for i in range(12)}
        for i in range(12):
            del d[f"f{i}"]

        class Key:
            once = True

            def __hash__(self) -> int:
                return hash("s")

            def __eq__(self, other: object, d: dict[Any, Any] = d) -> bool:
                if Key.once:
                    Key.once = False
                    del d["k0"]
                    d[5] = ["five"]
                return other == "s"

        if watched:
            watch(d, name="d", depth=0)
        assert d.pop(Key()) == ["s"]
        assert list(d) == ["k1", "k2", "k3", 5]
    unwatch(d)


class Plain:
    pass


@pytest.mark.parametrize("gone", [63, 64, 65, 66, 100])
def test_attributes_of_a_new_dict_have_cells_of_their_own_however_many_have_gone(journal: Opened, gone: int) -> None:
    o = Plain()
    watch(o, name="o")
    for i in range(gone):
        setattr(o, f"a{i}", i)
        delattr(o, f"a{i}")
    before = len(changes(journal))
    o.__dict__ = {f"n{i}": {"deep": i} for i in range(4)}
    for i in range(4):
        o.__dict__[f"n{i}"]["deep"] = 100
    found = [(each.path, each.new if i >= 4 else each.old) for i, each in enumerate(changes(journal)[before:])]
    assert sorted(found[:4]) == [(f".n{i}", "<absent>") for i in range(4)]
    assert found[4:] == [(f'.n{i}["deep"]', 100) for i in range(4)]
    unwatch(o)
