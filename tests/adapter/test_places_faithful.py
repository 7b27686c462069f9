"""What a watched object is to everybody else: the same as before."""

from __future__ import annotations

import collections
import copy
import dataclasses
import enum
import gc
import inspect
import json
import os
import pickle
import re
import subprocess
import sys
import textwrap
import types
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pydantic
import pytest
from cells import changes
from journals import Opened

from memwatch_core import unwatch, watch


class Plain:
    """Attributes, a property, a method."""

    kept = 1

    def __init__(self) -> None:
        self.a = 1
        self.b: Any = "two"

    @property
    def double(self) -> int:
        return 2 * self.a

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plain) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


@dataclasses.dataclass
class Data:
    a: int = 1
    b: Any = "two"


@dataclasses.dataclass(frozen=True)
class Frozen:
    a: int = 1
    b: Any = "two"


@dataclasses.dataclass
class Derived(Data):
    c: list[int] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        self.d = self.a + 1


class Model(pydantic.BaseModel):
    a: int = 1
    b: Any = "two"


class Validated(pydantic.BaseModel):
    model_config = {"validate_assignment": True}
    a: int = 1
    b: Any = "two"


class Extra(pydantic.BaseModel):
    model_config = {"extra": "allow"}
    a: int = 1
    b: Any = "two"


@attrs.define(slots=False)
class Attrs:
    a: int = 1
    b: Any = "two"


@pydantic.dataclasses.dataclass
class Checked:
    a: int = 1
    b: Any = "two"


class Colour(enum.Enum):
    RED = 1


def namespace() -> Any:
    return types.SimpleNamespace(a=1, b="two")


OBJECTS: dict[str, Callable[[], Any]] = {
    "plain": Plain, "dataclass": Data, "frozen": Frozen, "derived": Derived, "pydantic": Model,
    "pydantic, validated": Validated, "pydantic, extra": Extra, "attrs": Attrs, "pydantic dataclass": Checked,
    "namespace": namespace,
}  # fmt: skip
DICTS: dict[str, Callable[[], Any]] = {
    "dict": lambda: {"a": 1, "b": "two"},
    "OrderedDict": lambda: collections.OrderedDict(a=1, b="two"),
    "defaultdict": lambda: collections.defaultdict(int, a=1, b="two"),
    "Counter": lambda: collections.Counter("abb"),
}


def attempt(look: Callable[[], Any]) -> Any:
    try:
        return look()
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def matched(o: Any) -> Any:
    match o:
        case Data(a=1, b=b) | Frozen(a=1, b=b) | Plain(a=1, b=b) | Model(a=1, b=b) | {"a": 1, "b": b}:
            return b
    return "no match"


LOOKS: dict[str, Callable[[Any], Any]] = {
    "type": type,
    "repr": lambda o: repr(o) if type(o).__repr__ is not object.__repr__ else "",
    "equals": lambda o: (o == copy.copy(o), o != copy.copy(o)),
    "hash": lambda o: hash(o) if type(o).__hash__ is not object.__hash__ else 0,
    "vars": lambda o: dict(vars(o)),
    "order": lambda o: list(vars(o)),
    "dir": dir,
    "copy": lambda o: vars(copy.copy(o)),
    "deepcopy": lambda o: vars(copy.deepcopy(o)),
    "pickle": lambda o: vars(pickle.loads(pickle.dumps(o))),
    "pickle 0": lambda o: pickle.dumps(o, 0),
    "reduce": lambda o: re.sub("0x[0-9a-f]+", "", str(o.__reduce_ex__(4))),
    "asdict": dataclasses.asdict,
    "replace": lambda o: dataclasses.replace(o, a=9),
    "evolve": lambda o: attrs.evolve(o, a=9),
    "attrs": attrs.asdict,
    "model_dump": lambda o: o.model_dump(),
    "model_dump_json": lambda o: o.model_dump_json(),
    "model_copy": lambda o: o.model_copy(update={"a": 4}),
    "fields set": lambda o: o.model_fields_set,
    "json": lambda o: json.dumps(o if isinstance(o, dict) else vars(o)),
    "match": matched,
    "weak": lambda o: weakref.ref(o)() is o,
    "iterates": lambda o: list(o),
    "items": lambda o: list(o.items()),
    "length": len,
    "bool": bool,
    "tracked": gc.is_tracked,
    "members": lambda o: [name for name, _ in inspect.getmembers(o)],
    "dict is its dict": lambda o: o.__dict__ is o.__dict__,
    "class": lambda o: sorted(vars(type(o))),
    "__dict__'s descriptor": lambda o: repr(vars(type(o))["__dict__"]),
    "sum": lambda o: {**o},
    "merge": lambda o: o | {"c": 3},
}


@pytest.mark.parametrize("kind", OBJECTS | DICTS)
def test_a_watched_object_looks_as_it_does_otherwise(journal: Opened, kind: str) -> None:
    make = (OBJECTS | DICTS)[kind]
    plain, watched = make(), make()
    assert watch(watched, name="w") is watched
    for what, look in LOOKS.items():
        assert attempt(partial(look, watched)) == attempt(partial(look, plain)), what
    assert not changes(journal), "looking made events"


