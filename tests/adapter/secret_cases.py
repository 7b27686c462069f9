"""Which values and places are secrets, and what is recorded of them."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from journals import Opened

from memwatch_core import config, unwatch, unwatch_place, watch, watch_place
from memwatch_core.adapter import places, process
from memwatch_core.adapter.watch import variable
from memwatch_core.errors import WatchError
from memwatch_core.journal.session import create_session
from memwatch_core.native import proxy
from memwatch_core.records import TypeFormat
from memwatch_core.type_formats import declared

Open = Callable[..., Opened]
SECRET, OTHER_SECRET = 9, 10


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Opens a journal; names that are given are secrets."""

    def open_it(*names: str) -> Opened:
        settings = config.load(overrides={"privacy": {"variables": list(names)}})
        return Opened(process.open_journal(create_session(tmp_path, ["pytest"]), settings).path)

    yield open_it
    process.close_journal()
    proxy.set_secrets(())


class Thing:
    def __init__(self, **parts: Any) -> None:
        vars(self).update(parts)


def cells(journal: Opened) -> list[tuple[str, int, int]]:
    """Of each store to a place: its name, and the kinds of the cell before and after."""
    contents = journal.read()
    return [
        (contents.metadata[store.variable]["name"] + (store.path or ""), store.before[0], store.after[0])
        for store in contents.stores
    ]


def has(journal: Opened, text: str) -> bool:
    return text.encode() in journal.path.read_bytes()


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("token", "token", True),
        ("token", "tokens", False),
        ("*token*", "API_TOKENS", True),
        ("*TOKEN", "my.token", True),
        ("order.card", "order.card", True),
        ("order.card", "orderxcard", False),
        ('*["x*"]', 'headers["x-key"]', True),
        ("a?c", "aéc", True),
        ("a?c", "a😀c", True),
        ("a?c", "ac", False),
        ("*", "", True),
        ("**a*b**", "xxaxxbxx", True),
        ("*ab", "aab", True),
        ("*aab*", "aaab", True),
        ("[ab]", "a", False),
    ],
)
def test_pattern_means_what_the_page_says(pattern: str, name: str, matches: bool) -> None:
    proxy.set_secrets((pattern.encode(),))
    try:
        assert proxy.is_secret(name) is matches
    finally:
        proxy.set_secrets(())


def test_number_is_told_as_one_whatever_part_of_it_is_stored(opened: Open) -> None:
    journal = opened()
    x = watch(0x1122334455667788, secret=True)
    memoryview(x).cast("B")[2:3] = b"\xaa"
    x.value = 0x1122334455667788
    first, second = journal.stores(x)
    assert (first.offset, len(first.after), first.origin) == (0, 8, "store")
    assert first.before == second.after
    assert first.after == second.before
    assert sum(one == other for one, other in zip(first.before, first.after, strict=True)) < 4
    assert x.value == 0x1122334455667788


@pytest.mark.parametrize("write", ["announced", "store"])
def test_bytes_are_masked_one_by_one_and_apart_for_each_place(opened: Open, write: str) -> None:
    journal = opened()
    b = watch(bytearray(b"aaaaaaaa"), secret=True, capacity=16)
    if write == "announced":
        b[2:4] = b"ba"
    else:
        memoryview(b)[2:4] = b"ba"
    (store,) = (each for each in journal.stores(b) if each.before != each.after)
    content = journal.read().contents[variable(b).id]
    assert content[8 + 2 : 8 + 4] == store.before
    assert store.before[0] != store.after[0]
    assert store.before[1] == store.after[1]
    assert len(set(content[8:16])) > 1, "the same byte at different places looks different"
    assert bytes(b) == b"aabaaaaa"


def test_mask_is_one_to_one(opened: Open) -> None:
    journal = opened()
    b = watch(bytearray(1), secret=True, name="b")
    for value in range(256):
        b[0] = value
    assert len({store.after for store in journal.stores(b)}) == 256


