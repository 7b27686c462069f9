"""Conditions are compiled in JavaScript as they are in Python: the same bytes, and the same words where they are wrong."""

from __future__ import annotations

import json
import random
import warnings
from typing import Any

import pytest
from nodejs import ONCE, PACKAGE, Node

from memwatch_core.condition_text import parted
from memwatch_core.conditions import Field, Shape, compile_condition
from memwatch_core.errors import ConditionError

LETTERS = {"b": 1, "B": 1, "h": 2, "H": 2, "i": 4, "I": 4, "q": 8, "Q": 8, "e": 2, "f": 4, "d": 8}

COMPILE = """
    const { compile } = require(`${process.env.PACKAGE}/lib/conditions.js`);
    const results = JSON.parse(require('fs').readFileSync('corpus.json', 'utf8')).map(([text, shape]) => {
      try {
        return compile(text, shape).toString('hex');
      } catch (error) {
        if (error.name !== 'ConditionError') throw error;
        return error.message;
      }
    });
    console.log(JSON.stringify(results));
"""

HEAD = [
    "",
    "   ",
    "new < 0",
    "new\t<\t0",
    "0 < new <= 10",
    "not not new",
    "new is not None",
    "new is None",
    "old != new",
]
SAMPLES = [
    *HEAD,
    *("new in (1, 2, 3)", "new in [1]", "new in ()", "new not in (1, 2.5)", "new in 1", "(1, 2) == new", "new in (1,)"),
    *("abs(new - old) > 1.5e3", "len(path) == 3", "len(new", "abs new", "-new < -3", "- -3 < new", "+new > +3", "-0.0 == new"),
    *("new < -9223372036854775808", "new < 9223372036854775808", "new == 18446744073709551615", "new < 2e400", "new == .5"),
    *("new < 18446744073709551616", "new == 0x_ff", "new == 0b101 or new == 0o17", "new == 1_000", "new == 1__0", "new == 0xg"),
    *("new == 007", "new == 00", "new == 1_", "new == 1._5", "new == 1.5e", "new == 01.5", "new == 0x_", "new == 1e1_0", "new == ٣"),
    *("path like 'a*b?'", "path ~ \"x\"", "path !~ 'x'", "path not like 'x'", "path not in 'xyz'", "'x' in path", "path not 3"),
    *('path == "a\\n\\x41\\u00e9\\U0001F600\\101\\q"', "path == b'a\\x00\\7\\q'", "path == r'\\x'", "path == 'a\\x1'", "path == b'\\xzz'"),
    *("path == 'é\\xg'", "path == '\\ud800'", "path == '\\U00110000'", "path == b'é'", "path == b'\\u0041'", "path == 'it''s'"),
    *("site == 'orders.js:41'", "site != 'orders.js:41'", "site.file like '*/lib/*'", "site.file == '/a/b.js'", "site.line == 3"),
    *("site == 3", "'a.js:1' == site", "site.lin == 3", "site.line.x == 1", "site like '*.js:4?'", "site.function != 'add'"),
    *("thread == 'main'", "thread.id > 3", "thread.name like 'worker *'", "thread.what", "statement is None", "statement like 'UPDATE*'"),
    *("variable == 'x'", "variable.x", "changed", "changed == True", "changed and new < 0 or not old", "absent", "new is absent"),
    *("nwe < 0", "value < 0", "chnaged", "sit.line", "thread_id", "ABS(new)", "None < 3", "True and False", "new == True"),
    *("new = 0", "new && old", "new || old", "!new", "new ! old", "new: 3", "new; old", "new $ 3", "new ² 3", "new < 12abc", "new < 1.2.3"),
    *("new < 'abc", 'new < "', "new < 0 0", "new <", "(new < 0", "new in (1, 2", "[x for x in new]", "lambda: 1", "new if old else 1"),
    *("not", "new < -", "new.price", "new[0]", "new[1] < 3", "new[9]", "new['a']", "new[0].x", "new[", "new[1", "new.3", "new[-1]", "new[0.5]"),
    *("(" * 29 + "new" + ")" * 29, "(" * 40 + "new" + ")" * 40, "1+(" * 20 + "1" + ")" * 20, "new < 0 and " * 150 + "new", "x" * 2001),
    *("new < 'a'", "path + 1 > 2", "path * 'a'", "new like 'x*'", "path like 3", "b'a' == path", "new < b'a'", "new // 2 % 3 / 4 * 5 == 6"),
    *("'😀' in path", "'😀' == nwe", "\"'\" == nwe", "'\"' == \"'\" and nwe", "'\u200b' == nwe", "'\u00a0' == \u00a0nwe", "\ufeffnew"),
    *(f"path == '{'é' * 400}'", " and ".join(f"path == '{'x' * 190}'" for _ in range(9)), f"new == 0 and nwe{' ' * 80}== 3", " " * 60 + "nwe"),
    *("new\n<\n0", "nwe\n<\n0", "new < 0\r", "path == '\r'", "new\x85< 0", "new\x1c< 0", "n\u0435w < 0", "new <\u3000zero"),
]  # fmt: skip

ALIASES = {"new == null": "new == None", "new is not undefined": "new is not None", "changed == true": "changed == True",
           "false or new": "False or new"}  # fmt: skip