WRITES: dict[str, Callable[[Any], Any]] = {
    "assigns": lambda o: setattr(o, "a", 5),
    "wrong type": lambda o: setattr(o, "a", "no number"),
    "unknown": lambda o: setattr(o, "unknown", 5),
    "deletes": lambda o: delattr(o, "a"),
    "deletes what isn't there": lambda o: delattr(o, "nothing"),
    "property": lambda o: setattr(o, "double", 1),
    "class": lambda o: setattr(o, "__class__", Data),
    "vars": lambda o: vars(o).update(a=6, e=7),
    "__dict__": lambda o: setattr(o, "__dict__", {"a": 1}),
    "__dict__ of no dict": lambda o: setattr(o, "__dict__", 5),
    "state": lambda o: o.__setstate__({"a": 7}),
    "init": lambda o: o.__init__(),
    "item": lambda o: o.__setitem__("a", 6),
    "move_to_end": lambda o: o.move_to_end("a"),
    "subtract": lambda o: o.subtract("ab"),
    "missing": lambda o: o["missing"],
}


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("kind", OBJECTS | DICTS)
def test_writing_does_and_raises_what_it_does_otherwise(journal: Opened, kind: str, write: str) -> None:
    make = (OBJECTS | DICTS)[kind]
    plain, watched = make(), make()
    watch(watched, name="w")
    for _ in range(2):
        assert attempt(lambda: WRITES[write](watched)) == attempt(lambda: WRITES[write](plain))
        assert attempt(lambda: list(vars(watched).items())) == attempt(lambda: list(vars(plain).items()))
        assert attempt(lambda: watched == plain) == attempt(lambda: make() == make()) or kind != "dict"
        assert type(watched) is type(plain)
    unwatch(watched)
    assert attempt(lambda: WRITES[write](watched)) == attempt(lambda: WRITES[write](plain))


def test_instances_of_a_watched_ones_class_are_as_they_were(journal: Opened) -> None:
    watched, other = Validated(), Validated()
    watch(watched, skip=["__pydantic_fields_set__"])
    other.a = 5
    other.__dict__ = {"a": 1, "b": 2}
    assert vars(other) == {"a": 1, "b": 2}
    assert not changes(journal)
    watched.a = 5
    assert [(change.path, change.old, change.new) for change in changes(journal)] == [(".a", 1, 5)]


def test_a_member_of_an_enumeration_is_watched_as_any_object(journal: Opened) -> None:
    watch(Colour.RED, name="red")
    Colour.RED.note = "seen"  # type: ignore[attr-defined]
    assert Colour("1" and 1) is Colour.RED
    assert [change.path for change in changes(journal)] == [".note"]


class Closed:
    """Whoever asks an object of this class anything is told off."""

    def __getattribute__(self, name: str) -> Any:
        raise NotImplementedError(name)


class Claimed:
    @property
    def __class__(self) -> Any:  # type: ignore[override]
        raise NotImplementedError("__class__")


@pytest.mark.parametrize("cls", [Closed, Claimed])
def test_an_object_is_asked_nothing_when_it_is_watched(journal: Opened, cls: type[Any]) -> None:
    o = cls()
    assert watch(o, name="o") is o
    object.__setattr__(o, "a", 1)
    assert unwatch(o) is o
    assert [(change.path, change.new) for change in changes(journal)] == [(".a", 1)]


SUITES = ["test_dict", "test_ordered_dict"]
if os.environ.get("MEMWATCH_SOAK"):
    SUITES += ["test_defaultdict", "test_dataclasses", "test_userdict", "test_descr", "test_weakref", "test_copy"]
    SUITES += ["test_types", "test_funcattrs", "test_module"]


@pytest.mark.parametrize("suite", SUITES)
def test_cpythons_own_tests_pass_where_objects_and_dicts_are_watched(tmp_path: Path, suite: str) -> None:
    """Every class of the suite, and each instance of a test case, is watched while its tests run."""
    pytest.importorskip(f"test.{suite}", reason=f"this CPython came without its tests: test.{suite}")
    program = tmp_path / "suite.py"
    program.write_text(
        textwrap.dedent(
            f"""
            import contextlib, unittest, sys
            from test import {suite}
            from memwatch_core import watch, errors

            run = unittest.TestCase.run
            def watched_run(self, result=None):
                with contextlib.suppress(errors.WatchError, TypeError):
                    watch(self, depth=3, name=type(self).__name__)
                return run(self, result)
            if sys.argv[1] == "watched":
                unittest.TestCase.run = watched_run
                watch({suite}, depth=2, name="suite")
            suite = unittest.defaultTestLoader.loadTestsFromModule({suite})
            result = unittest.TextTestRunner(stream=sys.stderr, verbosity=0).run(suite)
            print(result.testsRun, *sorted(str(test) for test, _ in result.failures + result.errors), sep="\\n")
            """
        )
    )
    seen = []
    for how in ("plain", "watched"):
        run = subprocess.run(
            [sys.executable, program, how], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
        )
        assert not run.returncode, run.stderr[-2000:]
        seen.append(run.stdout)
    assert seen[0] == seen[1]