def test_equal_values_of_two_variables_look_different(opened: Open) -> None:
    journal = opened()
    a, b = watch(4711, secret=True), watch(4711, secret=True)
    found = journal.read().contents
    assert found[variable(a).id] != found[variable(b).id]


def test_field_that_is_a_secret_makes_the_struct_one(opened: Open) -> None:
    journal = opened("order.card")
    order = watch((1, 2), format="<qq", fields=["id", "card"])
    order.id = 0x5EC2E7
    assert "secret" in variable(order).flags
    assert struct.pack("<q", 0x5EC2E7) not in journal.path.read_bytes()


def test_what_is_no_secret_is_recorded_as_ever(opened: Open) -> None:
    journal = opened("*token*")
    plain, thing = watch(1, name="plain"), Thing(a="first", token="sekret")
    watch(thing, name="thing")
    plain.value = 2
    thing.a = "second"
    thing.token = "sekret-2"
    stores = journal.stores(plain)
    assert (stores[0].before, stores[0].after) == (struct.pack("<q", 1), struct.pack("<q", 2))
    assert cells(journal)[1:] == [("thing.a", 6, 6), ("thing.token", SECRET, SECRET)]
    assert has(journal, "second")
    assert not has(journal, "sekret")


def test_all_below_a_secret_place_is_secret(opened: Open) -> None:
    journal = opened("order.card")
    order = Thing(id=1, card=Thing(number="sekret", tags={"sekret"}, log=["sekret"], more={"deep": "sekret"}))
    watch(order, name="order", depth=4)
    order.card.number = "sekret2"
    order.card.tags.add("sekret3")
    order.card.log.append("sekret4")
    order.card.log.reverse()
    order.card.more["deep"] = "sekret5"
    order.card = Thing(number="sekret6")
    order.card.number = "sekret7"
    order.card = "sekret8"
    order.id = 2
    found = cells(journal)
    assert all({before, after} <= {0, SECRET, OTHER_SECRET} for _, before, after in found[:-1])
    assert found[-1] == ("order.id", 4, 4)
    assert not has(journal, "sekret")


@pytest.mark.parametrize("first", ["secret", "plain"])
def test_object_with_a_secret_name_is_secret_under_every_other_name(opened: Open, first: str) -> None:
    journal = opened("a.secret")
    card = Thing(number="sekret", inner={"code": "sekret"})
    names = ["secret", "plain"] if first == "secret" else ["plain", "secret"]
    owner = Thing(**dict.fromkeys(names, card))
    watch(owner, name="a", depth=4)
    card.number = "sekret2"
    card.inner["code"] = "sekret3"
    owner.secret = None
    card.number = "sekret4"
    assert not has(journal, "sekret")


def test_object_that_comes_to_a_secret_place_is_a_secret_from_then_on(opened: Open) -> None:
    journal = opened("a.secret")
    card, owner = Thing(number="public"), Thing(secret=None, plain=None)
    owner.plain = card
    watch(owner, name="a", depth=4)
    card.number = "public2"
    owner.secret = card
    card.number = "sekret"
    card.number = "sekret2"
    assert has(journal, "public2")
    assert not has(journal, "sekret")
    names = [name for name, before, after in cells(journal) if SECRET in (before, after)]
    assert set(names) == {"a.plain.number", "a.secret"} or set(names) == {"a.plain.number"}


def test_object_found_by_the_other_watch_is_a_secret_there_too(opened: Open) -> None:
    journal = opened()
    card = Thing(number="sekret")
    plain, vault = Thing(card=card), Thing(card=card)
    watch(vault, name="vault", depth=2, secret=True)
    watch(plain, name="plain", depth=2)
    card.number = "sekret2"
    plain.card.number = "sekret3"
    assert not has(journal, "sekret")
    unwatch(vault)
    plain.card.number = "sekret4"  # it is followed as ever
    assert cells(journal)[-1][1:] == (SECRET, SECRET)
    assert not has(journal, "sekret")


