"""Risk: something that a test leaves changed isn't told, or something that it puts back is. Each kind of change, left
and put back, asked for in each way."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

import pytest
from inner_runs import Ran, run, write

APP = """
import collections, dataclasses, datetime, decimal, enum

class Plain:
    shared = 1
    def __init__(self): self.x, self.inner = 1, {"k": 1}
class Slots:
    __slots__ = ("a", "b")
    def __init__(self): self.a = 1
@dataclasses.dataclass(frozen=True)
class Frozen:
    x: int = 1
class Colour(enum.Enum):
    RED, GREEN = 1, 2

NUMBER, TEXT, NOTHING, PAIR, COLOUR = 1, "a", None, (1, 2), Colour.RED
DAY = datetime.date(2026, 1, 1)
TABLE = {"a": 1, "deep": {"er": {"x": 1}}, 3: "three"}
ITEMS = [3, 1, 2]
MIXED = [{"a": 1}, [1]]
NAMES = {"x", "y"}
ORDERED = collections.OrderedDict(a=1, b=2)
DEFAULT = collections.defaultdict(list, a=[1])
PLAIN, SLOTS, FROZEN = Plain(), Slots(), Frozen()
GONE = 1
LONG = "x" * 500
"""


@dataclass(frozen=True)
class Case:
    """One kind of change."""

    name: str
    target: str
    leave: str
    back: str
    """Puts back what ``leave`` has changed."""
    heads: tuple[str, ...]
    """What is told if it is left."""


CASES = [
    Case("number", "NUMBER", "app.NUMBER = 2", "app.NUMBER = 1", (": 1 → 2",)),
    Case("text", "TEXT", "app.TEXT += 'b'", "app.TEXT = 'a'", (": 'a' → 'ab'",)),
    Case("long_text", "LONG", "app.LONG += '!'", "app.LONG = 'x' * 500", (": ",)),
    Case("none", "NOTHING", "app.NOTHING = 0", "app.NOTHING = None", (": None → 0",)),
    Case("bool_for_int", "NUMBER", "app.NUMBER = True", "app.NUMBER = 1", (": 1 → True",)),
    Case("tuple", "PAIR", "app.PAIR = (1, 3)", "app.PAIR = (1, 2)", (": (1, 2) → (1, 3)",)),
    Case(
        "enum",
        "COLOUR",
        "app.COLOUR = app.Colour.GREEN",
        "app.COLOUR = app.Colour.RED",
        (": Colour.RED → Colour.GREEN",),
    ),
    Case(
        "date",
        "DAY",
        "app.DAY = app.DAY.replace(day=2)",
        "app.DAY = app.datetime.date(2026, 1, 1)",
        (": date(2026, 1, 1) → date(2026, 1, 2)",),
    ),
    Case("deleted", "GONE", "del app.GONE", "app.GONE = 1", (": 1 → absent",)),
    Case("new_name", "LATER", "app.LATER = 1", "del app.LATER", (": absent → 1",)),
    Case("key", "TABLE", "app.TABLE['a'] = 2", "app.TABLE['a'] = 1", ('["a"]: 1 → 2',)),
    Case("key_that_is_a_number", "TABLE", "app.TABLE[3] = 'x'", "app.TABLE[3] = 'three'", ("[3]: 'three' → 'x'",)),
    Case("new_key", "TABLE", "app.TABLE['b'] = 2", "del app.TABLE['b']", ('["b"]: absent → 2',)),
    Case("deleted_key", "TABLE", "del app.TABLE['a']", "app.TABLE['a'] = 1", ('["a"]: 1 → absent',)),
    Case(
        "deep_key",
        "TABLE",
        "app.TABLE['deep']['er']['x'] = 2",
        "app.TABLE['deep']['er']['x'] = 1",
        ('["deep"]["er"]["x"]: 1 → 2',),
    ),
    Case(
        "cleared",
        "TABLE",
        "kept = dict(app.TABLE); app.TABLE.clear(); app.kept = kept",
        "app.TABLE.update(app.kept)",
        ('["a"]: 1 → absent', "[3]: 'three' → absent", '["deep"]: '),
    ),
    Case("replaced", "TABLE", "app.kept = app.TABLE; app.TABLE = {'a': 7}", "app.TABLE = app.kept", (": {'a': 1, ",)),
    Case(
        "replaced_and_changed",
        "TABLE",
        "app.kept = app.TABLE; app.TABLE = {}; app.TABLE['a'] = 7",
        "app.TABLE = app.kept",
        (),
    ),
    Case("append", "ITEMS", "app.ITEMS.append(4)", "app.ITEMS.pop()", ("[3]: absent → 4",)),
    Case("insert", "ITEMS", "app.ITEMS.insert(0, 9)", "del app.ITEMS[0]", ("[0]: absent → 9",)),
    Case("item", "ITEMS", "app.ITEMS[1] = 5", "app.ITEMS[1] = 1", ("[1]: 1 → 5",)),
    Case("sorted", "ITEMS", "app.ITEMS.sort()", "app.ITEMS[:] = [3, 1, 2]", (": [3, 1, 2] → [1, 2, 3]",)),
    Case("reversed", "ITEMS", "app.ITEMS.reverse()", "app.ITEMS.reverse()", (": [3, 1, 2] → [2, 1, 3]",)),
    Case(
        "emptied",
        "ITEMS",
        "app.ITEMS.clear()",
        "app.ITEMS.extend([3, 1, 2])",
        ("[0]: 3 → absent", "[1]: 1 → absent", "[2]: 2 → absent"),
    ),
    Case("in_a_list", "MIXED", "app.MIXED[0]['a'] = 2", "app.MIXED[0]['a'] = 1", ('[0]["a"]: 1 → 2',)),
    Case("list_in_a_list", "MIXED", "app.MIXED[1].append(2)", "app.MIXED[1].pop()", ("[1][1]: absent → 2",)),
    Case("member", "NAMES", "app.NAMES.add('z')", "app.NAMES.discard('z')", ("{\"z\"}: absent → 'z'",)),
    Case("member_gone", "NAMES", "app.NAMES.discard('x')", "app.NAMES.add('x')", ("{\"x\"}: 'x' → absent",)),
    Case("ordered", "ORDERED", "app.ORDERED['a'] = 5", "app.ORDERED['a'] = 1", ('["a"]: 1 → 5',)),
    Case("default", "DEFAULT", "app.DEFAULT['b']", "del app.DEFAULT['b']", ('["b"]: absent → []',)),
    Case("attribute", "PLAIN", "app.PLAIN.x = 2", "app.PLAIN.x = 1", (".x: 1 → 2",)),
    Case("attribute_by_vars", "PLAIN", "vars(app.PLAIN)['x'] = 2", "vars(app.PLAIN)['x'] = 1", (".x: 1 → 2",)),
    Case("in_an_object", "PLAIN", "app.PLAIN.inner['k'] = 2", "app.PLAIN.inner['k'] = 1", ('.inner["k"]: 1 → 2',)),
    Case("slot", "SLOTS", "app.SLOTS.a = 2", "app.SLOTS.a = 1", (".a: 1 → 2",)),
    Case("empty_slot", "SLOTS", "app.SLOTS.b = 2", "del app.SLOTS.b", (".b: absent → 2",)),
    Case(
        "frozen",
        "FROZEN",
        "object.__setattr__(app.FROZEN, 'x', 2)",
        "object.__setattr__(app.FROZEN, 'x', 1)",
        (".x: 1 → 2",),
    ),
    Case(
        "another_object",
        "PLAIN",
        "app.kept = app.PLAIN; app.PLAIN = app.Plain()",
        "app.PLAIN = app.kept",
        (": <Plain at 0x",),
    ),
    Case("class_attribute", "Plain", "app.Plain.shared = 2", "app.Plain.shared = 1", (".shared: 1 → 2",)),
    Case(
        "method",
        "Plain",
        "app.Plain.greet = lambda self: 1",
        "del app.Plain.greet",
        (".greet: absent → <function test_method_",),
    ),
]
KINDS = [case.name for case in CASES]
WAYS = ("target", "mark", "block", "to_end", "nobody")


def body(case: Case, way: str, back: bool) -> str:
    lines = [case.leave, *([case.back] if back else [])]
    if way in ("target", "mark"):
        text = "\n".join(lines)
        mark = f'@pytest.mark.memwatch_unchanged("app:{case.target}")\n' if way == "mark" else ""
        return f"{mark}def test_{case.name}_{way}_{back}():\n{textwrap.indent(text, '    ')}\n"
    whole = case.target == "Plain"  # a class is named itself
    if way == "nobody":
        call = f"memwatch.assert_only_written_by(app{'.Plain' if whole else f', key={case.target!r}'})"
    else:
        call = f"memwatch.assert_unchanged(app{'.Plain' if whole else f', {case.target!r}'})"
    if way == "to_end":
        text = "\n".join([call, *lines])
    else:
        text = f"with {call}:\n" + textwrap.indent("\n".join(lines), "    ")
    return f"def test_{case.name}_{way}_{back}(memwatch):\n{textwrap.indent(text, '    ')}\n"


HEAD = "import pytest, app\n\n"


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ran]:
    """A module ``app_<kind>`` for each test, so that none meets what another one has left."""
    found = {}
    for way in WAYS:
        folder = tmp_path_factory.mktemp(way)
        files, targets = {}, []
        for case in CASES:
            for back in (False, True):
                module = f"app_{case.name}_{back}"
                files[f"{module}.py"] = APP
                text = (HEAD + body(case, way, back)).replace('"app:', f'"{module}:')
                files[f"test_{case.name}_{back}.py"] = text.replace("pytest, app", f"pytest, {module} as app")
                targets += ["--memwatch-unchanged", f"{module}:{case.target}"]
        write(folder, files)
        found[way] = run(folder, *(targets if way == "target" else ["--memwatch"]))
    return found


@pytest.mark.parametrize("way", ["target", "mark"])
@pytest.mark.parametrize("case", CASES, ids=KINDS)
def test_what_is_left_is_told_and_the_test_itself_passes(ran: dict[str, Ran], case: Case, way: str) -> None:
    test = ran[way].tests[f"test_{case.name}_{way}_False"]
    assert test.own == "passed"
    assert test.outcomes["teardown"] == "failed"
    heads = [f"{one['place']}: {one['old']} → {one['new']}" for one in test.found]
    name = f"app_{case.name}_False:{case.target}"
    for head in case.heads:
        assert any(one.startswith(name + head) for one in heads), heads
    assert {one["line"].partition(" ")[2] for one in test.found} == {f"test_{case.name}_{way}_False"}
    assert all(one["words"] == "in call" for one in test.found)
    assert test.found, test.texts


@pytest.mark.parametrize("way", ["target", "mark", "block", "to_end"])
@pytest.mark.parametrize("case", CASES, ids=KINDS)
def test_what_is_put_back_is_not_told(ran: dict[str, Ran], case: Case, way: str) -> None:
    test = ran[way].tests[f"test_{case.name}_{way}_True"]
    assert set(test.outcomes.values()) == {"passed"}, test.texts
    assert test.found == []


@pytest.mark.parametrize("way", ["block", "to_end"])
@pytest.mark.parametrize("case", CASES, ids=KINDS)
def test_what_is_left_fails_the_assertion(ran: dict[str, Ran], case: Case, way: str) -> None:
    test = ran[way].tests[f"test_{case.name}_{way}_False"]
    assert test.outcomes == {"setup": "passed", "call": "failed", "teardown": "passed"}
    for head in case.heads:
        assert f"app.{case.target}{head}" in test.texts["call"]
    assert f"test_{case.name}_False.py:" in test.texts["call"]


@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("case", CASES, ids=KINDS)
def test_what_nobody_may_write_fails_though_it_is_put_back(ran: dict[str, Ran], case: Case, back: bool) -> None:
    test = ran["nobody"].tests[f"test_{case.name}_nobody_{back}"]
    assert test.outcomes["call"] == "failed"
    assert f"nobody may write to app.{case.target}; others did" in test.texts["call"]
