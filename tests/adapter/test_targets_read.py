"""What a target's text says, and how a wrong one is shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memwatch_core.errors import ConfigError
from memwatch_core.targets import Target, matches, parse

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
KEYS = st.one_of(st.text(max_size=8), st.integers(), st.booleans(), st.none(), st.tuples(st.integers(), st.text()))


@pytest.mark.parametrize(
    ("text", "module", "steps"),
    [
        ("orders", "orders", ()),
        ("orders:", "orders", ()),
        ("orders:*", "orders", ("*",)),
        ("orders:config", "orders", ("config",)),
        ("pkg.orders:MAX_?", "pkg.orders", ("MAX_?",)),
        ("pkg.*:STATE", "pkg.*", ("STATE",)),
        ('orders:config["debug"]', "orders", ("config", "debug")),
        ("orders:config['it\\'s']", "orders", ("config", "it's")),
        ('orders:config["a]b"]', "orders", ("config", "a]b")),
        ("orders:config['\\\\'].x", "orders", ("config", "\\", "x")),
        ("orders:LIMITS[-2]", "orders", ("LIMITS", -2)),
        ('orders:table[("a", 1)]', "orders", ("table", ("a", 1))),
        ('orders:a.b["c"][0].d', "orders", ("a", "b", "c", 0, "d")),
        ("__main__:Größe", "__main__", ("Größe",)),
    ],
)
def test_a_target_is_a_module_and_what_lies_below_it(text: str, module: str, steps: tuple[object, ...]) -> None:
    target = parse(text)
    assert (target.text, target.module, tuple(step.key for step in target.steps)) == (text, module, steps)
    assert target.local is None


def test_a_local_variable_is_named_behind_its_function() -> None:
    target = parse("orders:Order.add():total")
    assert ([step.key for step in target.steps], target.local) == (["Order", "add"], "total")


@given(NAMES, NAMES, st.lists(st.one_of(NAMES.map(lambda name: ("name", name)), KEYS.map(lambda key: ("item", key)))))
def test_what_is_written_is_read(module: str, first: str, steps: list[tuple[str, object]]) -> None:
    text = f"{module}:{first}" + "".join(f".{key}" if kind == "name" else f"[{key!r}]" for kind, key in steps)
    target = parse(text)
    assert [(step.kind, step.key) for step in target.steps] == [("name", first), *steps]
    assert parse(f"{module}:{target.place}").steps == target.steps


@pytest.mark.parametrize(
    ("text", "why", "column", "remedy"),
    [
        ("", "no module is named", 0, "orders:config"),
        (":x", "no module is named", 0, "orders:config"),
        ("a/b.py:x", "'/' can't stand in a module's name", 1, "as import does"),
        ("a..b:x", "is no module's name", 2, "as import does"),
        ("1a:x", "is no module's name", 0, "as import does"),
        ("a:1", "a name is expected, not '1'", 2, "MODULE:PLACE"),
        ("a:x[debug]", "the key in brackets is no literal", 4, '["debug"]'),
        ('a:x["y', "the bracket isn't closed", 3, "quote the target in a shell"),
        ("a:x[{}]", "a dict is no key", 4, "write text"),
        ("a:x y", "' ' can't stand here", 3, "go on with"),
        ("a:x.", "a name is expected, not the end", 4, "MODULE:PLACE"),
        ("a:X_*.y", "nothing can follow a name that has * or ?", 5, "name what lies below"),
        ("a:f()", "a local variable is expected behind ()", 5, "add_order():total"),
        ("a:f():x.y", "nothing can follow a local variable", 7, "end here"),
        (" a:x", "begins or ends with a blank", 0, "leave the blank out"),
    ],
)
def test_a_wrong_target_is_shown_with_its_mistake_and_the_remedy(text: str, why: str, column: int, remedy: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse(text)
    said, shown, caret, what_to_do = raised.value.lines
    assert said.startswith("not a target: ")
    assert why in said
    assert (shown, caret) == (f"  {text}", f"  {' ' * column}^")
    assert remedy in what_to_do


@given(st.text(max_size=20))
def test_any_text_is_a_target_or_a_mistake(text: str) -> None:
    try:
        made: Target | ConfigError = parse(text)
    except ConfigError as error:
        made = error
    assert isinstance(made, Target) or len(made.lines) == 4


@pytest.mark.parametrize(
    ("pattern", "name", "is_one"),
    [
        ("app.*", "app.db", True),
        ("app.*", "app.db.rows", True),
        ("app.*", "app", False),
        ("App", "app", False),
        ("a[b]*", "a[b]c", True),
        ("te?t", "test", True),
    ],
)
def test_a_pattern_is_of_whole_names_and_of_case(pattern: str, name: str, is_one: bool) -> None:
    assert matches(pattern, name) is is_one