@pytest.mark.parametrize("order", ["place first", "whole first"])
def test_place_that_is_a_secret_is_one_in_the_watch_of_its_owner(opened: Open, order: str) -> None:
    journal = opened()
    thing = Thing(card="sekret", id=1)
    if order == "place first":
        watch_place(thing, "card", secret=True)
        watch(thing, name="thing")
    else:
        watch_place(thing, "card", name="place")  # plain, until the owner is a secret
        watch(thing, name="thing", secret=True)
    thing.card = "sekret2"
    thing.id = 7
    contents = journal.read()
    assert {store.after[0] for store in contents.stores if not (store.path or "").endswith("id")} == {SECRET}
    assert b"sekret2" not in journal.path.read_bytes()


def test_secret_of_a_cycle_that_loses_its_shortest_name_stays_one(opened: Open) -> None:
    journal = opened('root["card"]*')
    card, holder = Thing(number="sekret"), Thing()
    card.holder, holder.held = holder, card  # type: ignore[attr-defined]
    root: dict[str, Any] = {"card": card, "holder": None, "far": {"far": {"far": holder}}}
    watch(root, name="root", depth=100)
    root["card"] = None
    card.number = "sekret2"  # type: ignore[attr-defined]
    root["holder"] = holder
    card.number = "sekret3"  # type: ignore[attr-defined]
    assert [(before, after) for name, before, after in cells(journal) if "number" in name] == [(SECRET, SECRET)] * 2
    assert not has(journal, "sekret")


def test_pattern_is_matched_by_each_name_of_a_place(opened: Open) -> None:
    journal = opened("app.order.card")
    order = Thing(card="sekret", id=1)
    app = Thing(last=order, order=order)
    watch(app, name="app", depth=3)
    order.card = "sekret2"
    assert not has(journal, "sekret")


def test_text_of_a_container_says_nothing_of_what_it_holds_where_there_are_secrets(opened: Open) -> None:
    journal = opened("*password*")
    owner = Thing(settings=None, pair=None, day=None)
    watch(owner, name="owner", depth=0)
    owner.settings = {"password": "sekret"}
    owner.settings = {"password": "sekret2"}
    owner.pair = ("sekret", 2)
    owner.day = Thing
    stores = journal.read().stores
    assert stores[1].before != stores[1].after, "two of them are told apart"
    assert not has(journal, "sekret")
    assert has(journal, "{…}")
    assert has(journal, "(…)")


def test_places_of_a_list_have_indexes_and_no_values(opened: Open) -> None:
    journal = opened("names*")
    names = ["sekret", "sekret2"]
    watch(names, name="names")
    names[0] = "sekret3"
    names.insert(0, "sekret4")
    del names[1:]
    names.clear()
    assert not has(journal, "sekret")
    assert {store.path for store in journal.read().stores} >= {"[0]", "[1]"}


def test_place_that_is_watched_says_nothing_of_its_value(opened: Open) -> None:
    journal = opened("*.token")
    owner = Thing(token="sekret", pin="sekret")
    watch_place(owner, "token", name="x.token")
    watch_place(owner, "pin", secret=True)
    assert [each["shown"] for each in journal.read().metadata.values()] == ["a secret", "a secret"]
    with pytest.raises(WatchError, match="is watched already"):
        watch_place(owner, "token")


@pytest.mark.parametrize("depth", [(0, 4), (4, 8), (0, 8), (0, 100), "FULL"])
def test_part_of_a_secret_number_can_be_watched_alone(opened: Open, depth: Any) -> None:
    journal = opened()
    x = watch(0, secret=True, mutation_depth=depth)
    x.value = 1
    x.value = 1 << 40
    flags = journal.read().variables[variable(x).id][0]
    assert flags & 16
    assert flags & (32 if depth in ((0, 4), (4, 8)) else 64)


