"""Attributes in ``__slots__`` are watched as those in a dict are: every change is an event, and nothing else changes.

The matrix: kinds of classes x ways to store, delete and read x how often the code has run before the watch and since.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import ctypes
import dataclasses
import dis
import enum
import gc
import inspect
import operator
import os
import pickle
import pydoc
import subprocess
import sys
import threading
import types
import weakref
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from journals import Opened
from slot_events import ABSENT, Oracle, State, Tap, replayed, shown

from memwatch_core.adapter.watch import unwatch, watch
from memwatch_core.errors import WatchError
from memwatch_core.native import proxy

try:
    import attrs
except ImportError:
    attrs = None

HOT = 2_000
THREADS, STORES = 4, 100_000 if os.environ.get("MEMWATCH_SOAK") else 20_000


class Plain:
    __slots__ = ("__weakref__", "a", "b")

    def __init__(self, a: Any = 1, b: Any = "two") -> None:
        self.a, self.b = a, b


class Base:
    __slots__ = ("a",)


class Inherited(Base):
    __slots__ = ("b", "c")

    def __init__(self, a: Any = 1, b: Any = "two") -> None:
        self.a, self.b = a, b


class Leaf(Inherited):
    __slots__ = ()


class Mixed(Base):
    __slots__ = ("__dict__", "b")

    def __init__(self, a: Any = 1, b: Any = "two") -> None:
        self.a, self.b = a, b
        self.other = 3


class WithDict(Inherited):
    def __init__(self, a: Any = 1, b: Any = "two") -> None:
        super().__init__(a, b)
        self.other = 3


class Text(str):
    __slots__ = ("a", "b")

    def __new__(cls, a: Any = 1, b: Any = "two") -> Text:
        made = super().__new__(cls, "text")
        made.a, made.b = a, b
        return made


class Finalized:
    __slots__ = ("a", "b")

    def __init__(self, a: Any = 1, b: Any = "two") -> None:
        self.a, self.b = a, b

    def __del__(self) -> None:
        self.a = "going"


class Overriding:
    __slots__ = ("a", "b")

    def __init__(self, a: Any = 1, b: Any = "two") -> None:
        self.a, self.b = a, b

    def __setattr__(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)

    def __getattribute__(self, name: str) -> Any:
        return super().__getattribute__(name)


@dataclasses.dataclass(slots=True)
class Data:
    a: Any = 1
    b: Any = "two"


@dataclasses.dataclass(slots=True, frozen=True)
class Frozen:
    a: Any = 1
    b: Any = "two"


@dataclasses.dataclass(slots=True)
class DataLeaf(Data):
    c: Any = None


KINDS: list[type[Any]] = [Plain, Inherited, Leaf, Mixed, WithDict, Text, Finalized, Overriding, Data, Frozen, DataLeaf]
if attrs:

    @attrs.define
    class Attrs:
        a: Any = 1
        b: Any = "two"

    @attrs.frozen
    class AttrsFrozen:
        a: Any = 1
        b: Any = "two"

    KINDS += [Attrs, AttrsFrozen]
FROZEN = (dataclasses.FrozenInstanceError, *([attrs.exceptions.FrozenInstanceError] if attrs else []))

api = ctypes.PyDLL(None)  # not pythonapi: other tests give its functions other arguments
for function in (api.PyObject_SetAttr, api.PyObject_GenericSetAttr):
    function.argtypes, function.restype = [ctypes.py_object, ctypes.py_object, ctypes.c_void_p], ctypes.c_int
api.PyObject_SetAttrString.argtypes = [ctypes.py_object, ctypes.c_char_p, ctypes.py_object]

# Each is compiled anew for each test: the interpreter specialises an instruction where it stands.
STORES_OF = {
    "assignment": "o.a = v",
    "two at once": "o.a, o.b = v, o.a",
    "augmented": "o.a += 1",
    "loop": "for o.a in (v, 5, v): pass",
    "walrus and set": "setattr(o, 'a', (w := v))",
    "object.__setattr__": "object.__setattr__(o, 'a', v)",
    "member": "member.__set__(o, v)",
    "wrapper": "set_b(o, v)",
    "generic": "api.PyObject_GenericSetAttr(o, 'a', id(v))",
    "SetAttr": "api.PyObject_SetAttr(o, 'a', id(v))",
    "SetAttrString": "api.PyObject_SetAttrString(o, b'a', v)",
    "the same again": "o.a = o.a",
    "many types": "o.a = None; o.a = True; o.a = 'x' * 20; o.a = [v]; o.a = o; o.a = 2**40; o.a = v",
    "delete": "o.a = v\ndel o.a\no.a = v",
    "delattr": "delattr(o, 'a'); object.__setattr__(o, 'a', v)",
    "object.__delattr__": "object.__delattr__(o, 'a'); object.__setattr__(o, 'a', v)",
    "member.__delete__": "member.__delete__(o); member.__set__(o, v)",
    "generic delete": "api.PyObject_GenericSetAttr(o, 'a', None); object.__setattr__(o, 'a', v)",
    "delete twice": "object.__delattr__(o, 'a')\ntry: object.__delattr__(o, 'a')\nexcept AttributeError: pass\n"
    "object.__setattr__(o, 'a', v)",
    "refused": "try: o.nothing = v\nexcept (AttributeError, TypeError): pass",
    "another's descriptor": "try: other_member.__set__(o, v)\nexcept TypeError: pass",
}
READS = {
    "attribute": "o.a",
    "getattr": "getattr(o, 'a', None)",
    "member": "member.__get__(o)",
    "attrgetter": "operator.attrgetter('a', 'b')(o)",
    "match": "match o:\n case object(a=x, b=y): pass",
    "comparison": "o == kind(); o != o; hash_of(o); repr(o)",
    "copies": "copy.copy(o); pickle.loads(pickle.dumps(o)); copy.deepcopy(o)",
    "collection": "gc.get_referents(o)",
}


def hash_of(value: object) -> int | None:
    try:
        return hash(value)
    except TypeError:
        return None


class Elsewhere:
    __slots__ = ("a",)


def compiled(source: str, kind: type[Any]) -> Callable[[Any, int], None]:
    """Not to be specialised by another test."""
    names = {
        "api": api, "copy": copy, "gc": gc, "hash_of": hash_of, "kind": kind, "member": kind.a, "operator": operator,
        "other_member": Elsewhere.a, "pickle": pickle, "set_b": None,
    }  # fmt: skip
    names["set_b"] = getattr(kind, "b", kind.a).__set__
    body = ast.parse("def run(o, v): pass")
    body.body[0].body = ast.parse(source).body
    exec(compile(ast.fix_missing_locations(body), "<way>", "exec"), names)
    run: Callable[[Any, int], None] = names["run"]
    return run


def raises_nothing(run: Callable[[Any, int], None], o: Any, v: int) -> None:
    """A frozen class refuses assignments, watched or not."""
    with contextlib.suppress(*FROZEN):
        run(o, v)


def slots_of(o: Any) -> State:
    """What is there, by the descriptors themselves."""
    state: State = {}
    for cls in type(o).__mro__:
        for name, member in vars(cls).items():
            if inspect.ismemberdescriptor(member):
                try:
                    state[f".{name}"] = shown(member.__get__(o))
                except AttributeError:
                    continue
    return state | {f".{name}": shown(value) for name, value in getattr(o, "__dict__", {}).items()}


@pytest.fixture
def tap(journal: Opened) -> Tap:
    return Tap(journal.path)


@pytest.fixture(autouse=True)
def given_back(journal: Opened) -> Iterator[None]:
    """Once nothing is watched, all is as it was."""
    yield
    gc.collect()
    proxy.close_all_places()
    o = Plain()
    store = compiled("o.a = v", Plain)
    for v in range(HOT):
        store(o, v)
    assert "STORE_ATTR_SLOT" in {step.opname for step in dis.get_instructions(store, adaptive=True)}


@pytest.mark.parametrize("since", ["cold", "hot before the watch", "hot since"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_change_of_a_slot_is_an_event(kind: type[Any], since: str, tap: Tap) -> None:
    for what, source in STORES_OF.items():
        run, o = compiled(source, kind), kind()
        if since == "hot before the watch":
            for i in range(HOT):
                raises_nothing(run, o, i)
        assert watch(o, name=what, depth=0) is o
        oracle = Oracle(tap, lambda o=o: slots_of(o))
        if since == "hot since":
            for i in range(HOT):
                raises_nothing(run, o, i)
            replayed({}, [], what)
            tap.changes()
        oracle.watches(lambda run=run, o=o: raises_nothing(run, o, 7_000), what)
        hot = oracle.watches(lambda run=run, o=o: [raises_nothing(run, o, i) for i in range(50)], what)
        assert not hot or len(hot) >= 50
        unwatch(o)
        raises_nothing(run, o, 8)
        assert not tap.changes()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_reads_are_no_events_and_give_what_they_did(kind: type[Any], tap: Tap) -> None:
    o = watch(kind(), depth=0)
    oracle = Oracle(tap, lambda: slots_of(o))
    for what, source in READS.items():
        run = compiled(source, kind)
        assert not oracle.watches(lambda run=run: [run(o, 0) for _ in range(100)], what)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_class_looks_as_before_while_it_is_watched(kind: type[Any], tap: Tap) -> None:
    def looks() -> list[object]:
        o = kind()
        return [
            repr(kind.a), kind.a.__doc__, kind.a.__name__, kind.a.__qualname__, kind.a.__objclass__, id(kind.a),
            inspect.isdatadescriptor(kind.a), inspect.getattr_static(o, "a"), inspect.signature(kind), dir(kind),
            pydoc.render_doc(kind), vars(kind).copy(), kind.__basicsize__, kind.__flags__ & ~(1 << 19), type(o) is kind,
            [error(lambda: kind.a.__set__(3, 4)), error(lambda: kind.a.__delete__(3)), error(lambda: kind.a.__set__())],
            [error(lambda: [object.__delattr__(o, "a") for _ in range(2)]), error(lambda: o.a)],
            [error(lambda: setattr(o, "nothing at all" if not hasattr(o, "__dict__") else "x", 1))],
        ]  # fmt: skip

    def error(run: Callable[[], object]) -> tuple[str, str]:
        try:
            run()
        except Exception as error:
            return type(error).__name__, str(error)
        return "", ""

    looks()  # some of it is made when it is asked for
    before = looks()
    o = watch(kind(), depth=0)
    assert looks() == before
    assert looks() == before
    assert not tap.changes()
    unwatch(o)
    assert looks() == before


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_watched_object_is_what_it_was(kind: type[Any], tap: Tap) -> None:
    def seen(o: Any) -> list[object]:
        return [
            o == kind() or kind in (Plain, Inherited, Leaf, Mixed, WithDict, Finalized, Overriding), hash_of(o),
            repr(o), sys.getsizeof(o), gc.is_tracked(o), gc.is_finalized(o), id(o), type(o),
            slots_of(copy.copy(o)), slots_of(copy.deepcopy(o)), slots_of(pickle.loads(pickle.dumps(o))),
            dataclasses.asdict(o) if dataclasses.is_dataclass(o) else None,
            slots_of(dataclasses.replace(o, b=3)) if dataclasses.is_dataclass(o) else None,
            o.__reduce_ex__(2)[2:], sys.getrefcount(o),
        ]  # fmt: skip

    o = kind()
    before = seen(o)
    watch(o, depth=0)
    assert seen(o) == before
    for made in (copy.copy(o), copy.deepcopy(o), pickle.loads(pickle.dumps(o))):
        assert proxy.find_places(made) is None
    assert not tap.changes()
    unwatch(o)
    assert seen(o) == before


def test_other_objects_of_a_watched_class_make_no_events(tap: Tap) -> None:
    o, other = watch(Plain()), Plain()
    for what, source in STORES_OF.items():
        run = compiled(source, Plain)
        for i in range(20):
            run(other, i)
        assert not tap.changes(), what
    assert other.a == 19
    assert o.a == 1


def test_pydantic_keeps_some_in_slots_and_some_in_a_dict(tap: Tap) -> None:
    pydantic = pytest.importorskip("pydantic")
    model = pydantic.create_model("Model", a=(int, 1), b=(str, "two"))
    o = watch(model(), name="o", skip=["__pydantic_fields_set__"])
    oracle = Oracle(tap, lambda: {path: value for path, value in slots_of(o).items() if "fields_set" not in path})
    oracle.watches(lambda: setattr(o, "a", 2))
    changes = oracle.watches(lambda: object.__setattr__(o, "__pydantic_extra__", {}))
    assert [(change.path, change.before, change.after) for change in changes] == [
        (".__pydantic_extra__", None, ("{}",))
    ]


def test_fields_and_skip_choose_slots(tap: Tap) -> None:
    o, p = watch(Inherited(), name="o", fields=["b"]), watch(Inherited(), name="p", skip=["b"])
    o.a = p.a = o.b = p.b = o.c = p.c = 5
    assert [change.path for change in tap.changes()] == [".a", ".b", ".c"]


def test_a_slot_of_a_base_class_that_is_hidden_by_one_of_the_same_name_is_told_apart(tap: Tap) -> None:
    class Hiding(Base):
        __slots__ = ("a",)

    o = Hiding()
    o.a = 1
    Base.a.__set__(o, 2)
    watch(o)
    Base.a.__set__(o, 3)
    o.a = 4
    del o.a
    assert [(change.path, change.before, change.after) for change in tap.changes()] == [
        ('["Base.a"]', 2, 3), (".a", 1, 4), (".a", 4, ABSENT),
    ]  # fmt: skip


def test_a_store_by_a_descriptor_that_is_kept_elsewhere_is_seen(tap: Tap) -> None:
    class Wrapped:
        __slots__ = ("a",)

    member = Wrapped.a

    def get(self: Any) -> Any:
        return member.__get__(self)

    def put(self: Any, value: Any) -> None:
        member.__set__(self, value)

    Wrapped.a = property(get, put)
    o = Wrapped()
    o.a = 1
    watch(o)
    o.a = 2
    assert [(change.before, change.after) for change in tap.changes()] == [(1, 2)]


def test_what_a_slot_holds_is_watched_as_well(tap: Tap) -> None:
    inner = {"x": 1}
    o = watch(Plain(inner), depth=1)
    inner["x"] = 2
    o.b = other = {"y": 1}
    other["y"] = 2
    o.a = None
    inner["x"] = 3
    del o.b
    other["y"] = 3
    assert [(change.path, change.after) for change in tap.changes()] == [
        ('.a["x"]', 2), (".b", ("{'y': 1}",)), ('.b["y"]', 2), (".a", None), (".b", ABSENT),
    ]  # fmt: skip


def test_slots_of_slots_are_watched_as_deep_as_asked(tap: Tap) -> None:
    low = Plain(1)
    o = watch(Plain(Plain(low)), depth=3)
    low.a = 2
    o.a.a = other = Plain(5)
    low.a = 3
    other.a = 6
    o.a = None
    other.a = 7
    assert [(change.path, change.before) for change in tap.changes() if change.path == ".a.a.a"] == [
        (".a.a.a", 1), (".a.a.a", 5),
    ]  # fmt: skip


def test_threads_leave_an_unbroken_chain(tap: Tap) -> None:
    o = watch(Plain(0))
    ready = threading.Barrier(THREADS)

    def run(first: int) -> None:
        ready.wait()
        for i in range(first, first + STORES):
            o.a = i

    threads = [threading.Thread(target=run, args=(STORES * n,)) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    changes = tap.changes()
    assert sorted(change.after for change in changes) == sorted(range(THREADS * STORES))
    assert replayed({".a": 0}, changes) == {".a": o.a}
    assert len({change.tid for change in changes}) == THREADS


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_tells_of_its_own_and_its_parent_goes_on(journal: Opened, tap: Tap) -> None:
    o = watch(Plain(0))
    o.a = 1
    child = os.fork()
    if not child:
        status = 1
        try:
            o.a = 2
            o.b = "three"
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    o.a = 3
    assert [(change.before, change.after) for change in tap.changes()] == [(0, 1), (1, 3)]
    (theirs,) = journal.path.parent.glob(f"{child}-*.mwj")
    assert [(change.path, change.before, change.after) for change in Tap(theirs).changes()] == [
        (".a", 1, 2), (".b", "two", "three"),
    ]  # fmt: skip


# ---- the end of an object --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_the_end_of_an_object_ends_its_watch(kind: type[Any], tap: Tap) -> None:
    o = watch(kind(), depth=0)
    number = proxy.find_places(o)[0]
    del o
    last = tap.changes()
    assert tap.ended == [number]
    assert [(change.path, change.after) for change in last] == [(".a", "going")] * (kind is Finalized)
    for _ in range(1_000):
        new = kind()
        assert proxy.find_places(new) is None
        object.__setattr__(new, "a", 5)
    assert not tap.changes()


def test_addresses_of_dead_objects_tell_nothing(tap: Tap) -> None:
    kept = watch(Plain(0))
    watched: set[int] = set()
    reused = 0
    for i in range(100_000):
        o = Plain(i)
        reused += id(o) in watched
        if not i % 100:
            watch(o, name="short", fields=["b"])
            watched.add(id(o))
            o.b = i
    assert reused > 10_000
    changes = tap.changes()
    assert [change.after for change in changes] == list(range(0, 100_000, 100))
    assert len(tap.ended) == len(set(tap.ended)) >= 999
    kept.a = 1
    assert [change.after for change in tap.changes()] == [1]


def test_a_revived_object_is_watched_on_until_it_is_gone(tap: Tap) -> None:
    saved: list[Any] = []

    class Revived:
        __slots__ = ("a",)

        def __del__(self) -> None:
            self.a = "finalized"
            saved.append(self)

    o = Revived()
    o.a = 1
    watch(o)
    del o
    saved[0].a = "revived"
    assert [change.after for change in tap.changes()] == ["finalized", "revived"]
    assert not tap.ended
    saved.clear()  # a finalizer is called once
    assert not tap.changes()
    assert len(tap.ended) == 1


def test_a_finalizer_that_a_class_gets_later_is_called_and_seen(tap: Tap) -> None:
    class Late:
        __slots__ = ("a",)

    o = Late()
    o.a = 1
    watch(o)
    Late.__del__ = lambda self: setattr(self, "a", "late")
    del o
    assert [change.after for change in tap.changes()] == ["late"]
    assert len(tap.ended) == 1
    del Late.__del__
    o = Late()
    o.a = 2
    watch(o)
    del o
    assert not tap.changes()
    assert len(tap.ended) == 2


def test_cycles_are_collected_with_their_watches(tap: Tap) -> None:
    gc.collect()
    first, second = Plain(), Plain()
    first.a, second.a, second.b = second, first, []
    died = weakref.ref(first)
    watch(first, name="first", depth=5)
    del first, second
    gc.collect()
    assert died() is None
    tap.changes()
    assert len(tap.ended) == 1


def test_a_long_chain_is_freed_with_its_watch(tap: Tap) -> None:
    o: Any = None
    for _ in range(20_000):
        o = Plain(o)
    watch(o, depth=100)
    while len(tap.ended) < 1:
        o = None
        tap.changes()
    assert not tap.changes()


def test_a_dict_that_outlives_its_object_is_watched_on(tap: Tap) -> None:
    o = watch(Mixed())
    values = vars(o)
    o.a = 2
    del o
    values["other"] = 4
    new = Mixed()
    new.a = 9
    assert [(change.path, change.after) for change in tap.changes()] == [(".a", 2), (".other", 4)]
    assert not tap.ended
    del values
    tap.changes()
    assert len(tap.ended) == 1


def test_a_part_whose_object_the_collector_took_ends_though_its_dict_lives(tap: Tap) -> None:
    part, cycle = Mixed(), Plain()
    part.a, cycle.a, cycle.b = cycle, cycle, part
    values = vars(part)
    watch(cycle, depth=3)
    del part, cycle
    gc.collect()
    values["other"] = 4
    assert proxy.find_places(values) is None
    assert not tap.changes()


def test_stores_keep_the_references_that_they_did(tap: Tap) -> None:
    value, o = object(), watch(Plain())
    before = sys.getrefcount(value)
    for _ in range(100):
        o.a = value
        o.b = value
        del o.b
    assert sys.getrefcount(value) == before + 1
    o.a = None
    assert sys.getrefcount(value) == before


def test_a_part_that_another_watch_holds_goes_on_with_that(tap: Tap) -> None:
    for make in (Plain, SimpleNamespace, lambda a: {"a": a}):
        part: Any = make(a=1) if make is not Plain else Plain(1)
        first, second = watch(Plain(part), name="first", depth=2), watch(Plain(part), name="second", depth=2)
        del first
        tap.changes()
        if type(part) is dict:
            part["a"] = 2
        else:
            part.a = 2
        (change,) = tap.changes()
        assert change.path.startswith(".a")
        assert change.variable == proxy.find_places(second)[0]
        unwatch(second)


def test_a_graph_dies_in_any_order(tap: Tap) -> None:
    leaves = [Plain(i) for i in range(2_000)]
    roots = [watch(Plain(leaves[i], leaves[-i]), name=f"r{i}", depth=2) for i in range(200)]
    for i in (*range(0, 200, 3), *range(1, 200, 3), *range(2, 200, 3)):
        leaves[i].a = "x"
        roots[i] = None
        leaves[-i] = leaves[i]
    del leaves
    tap.changes()
    assert len(tap.ended) == len(roots)


# ---- classes ---------------------------------------------------------------------------------------------------------


class Twin(Base):
    __slots__ = ("b", "c")


class Wider(Base):
    __slots__ = ("b", "c", "d")


def test_an_object_of_another_class_is_watched_on(tap: Tap) -> None:
    o = watch(Inherited())
    o.__class__ = Twin
    run = compiled("o.b = v", Twin)
    for i in range(100):
        run(o, i)
    changes = tap.changes()
    assert replayed(slots_of(Inherited()), changes) == slots_of(o)
    assert len(changes) == 100
    with pytest.raises(TypeError, match="object layout differs"):
        o.__class__ = Wider
    number = proxy.find_places(o)[0]
    del o
    assert not tap.changes()
    assert tap.ended == [number]


@pytest.mark.parametrize("watched", [Inherited, Twin])
def test_objects_change_their_classes_as_before(watched: type[Any], tap: Tap) -> None:
    kept, o = watched(), Inherited()
    watch(kept)
    for cls in (Twin, Inherited, Leaf, Twin, Leaf):
        o.__class__ = cls
        o.b = 1
    for cls, words in ((Wider, "object layout differs"), (Plain, "object layout differs"), (int, "immutable|mutable")):
        with pytest.raises(TypeError, match=words):
            o.__class__ = cls
    with pytest.raises(TypeError, match="must be set to a class"):
        o.__class__ = 3
    assert not tap.changes()


def test_a_class_that_gets_other_bases_is_watched_on(tap: Tap) -> None:
    class One:
        __slots__ = ("a",)

    class Two:
        __slots__ = ("a",)

    class Sub(One):
        __slots__ = ()

    one, o = watch(One(), name="one"), watch(Sub(), name="o")
    o.a = 1
    Sub.__bases__ = (Two,)
    run = compiled("o.a = v", Two)
    for i in range(100):
        run(o, i)
    assert [change.after for change in tap.changes()] == [1, *range(100)]
    one.a = 2
    assert [change.after for change in tap.changes()] == [2]
    with pytest.raises(TypeError, match="layout"):
        Sub.__bases__ = (Wider,)
    Sub.__bases__ = (One,)
    o.a = 3
    assert [change.after for change in tap.changes()] == [3]


def test_a_class_whose_objects_are_watched_again_and_again_stays_specialised(tap: Tap) -> None:
    class Request:
        __slots__ = ("a",)

    read, store = compiled("o.a", Request), compiled("o.a = v", Request)
    for i in range(1_500):
        o = watch(Request(), name="request")
        for v in range(3):
            store(o, v)
            read(o, v)
        del o
        if not i % 100:
            other = Request()
            for v in range(5):
                store(other, v)
    assert len(tap.changes()) == 4_500
    other = Request()
    other.a = 1
    for v in range(HOT):
        read(other, v)
    names = {step.opname for step in dis.get_instructions(read, adaptive=True)}
    assert "LOAD_ATTR_SLOT" in names
    store(other, 5)
    del other.a
    assert not tap.changes()
    watch(other)
    store(other, 6)
    assert [change.after for change in tap.changes()] == [6]


def test_a_class_is_freed_as_before(tap: Tap) -> None:
    class Short:
        __slots__ = ("a",)

    died = weakref.ref(Short)
    o = watch(Short())
    del o, Short
    gc.collect()
    assert died() is None


class Both:
    """A slot, and a ``__dict__`` in which an entry may have its name."""

    __slots__ = ("__dict__", "a")


@pytest.mark.parametrize("first", ["slot", "dict"])
@pytest.mark.parametrize("since", ["before", "after"])
def test_an_entry_of_the_dict_under_the_name_of_a_slot_is_another_place(since: str, first: str, tap: Tap) -> None:
    o: Any = Both()
    stores = [lambda: setattr(o, "a", {"n": 1}), lambda: vars(o).update(a={"n": 3}, b={"n": 5})]
    if since == "after":
        watch(o, name="o")
    for store in stores if first == "slot" else reversed(stores):
        store()
    if since == "before":
        watch(o, name="o")
    tap.changes()
    assert proxy.audit_places() == 0
    o.a["n"] = 2
    vars(o)["a"]["n"] = 4
    o.b["n"] = 6
    o.a = None
    vars(o)["a"]["n"] = 7
    del vars(o)["a"]
    assert [(change.path, change.after) for change in tap.changes()] == [
        ('.a["n"]', 2), ('.__dict__["a"]["n"]', 4), ('.b["n"]', 6), (".a", None), ('.__dict__["a"]["n"]', 7),
        ('.__dict__["a"]', ABSENT),
    ]  # fmt: skip
    assert proxy.audit_places() == 0
    unwatch(o)


def own_instance(kind: str) -> type[Any]:
    """A new class, one object of which it holds itself."""
    if kind == "slots":
        cls: type[Any] = type("Held", (), {"__slots__": ("a", "__weakref__")})
    elif kind == "inherited":
        cls = type("Held", (type("Above", (), {"__slots__": ("a",)}),), {"__slots__": ("b", "__weakref__")})
    elif kind == "dataclass":
        cls = dataclasses.make_dataclass("Held", [("a", int, 1)], slots=True, weakref_slot=True)
    elif kind == "descriptor elsewhere":
        cls = type("Held", (), {"__slots__": ("a", "__weakref__")})
        cls.kept = [cls.__dict__["a"]]
        del cls.a
    elif kind == "dict":
        cls = type("Held", (), {})
    elif kind == "enum":
        return enum.Enum("Held", ["ONE"])
    else:
        cls = pytest.importorskip("pydantic").create_model("Held", a=(int, 1))
    cls.ONE = cls()
    return cls


@pytest.mark.parametrize(
    "kind", ["slots", "inherited", "dataclass", "descriptor elsewhere", "dict", "enum", "pydantic"]
)
@pytest.mark.parametrize("after", ["watched", "let go", "watched again and again", "another class"])
def test_a_class_that_holds_its_watched_object_is_collected_with_it(after: str, kind: str, tap: Tap) -> None:
    """The collector doesn't know what our side refers to: what we hold, it takes for something in use."""
    held = own_instance(kind)
    died = weakref.ref(held)
    for _ in range(300 if after == "watched again and again" else 1):
        watch(held.ONE, name="one")
        if after != "watched":
            unwatch(held.ONE)
    if after == "another class" and kind != "enum":
        watch(held.ONE, name="one")
        held.ONE.__class__ = types.new_class("Other", (held,), {}, lambda names: names.update(__slots__=()))
    del held
    gc.collect()
    assert died() is None
    assert not proxy.audit_places()