def shape_of(letter: str, count: int, *, secret: bool = False, variable: str = "total") -> tuple[dict[str, Any], Shape]:
    """The same for both: in JavaScript's form, and in Python's."""
    size = LETTERS.get(letter, 0)
    kind = "other" if not size else "struct" if count > 1 else "number"
    ours = {"kind": kind, "variable": variable, "letter": letter, "size": size, "count": count, "secret": secret}
    fields = tuple(Field(letter, size * number, size, True) for number in range(count if size else 0))
    return ours, Shape(kind, variable, fields, secret=secret)


SHAPES = [
    *(shape_of(letter, 1) for letter in LETTERS),
    *(shape_of(letter, 4) for letter in "iqBd"),
    *(shape_of("q", 1, secret=True), shape_of("d", 3, secret=True)),
    *(shape_of("", 1), shape_of("i", 1, variable='it\'s "é"\u200b')),
]


def expected(text: str, shape: Shape) -> str:
    try:
        with warnings.catch_warnings(action="ignore"):  # of escapes that mean nothing
            return compile_condition(text, shape).hex()
    except ConditionError as error:
        return str(error)


def compiled(node: Node, corpus: list[tuple[str, dict[str, Any]]]) -> list[str]:
    (node.folder / "corpus.json").write_text(json.dumps(corpus))
    node.write(COMPILE)
    results: list[str] = json.loads(node.run("program.js", register=False, PACKAGE=str(PACKAGE)).stdout)
    return results


def assert_same(node: Node, texts: list[str], shapes: list[tuple[dict[str, Any], Shape]]) -> int:
    pairs = [(text, shape) for text in texts for shape in shapes]
    found = compiled(node, [(text, ours) for text, (ours, _) in pairs])
    for (text, (ours, shape)), one in zip(pairs, found, strict=True):
        assert one == expected(text, shape), (text, ours)
    return sum(not one.startswith("when=") for one in found)


def test_samples_become_the_same_bytes_and_the_same_errors(node: Node) -> None:
    right = assert_same(node, SAMPLES, SHAPES)
    assert 500 < right < len(SAMPLES) * len(SHAPES) - 500  # both kinds are there


WORDS = [
    *("old", "new", "new", "changed", "path", "variable", "thread", "thread.id", "site", "site.line", "site.file", "statement"),
    *("None", "True", "absent", "0", "1", "-1", "2.5", "1e3", "0x1f", "9223372036854775808", "'a*'", '"x"', "b'q'", "new[1]", "old[0]"),
]  # fmt: skip
BETWEEN = ["<", "<=", "==", "!=", ">", ">=", "and", "or", "+", "-", "*", "/", "//", "%", "in", "not in", "like", "~", "!~", "is", "is not"]  # fmt: skip


def made(random: random.Random, depth: int = 0) -> str:
    if depth > 3 or random.random() < 0.3:
        return random.choice(WORDS)
    kind = random.random()
    if kind < 0.65:
        return f"{made(random, depth + 1)} {random.choice(BETWEEN)} {made(random, depth + 1)}"
    if kind < 0.75:
        return f"({made(random, depth + 1)})"
    if kind < 0.85:
        return f"not {made(random, depth + 1)}"
    if kind < 0.92:
        return f"{random.choice(('abs', 'len'))}({made(random, depth + 1)})"
    return f"{random.choice(('old', 'new', 'path'))} in ({made(random, depth + 1)}, {made(random, depth + 1)})"


def damaged(random: random.Random, text: str) -> str:
    at = random.randrange(len(text) + 1)
    return (
        text[:at]
        + random.choice(["", "(", ")", "'", "é", "=", " x ", ".", "[", "1_", "!", "\\", "😀"])
        + text[at + random.randrange(2) :]
    )


@ONCE
@pytest.mark.parametrize("seed", range(4))
def test_random_conditions_become_the_same_bytes_and_the_same_errors(node: Node, seed: int) -> None:
    source = random.Random(seed)
    texts = [made(source) for _ in range(1500)]
    texts += [damaged(source, text) for text in texts]
    shapes = [SHAPES[5], SHAPES[11], SHAPES[12], SHAPES[-2], SHAPES[-4]]
    assert assert_same(node, texts, shapes) > 1000


@ONCE
def test_words_of_javascript_stand_for_those_of_python(node: Node) -> None:
    ours, shape = SHAPES[4]
    assert compiled(node, [(text, ours) for text in ALIASES]) == [expected(text, shape) for text in ALIASES.values()]


@ONCE
def test_a_condition_for_one_variable_begins_with_its_name_as_in_python(node: Node) -> None:
    texts = ["new < 0", "total: new < 0", "order.*: old is None", 'config["a:b"]: new', "site like 'a.js:3'", "a:b: new < 0",
             "total:new < 0", "  x:\u00a0new\n< 3 ", "é: new", "x.y[0]: not new"]  # fmt: skip
    node.write("const { parted } = require(process.env.PACKAGE + '/lib/conditions_text.js');"
               f"console.log(JSON.stringify({json.dumps(texts)}.map((text) => parted(text))));")  # fmt: skip
    found = json.loads(node.run("program.js", register=False, PACKAGE=str(PACKAGE)).stdout)
    assert [tuple(one) for one in found] == [parted(text) for text in texts]