class Slotted:
    __slots__ = ("id", "pin")


def owner_of(kind: str, value: str) -> tuple[Any, Any]:
    """What holds a pin, and that of it of which places are watched."""
    if kind == "slots":
        slotted = Slotted()
        slotted.pin, slotted.id = value, 1
        return slotted, slotted
    owner: Any = {"pin": value, "id": 1} if kind == "dict" else Thing(pin=value, id=1)
    return owner, vars(owner) if kind == "dict of an instance" else owner


def put(owner: Any, value: str) -> None:
    if isinstance(owner, dict):
        owner["pin"] = value
    else:
        owner.pin = value


@pytest.mark.parametrize("first", ["place", "whole"])
@pytest.mark.parametrize("how", ["watch", "pattern"])
@pytest.mark.parametrize("kind", ["instance", "slots", "dict", "dict of an instance"])
def test_place_of_what_is_secret_is_secret_in_every_watch(opened: Open, kind: str, how: str, first: str) -> None:
    journal = opened(*(["w.x.pin", 'w.x["pin"]'] if how == "pattern" else []))
    owner, whose = owner_of(kind, "sekret" if first == "whole" else "public")
    w = Thing(x=owner)
    for which in (first, "whole" if first == "place" else "place"):
        if which == "whole":
            watch(w, name="w", depth=2, secret=how == "watch")
        else:
            watch_place(whose, "pin", name="q")
    put(owner, "sekret2")
    w.x = None  # from now on, the place alone is watched
    put(owner, "sekret3")
    shown = {each["name"]: each["shown"] for each in journal.read().metadata.values()}
    assert shown["q"] == ("a secret" if first == "whole" else "'public'")
    assert [(before, after) for name, before, after in cells(journal) if name == "q"] == [(SECRET, SECRET)] * 2
    assert not has(journal, "sekret")


HELD: dict[str, Callable[[], Any]] = {
    "list": lambda: ["sekret"],
    "dict": lambda: {"a": "sekret"},
    "set": lambda: {"sekret"},
    "instance": lambda: Thing(a="sekret"),
    "nested": lambda: Thing(a=["sekret"]),
}


def spoil(held: Any) -> None:
    """Puts something else in the place of all that it holds."""
    if isinstance(held, list):
        held[0] = 0
    elif isinstance(held, set):
        held.clear()
    elif isinstance(held, dict):
        held["a"] = 0
    elif isinstance(held.a, list):
        spoil(held.a)
    else:
        held.a = 0


@pytest.mark.parametrize("way", ["let go", "unwatch"])
@pytest.mark.parametrize("held", HELD)
def test_what_was_secret_stays_so_where_another_watch_goes_on_with_it(opened: Open, held: str, way: str) -> None:
    journal = opened()
    vault, cache, other = Thing(it=HELD[held]()), Thing(), Thing()
    cache.it = other.it = vault.it
    watch(vault, name="vault", depth=3, secret=True)
    watch(cache, name="cache", depth=3)
    watch(other, name="other", depth=3)
    if way == "unwatch":
        unwatch(vault)
    else:
        vault.it = None
    spoil(cache.it)
    assert cells(journal)[-1][1] == SECRET
    unwatch(cache)
    spoil(other.it)
    assert {name.split(".")[0] for name, *_ in cells(journal)} >= ({"other"} if way == "unwatch" else {"vault"})
    assert not has(journal, "sekret")


@pytest.mark.parametrize("kind", ["instance", "slots", "dict"])
def test_place_that_had_a_secret_name_stays_secret_under_another(opened: Open, kind: str) -> None:
    journal = opened("vault.it.pin", 'vault.it["pin"]')
    owner = owner_of(kind, "sekret")[0]
    vault, cache = Thing(it=owner, also=owner), Thing(it=owner)
    watch(vault, name="vault", depth=2)
    watch(cache, name="cache", depth=2)
    vault.it = None
    put(owner, "sekret2")
    vault.also = None
    put(owner, "sekret3")
    assert {name[:5] for name, *_ in cells(journal)[1:]} == {"vault", "cache"}
    assert not has(journal, "sekret")