def test_subclasses_that_are_made_meanwhile_are_as_others(tap: Tap) -> None:
    o = watch(Plain())

    class Sub(Plain):
        __slots__ = ("c",)

    sub = Sub()
    sub.a = sub.c = 1
    watch(sub, name="sub")
    unwatch(o)
    sub.a = sub.c = 2
    assert [change.path for change in tap.changes()] == [".a", ".c"]
    unwatch(sub)
    sub.a = sub.c = 3
    assert not tap.changes()


def test_a_store_past_the_descriptors_is_found_at_the_next_and_at_the_end(tap: Tap) -> None:
    o = watch(Plain(1, "x"))
    offset = object.__basicsize__ if sys.version_info < (3, 15) else 16
    word = ctypes.c_void_p.from_address(id(o) + offset)
    value = 12345
    assert word.value == id(1)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(value))
    word.value = id(value)
    o.a = 7
    assert [(change.origin, change.before, change.after) for change in tap.changes()] == [
        ("found", 1, value), ("announced", value, 7),
    ]  # fmt: skip
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(value))
    word.value = id(value)
    assert proxy.audit_places() == 1
    assert [(change.origin, change.before, change.after) for change in tap.changes()] == [("found", 7, value)]


@pytest.mark.parametrize(
    "value",
    [object(), operator.attrgetter("a"), Fraction, iter([]), ValueError(1)],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_slots_of_its_own_is_refused_with_what_to_do(value: Any, journal: Opened) -> None:
    if value is Fraction:
        watch(value, name="it", depth=0)  # a class is watched
        unwatch(value)
        return
    with pytest.raises(WatchError, match=r"watch (what|the object that) holds it"):
        watch(value, name="it")


def test_an_object_is_watched_once(tap: Tap) -> None:
    o, p = watch(Plain()), Mixed()
    with pytest.raises(TypeError, match="it is watched already"):
        proxy.open_places(o, "o", b"{", 0, 1, 10, None, None, None)
    watch(vars(p), name="values")
    with pytest.raises(WatchError, match="its __dict__ is watched already"):
        watch(p)


@pytest.mark.skipif(sys.version_info < (3, 15), reason="tuples have no slots before CPython 3.15")
def test_slots_behind_the_items_of_a_tuple_are_refused(journal: Opened) -> None:
    names = {}
    exec("class Pair(tuple): __slots__ = ('a',)", names)
    with pytest.raises(WatchError):
        watch(names["Pair"]((1, 2)), name="it")


PROGRAM = """
import sys
from pathlib import Path
from memwatch_core import config, watch
from memwatch_core.adapter import process
from memwatch_core.journal.session import create_session

class Order:
    __slots__ = ("a", "b", "other")
    def __del__(self):
        self.a = "gone"

def run():
    kept = watch(Order(), depth=3)
    kept.a, kept.b, kept.other = 1, Order(), kept
    return kept

process.open_journal(create_session(Path(sys.argv[1]), ["program"]), config.load())
inside = run()
inside.a = 2
if "keep" in sys.argv: sys.watched = inside
if "close" in sys.argv: process.close_journal()
inside.a = 3
"""


@pytest.mark.parametrize("how", ["", "keep", "close", "keep close"])
def test_programs_end_as_they_did(how: str, tmp_path: Path) -> None:
    command = [sys.executable, "-X", "dev", "-c", PROGRAM, str(tmp_path), *how.split()]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_fraction_is_watched_by_its_slots(tap: Tap) -> None:
    o = watch(Fraction(1, 3))
    o._numerator = 2
    assert [(change.path, change.before, change.after) for change in tap.changes()] == [("._numerator", 1, 2)]
