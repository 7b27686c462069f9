"""Targets: every change of what their names lead to is told, from before the module's body.

The matrix: kinds of targets x where the module comes from x ways in which the value changes. An oracle evaluates the
target's own text in the module after each step.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import itertools
import sys
import threading
import types
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cells import ABSENT, changes, expected
from journals import Opened

from memwatch_core import unwatch, watch, watch_all, watch_place
from memwatch_core.adapter import targets
from memwatch_core.errors import WatchError
from memwatch_core.native import core, proxy

SOURCE = """\
class Order:
    limit = 1
    def __init__(self, total):
        self.total = total
class Slotted:
    __slots__ = ("total",)
    def __init__(self, total):
        self.total = total
order = Order(1)
slotted = Slotted(1)
config = {"debug": False, "db": {"port": 1}, 3: 0}
LIMITS = [1, 2, 3]
rows = [{"n": 1}]
"""
REBOUND = (
    "config = {'debug': 4}", "config['debug'] = 4", "config = dict(a=1)", "globals().update(config=5)", "config = None",
    "del config", "config = 6", "config += 1", "from math import pi as config", "config = 'text'",
    "for config in (1,): 0",
)  # fmt: skip
CONFIG = (
    "config['debug'] = True", "config.update(debug=3, other=1)", "config['other'] = 2", "config = {'debug': 4}",
    "config = dict(config)", "globals().update(config={'debug': 5})", "del config['debug']", "config['debug'] = 6",
    "config.clear()", "config |= {'debug': 7}", "config = None", "config = [1]", "config = {'debug': 8}",
    "del config", "config = {'debug': 9}", "config.pop('debug')", "config.setdefault('debug', 10)",
)  # fmt: skip
LIST = (
    "LIMITS[1] = 5", "LIMITS.insert(0, 7)", "LIMITS.append(8)", "LIMITS[0] = 6", "del LIMITS[0]", "LIMITS.sort()",
    "LIMITS.reverse()", "LIMITS[:] = [1, 2]", "LIMITS += [3]", "LIMITS *= 2", "LIMITS.pop()", "LIMITS.pop(0)",
    "LIMITS[1:3] = []", "LIMITS.clear()", "LIMITS.extend(range(4))", "LIMITS = [4, 4]", "LIMITS[1], LIMITS[0] = 0, 1",
    "LIMITS = None", "LIMITS = list('abc')", "[LIMITS.append(i) for i in range(100)]", "del LIMITS[1:]", "del LIMITS",
)  # fmt: skip
ORDER = (
    "order.total = 2", "order.total += 1", "vars(order).update(total=4)", "order.__dict__ = {'total': 5}",
    "del order.total", "order.total = 6", "order = Order(7)", "order = Slotted(8)", "order.total = 9", "order = 5",
    "order = Order(10)", "object.__setattr__(order, 'total', 11)", "order.other = 1", "del order",
)  # fmt: skip
KINDS = {
    "config": REBOUND,
    'config["debug"]': CONFIG,
    'config["db"]["port"]': (
        "config['db']['port'] = 2", "config['db'] = {'port': 3}", "config['db'].update(port=4)", "del config['db']",
        "config = {'db': {'port': 5}}", "config['db'] = 1", "config['db'] = {'port': 6, 'x': 1}",
    ),
    "config[3]": ("config[3] = 1", "config[3.0] = 2", "config[True] = 5", "del config[3]", "config = {3: 3}"),
    "LIMITS": ("LIMITS = [1]", "LIMITS = 2", "del LIMITS", "LIMITS = ()"),
    "LIMITS[1]": LIST,
    "LIMITS[-1]": LIST,
    'rows[0]["n"]': (
        "rows[0]['n'] = 2", "rows.insert(0, {'n': 3})", "rows[0]['n'] = 4", "rows[1]['n'] = 5", "rows.sort(key=str)",
        "rows.reverse()", "del rows[0]", "rows = [{'n': 6}]", "rows.clear()", "rows.append({'n': 7})",
    ),
    "order.total": ORDER,
    "slotted.total": (
        "slotted.total = 2", "del slotted.total", "slotted.total = 3", "slotted = Slotted(4)", "slotted = Order(5)",
        "slotted.total = 6", "slotted = None",
    ),
    "Order.limit": ("Order.limit = 2", "del Order.limit", "Order.limit = 3", "Order = Slotted", "del Order"),
}  # fmt: skip
Import = Callable[[Path], Any]


def held(module: types.ModuleType, place: str) -> Any:
    """What the interpreter itself finds there."""
    head, *steps = [step.key for step in targets.parse(f"m:{place}").steps]
    value: Any = vars(module).get(head, ABSENT)
    if value is not ABSENT and steps:
        ends = place[len(str(head)) :]
        try:
            value = eval(f"value{ends}", {"value": value})
        except (AttributeError, LookupError, TypeError):
            return ABSENT
        if type(vars(module)[head]) is type and "." in ends:  # of a class itself, not of its bases
            value = vars(vars(module)[head]).get(ends[1:], ABSENT)
    return ABSENT if value is ABSENT else expected(value)


def pairs(states: list[Any]) -> list[tuple[Any, Any]]:
    return [(one, other) for one, other in itertools.pairwise(states) if one != other]


def told(journal: Opened, name: str) -> list[tuple[Any, Any]]:
    found = [change for change in changes(journal) if change.variable == name and not change.path]
    assert {change.origin for change in found} <= {"announced", "store"}
    return [(change.old, change.new) for change in found]


@pytest.fixture
def aimed() -> Iterator[None]:
    yield
    targets.forget()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    place = tmp_path / "modules"
    place.mkdir()
    monkeypatch.syspath_prepend(str(place))
    before = set(sys.modules)
    yield place
    for name in set(sys.modules) - before:
        if not name.startswith("memwatch"):
            del sys.modules[name]


def as_a_module(folder: Path) -> Any:
    (folder / "shop.py").write_text(SOURCE)
    return importlib.import_module("shop")


def in_a_package(folder: Path) -> Any:
    (folder / "store").mkdir()
    (folder / "store" / "__init__.py").write_text("")
    (folder / "store" / "shop.py").write_text(SOURCE)
    return importlib.import_module("store.shop")


def as_a_package(folder: Path) -> Any:
    (folder / "shop").mkdir()
    (folder / "shop" / "__init__.py").write_text(SOURCE)
    return importlib.import_module("shop")


def in_a_namespace_package(folder: Path) -> Any:
    (folder / "space").mkdir()
    (folder / "space" / "shop.py").write_text(SOURCE)
    return importlib.import_module("space.shop")


def in_a_zip_file(folder: Path) -> Any:
    with zipfile.ZipFile(folder / "zipped.zip", "w") as file:
        file.writestr("shop.py", SOURCE)
    sys.path.insert(0, str(folder / "zipped.zip"))
    try:
        return importlib.import_module("shop")
    finally:
        sys.path.pop(0)


def compiled_only(folder: Path) -> Any:
    import py_compile

    (folder / "shop.py").write_text(SOURCE)
    py_compile.compile(str(folder / "shop.py"), str(folder / "shop.pyc"), doraise=True)
    (folder / "shop.py").unlink()
    return importlib.import_module("shop")


def by_its_spec(folder: Path) -> Any:
    """As documentation has it, without ``sys.modules``."""
    (folder / "shop.py").write_text(SOURCE)
    spec = importlib.util.spec_from_file_location("shop", folder / "shop.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def lazily(folder: Path) -> Any:
    (folder / "shop.py").write_text(SOURCE)
    spec = importlib.util.find_spec("shop")
    assert spec is not None
    assert spec.loader is not None
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules["shop"] = module
    spec.loader.exec_module(module)
    assert "config" not in object.__getattribute__(module, "__dict__"), "it was loaded by us"
    module.config  # noqa: B018
    return module


def in_a_thread(folder: Path) -> Any:
    thread = threading.Thread(target=as_a_module, args=(folder,))
    thread.start()
    thread.join()
    return sys.modules["shop"]


def in_a_circle(folder: Path) -> Any:
    (folder / "other.py").write_text("import shop\nassert not hasattr(shop, 'config')\n")
    (folder / "shop.py").write_text(f"import other\n{SOURCE}")
    return importlib.import_module("shop")


def after_it_failed(folder: Path) -> Any:
    (folder / "fails.py").write_text("")
    (folder / "shop.py").write_text("import fails\nif not hasattr(fails, 'again'): raise KeyError\n" + SOURCE)
    with contextlib.suppress(KeyError):
        importlib.import_module("shop")
    sys.modules["fails"].again = True  # type: ignore[attr-defined]
    return importlib.import_module("shop")


WHERE: dict[str, Import] = {
    one.__name__: one
    for one in (
        as_a_module, in_a_package, as_a_package, in_a_namespace_package, in_a_zip_file, compiled_only, by_its_spec,
        lazily, in_a_thread, in_a_circle, after_it_failed,
    )
}  # fmt: skip


def goes_through(journal: Opened, module: types.ModuleType, place: str, name: str, states: list[Any]) -> None:
    assert told(journal, name) == pairs(states)
    for way in KINDS[place]:
        if place == "config" and way.startswith("config["):
            exec(way, vars(module))  # is told below the place
            continue
        before, known = held(module, place), told(journal, name)
        with contextlib.suppress(AttributeError, NameError, LookupError, TypeError):
            exec(way, vars(module))
        now, new = held(module, place), told(journal, name)[len(known) :]
        if place == "LIMITS[-1]":  # there, each item that is appended lies for a while
            assert [old for old, _ in new] == [before, *(after for _, after in new)][: len(new)], way
            assert (new[-1][1] if new else before) == now, way
        elif place == "config":
            assert [after for _, after in new] == ([] if before == now else [now]), way
        else:
            assert new == pairs([before, now]), way
    known = told(journal, name)
    assert proxy.audit_places() == 0
    assert told(journal, name) == known


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("place", KINDS)
def test_every_change_of_a_target_is_told_from_before_the_body(
    journal: Opened, aimed: None, folder: Path, place: str, where: str
) -> None:
    targets.aim([f"*shop:{place}"])
    module = WHERE[where](folder)
    goes_through(journal, module, place, f"{module.__name__}:{place}", [ABSENT, held(module, place)])


@pytest.mark.parametrize("place", KINDS)
def test_a_module_that_is_there_is_taken_at_once(journal: Opened, aimed: None, folder: Path, place: str) -> None:
    module = as_a_module(folder)
    before = held(module, place)
    targets.aim([f"shop:{place}"])
    goes_through(journal, module, place, f"shop:{place}", [before])


@pytest.mark.parametrize("place", KINDS)
def test_a_target_is_taken_by_take(journal: Opened, folder: Path, place: str) -> None:
    module = as_a_module(folder)
    before = held(module, place)
    (taken,) = targets.take(f"shop:{place}")
    assert (taken.module, taken.name) == ("shop", f"shop:{place}")
    goes_through(journal, module, place, taken.name, [before])


@pytest.mark.parametrize("place", KINDS)
def test_a_module_that_is_executed_again_is_watched_on(journal: Opened, aimed: None, folder: Path, place: str) -> None:
    targets.aim([f"shop:{place}"])
    module = as_a_module(folder)
    states = [ABSENT, held(module, place)]
    exec(KINDS[place][0], vars(module))
    states.append(held(module, place))
    importlib.reload(module)
    states.append(held(module, place))
    goes_through(journal, module, place, f"shop:{place}", states)


def test_several_targets_of_a_module_are_several_variables(journal: Opened, aimed: None, folder: Path) -> None:
    targets.aim([f"shop:{place}" for place in KINDS])
    module = as_a_module(folder)
    exec("config['debug'] = 1\nLIMITS[1] = 5\norder.total = 9\n", vars(module))
    assert told(journal, 'shop:config["debug"]')[-1] == (False, 1)
    assert told(journal, "shop:LIMITS[1]")[-1] == (2, 5)
    assert told(journal, "shop:order.total")[-1] == (1, 9)


def test_what_a_target_holds_is_followed_one_level(journal: Opened, aimed: None, folder: Path) -> None:
    targets.aim(["shop:config"])
    module = as_a_module(folder)
    module.config["debug"] = 5
    module.config["db"]["port"] = 6
    found = [(change.path, change.new) for change in changes(journal) if change.path]
    assert found == [('["debug"]', 5)]


def test_names_are_of_a_pattern(journal: Opened, aimed: None, folder: Path) -> None:
    targets.aim(["shop:LIM*", "shop:ord?r"])
    module = as_a_module(folder)
    module.config["debug"] = 5
    module.LIMITS.append(4)
    module.order.total = 8
    module.LIMIT_LATER = 1
    found = [(change.variable + change.path, change.new) for change in changes(journal) if change.variable == "shop"]
    names = {name.removeprefix("shop.") for name, _ in found}
    assert names == {"order", "LIMITS", "LIMITS[3]", "LIMIT_LATER"}


def test_all_names_are_those_of_the_program(journal: Opened, aimed: None, folder: Path) -> None:
    targets.aim(["shop"])
    module = as_a_module(folder)
    names = {change.path for change in changes(journal)}
    assert names == {".order", ".slotted", ".config", ".LIMITS", ".rows"}  # not __spec__, nor what defines a class
    module.Order = module.Slotted
    assert [change.path for change in changes(journal)][-1] == ".Order"


def test_a_list_that_another_watch_has_as_well_tells_both(journal: Opened, aimed: None, folder: Path) -> None:
    targets.aim(["shop:LIMITS[0]"])
    module = as_a_module(folder)
    module.LIMITS[0] = 5
    watch(module.LIMITS, name="whole")
    module.LIMITS.insert(0, 6)
    unwatch(module.LIMITS)
    module.LIMITS[0] = 7
    assert told(journal, "shop:LIMITS[0]") == [(ABSENT, 1), (1, 5), (5, 6), (6, 7)]
    assert [(c.path, c.new) for c in changes(journal) if c.variable == "whole"] == [("[0]", 6)]


def test_a_program_that_watches_what_is_watched_for_the_user_meets_no_error(
    journal: Opened, aimed: None, folder: Path
) -> None:
    targets.aim(["shop:config", 'shop:config["debug"]'])
    targets.track_all(["shop"])
    module = as_a_module(folder)
    watch(module.config)
    watch_place(module, "config")
    watch_place(module.config, "debug")
    watch_all(module)
    assert unwatch(module.config) is module.config
    module.config["debug"] = 2
    assert told(journal, 'shop:config["debug"]')[-1] == (False, 2)


def test_take_names_what_is_near(journal: Opened, folder: Path) -> None:
    as_a_module(folder)
    with pytest.raises(WatchError, match=r"no module shpo is imported; did you mean shop:config\?"):
        targets.take("shpo:config")


@pytest.mark.parametrize(
    ("target", "nearest"),
    [
        ("shop:confg", "shop:config"),
        ("shop:Config", "shop:config"),
        ('shop:config["debig"]', 'shop:config["debug"]'),
        ("shop:Order.totl", "shop:Order.total"),
        ("shpo:config", "shop:config"),
        ("shop:zzz", ""),
        ("zzz:config", ""),
        ("shop:ZZ_*", ""),
    ],
)
def test_a_target_that_was_never_met_names_the_nearest(
    journal: Opened, aimed: None, folder: Path, target: str, nearest: str
) -> None:
    targets.aim([target])
    as_a_module(folder)
    (missed,) = targets.pending()
    assert (missed.target.text, missed.nearest) == (target, nearest)
    targets.conclude()
    contents = journal.read()
    (left,) = [one for one in contents.left if one[2] == 7]
    assert left[3] == nearest
    assert contents.metadata[left[0]]["name"] == target
    targets.conclude()
    assert len([one for one in journal.read().left if one[2] == 7]) == 1, "it is said once"


@pytest.mark.parametrize("target", ["shop:later", "shop:Order.later", 'shop:config["later"]', "shop:Order.total"])
def test_a_target_that_was_met_once_is_not_missed(journal: Opened, aimed: None, folder: Path, target: str) -> None:
    targets.aim([target])
    module = as_a_module(folder)
    exec("later = 1; Order.later = 1; config['later'] = 1", vars(module))
    exec("del later; del Order.later; del config['later']", vars(module))
    assert targets.pending() == ()


def test_the_import_system_is_as_it_was_when_the_aims_end(journal: Opened) -> None:
    from importlib import _bootstrap  # type: ignore[attr-defined]

    before = _bootstrap._init_module_attrs
    targets.aim(["nowhere:x"])
    assert _bootstrap._init_module_attrs is not before
    targets.forget()
    assert _bootstrap._init_module_attrs is before


def test_all_variables_of_a_module_and_of_its_classes_are_watched(journal: Opened, folder: Path) -> None:
    module = as_a_module(folder)
    watch_all(module, skip=["rows"])
    module.Order.limit = 2
    module.rows = 1
    module.config["debug"] = 3
    module.Order.places = []
    module.Order.places.append(1)
    found = [(change.variable + change.path, change.new) for change in changes(journal)]
    assert found == [
        ("shop.Order.limit", 2),
        ('shop.config["debug"]', 3),
        ("shop.Order.places", ("shown", "[]")),
        ("shop.Order.places[0]", 1),
    ]
    ((flags, _, _),) = journal.read().variables.values()
    assert flags & core.TRACK_ALL_VARS
    unwatch(module)
    module.config["debug"] = 4
    assert len(changes(journal)) == len(found)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((5,), "takes a module or a class"),
        (({},), "takes a module or a class"),
    ],
)
def test_watch_all_says_what_it_takes(journal: Opened, arguments: tuple[Any], error: str) -> None:
    with pytest.raises(WatchError, match=error):
        watch_all(*arguments)


def test_watch_all_of_a_class_is_of_its_nested_classes_too(journal: Opened) -> None:
    class Outer:
        a = 1

        class Inner:
            b = 1

    Outer.__module__ = Outer.Inner.__module__ = "somewhere"
    watch_all(Outer, name="Outer")
    Outer.a = 2
    Outer.Inner.b = 3
    assert [(change.path, change.new) for change in changes(journal)] == [(".a", 2), (".Inner.b", 3)]