def test_place_stays_secret_when_the_watch_that_said_so_has_ended(opened: Open) -> None:
    journal = opened()
    owner = Thing(pin="sekret", id=1)
    top = Thing(it=owner)
    watch(top, name="top", depth=2)
    watch_place(owner, "pin", name="q", secret=True)
    unwatch_place(owner, "pin")
    owner.pin = 0
    owner.id = 2
    assert cells(journal) == [("top.it.pin", SECRET, SECRET), ("top.it.id", 4, 4)]
    assert not has(journal, "sekret")


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{a}({b})", "…"),
        ("{a:text}({b})", "…"),
        ("{class} {a:text}: [{b}]", "…"),
        ("Thing({a}, {b})", "Thing(…)"),
        ("<{b}>{{{a}}}", "…"),
        ("{c}{a}[{b}]", "…"),
    ],
)
def test_nothing_of_a_part_is_said_where_there_are_secrets(
    template: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Thing:
        __slots__ = ("a", "b", "c")

    thing = Thing()
    thing.a, thing.b = "sekret", ["hidden"]
    module = ModuleType("made_up")
    module.Thing = Thing  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "made_up", module)
    proxy.declare_types(declared([TypeFormat("made_up.Thing", (template, "{a}({b})"))]))
    proxy.set_secrets((b"nothing",))
    try:
        assert proxy.written(thing) == said
    finally:
        proxy.set_secrets(())
        proxy.declare_types(declared(places._formats))


@pytest.mark.parametrize(
    ("pattern", "long"), [("vals{*}", False), ('vals{"sekret*"}', False), ("vals{*-end?}", True), ('*"}', False)]
)
def test_member_of_a_set_is_judged_by_its_own_path(opened: Open, pattern: str, long: bool) -> None:
    journal = opened(pattern)
    tail = f"-{'x' * 100}-end" if long else ""
    vals = {f"sekret{tail}", 17}
    watch(vals, name="vals")
    vals.add(f"sekret2{tail}")
    vals.discard(f"sekret{tail}")
    vals.discard(17)
    kinds = [(before, after) for _, before, after in cells(journal)]
    assert kinds == [(0, SECRET), (SECRET, 0), (SECRET if pattern == "vals{*}" else 4, 0)]
    assert not has(journal, "sekret")


def test_member_of_a_set_that_no_pattern_means_is_shown(opened: Open) -> None:
    journal = opened('vals{"a*"}')
    vals: set[str] = set()
    watch(vals, name="vals")
    vals.add("a" + "b" * 100)
    vals.add("b" * 100)
    assert [(before, after) for _, before, after in cells(journal)] == [(0, SECRET), (0, 6)]


@pytest.mark.parametrize("way", ["whole", "place", "below", "list below"])
def test_key_that_is_cut_is_secret_if_there_are_patterns(opened: Open, way: str) -> None:
    journal = opened("*tail*")
    key = f"{'k' * 300}tail"
    short = "k" * 200
    held: Any = {"below": {"a": "sekret"}, "list below": ["sekret"]}.get(way, "sekret")
    owner: dict[str, Any] = {key: held, short: "plain"}
    if way == "place":
        watch_place(owner, key, name="owner", depth=2)
    else:
        watch(owner, name="owner", depth=2)
    if way == "below":
        owner[key]["a"] = "sekret2"
    elif way == "list below":
        owner[key][0] = "sekret2"
    owner[key] = "sekret3"
    owner[short] = "plain2"
    assert not has(journal, "sekret")
    assert has(journal, "plain2") is (way != "place")
