"""Risk: Node's contexts say something else than Python's of the same statement, or keep what must not be kept."""

from __future__ import annotations

import datetime
import json
import random
from typing import Any

import pytest
from nodejs import ONCE, Node

from memwatch_core.adapter import hashes
from memwatch_core.adapter.parameters import keeper
from memwatch_core.adapter.statements import LIMIT
from memwatch_core.native.tracing import read_statement

DIALECTS = ("sqlite", "postgresql", "mysql", "")
FRAGMENTS = [
    *("'", '"', "`", "[", "]", "\\", "\\'", "''", '""', "--", "-- ", "/*", "*/", "/*!", "/*!50000 ", "#", "\n", "\r", " "),
    *("$", "$$", "$a$", "E'", "x'", "U&'", "q'", ".", ",", "(", ")", "=", "1", "0x1F", "1e5", ":a", "%s", "@v", "$1"),
    *("FROM", "INTO", "AS", "TABLE", "t", "é", "\0", "²", "٣", "😀", "\x85", "\x1c", "\u2028", ";", "-", "/", "*", "::"),
    *("DISTINCT", "select", "_utf8", "1_0", ".5", "SET", "WHERE", "?", "?1", "n", '"a"', "'x'", "ß", "\u3000"),
]  # fmt: skip
CONTROLS = [
    *("BEGIN", "START", "TRANSACTION", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE", "PREPARE", "XA", "TO"),
    *("PREPARED", "WORK", "a", '"A"', "`A`", "[A]", "'A'", '"a""b"', ";", "CREATE", "DROP", "TEMPORARY", "TABLE", "FUNCTION"),
    *("/* c */", "-- c\n", "# c\n", "SELECT", "1", "AND", "CHAIN", "B$"),
]  # fmt: skip
BATCH = """
    const path = require('node:path'), fs = require('node:fs');
    const { read } = require(path.join(path.dirname(require.resolve('@memwatch/node')), 'sql', 'statements.js'));
    console.log(JSON.stringify(JSON.parse(fs.readFileSync('cases.json', 'utf8')).map(([text, dialect]) => {
      const found = read(text, dialect);
      return [found.text, found.does, found.savepoint];
    })));
"""


def answers(node: Node, cases: list[tuple[str, str]]) -> list[list[Any]]:
    (node.folder / "cases.json").write_text(json.dumps(cases))
    node.write(BATCH)
    return list(json.loads(node.run("program.js", register=False).stdout))


def test_statements_are_normalised_and_understood_as_in_python(node: Node) -> None:
    """What tells them apart is how a text gets into C: of one byte a character or two, with halves of characters, cut."""
    draw = random.Random(7)
    texts = ["", "\ud800", "SELECT '\ud800'", "x" * (LIMIT + 5), "😀" * (LIMIT + 1), "'" + "a" * 40_000, "a😀" * LIMIT]
    texts += ["".join(draw.choices(FRAGMENTS, k=draw.randrange(1, 25))) for _ in range(900)]
    texts += [" ".join(draw.choices(CONTROLS, k=draw.randrange(1, 7))) for _ in range(500)]
    cases = [(text, dialect) for text in texts for dialect in DIALECTS]
    for case, answer in zip(cases, answers(node, cases), strict=True):
        assert answer == list(read_statement(*case)), case


KEY = bytes(range(32))
UTC = datetime.UTC
VALUES: dict[str, Any] = {
    "null": None, "undefined": None, "true": True, "0": 0, "-0": 0, "1": 1, "1.5": 1.5, "-2.25e-3": -2.25e-3,
    "2**53": 2**53, "2**60": 2**60, "1e300": 1e300, "1e22": 1e22, "-1e30": -1e30, "NaN": float("nan"),
    "-Infinity": float("-inf"), "12345678901234567890n": 12345678901234567890, "-(2n**70n)": -(2**70), "2n**64n": 2**64,
    "''": "", "'plain'": "plain", "'é😀'": "é😀", "'x'.repeat(4095)": "x" * 4095, "'x'.repeat(4096)": "x" * 4096,
    "'é'.repeat(2000000)": "é" * 2_000_000, "Buffer.from('bytes')": b"bytes", "new Uint8Array(5000)": bytes(5000),
    "new Float64Array([1]).buffer": b"\0\0\0\0\0\0\xf0?", "new DataView(new ArrayBuffer(2))": b"\0\0",
    "new Date(Date.UTC(2026, 10, 24, 12))": datetime.datetime(2026, 11, 24, 12, tzinfo=UTC),
    "new Date(Date.UTC(2026, 10, 24, 12, 1, 2, 3))": datetime.datetime(2026, 11, 24, 12, 1, 2, 3000, tzinfo=UTC),
    "[1, 'a', null]": [1, "a", None], "[]": [], "[[1], [2]]": [[1], [2]], "Array(40).fill(1)": [1] * 40,
    "({ b: 1, a: 'x' })": {"b": 1, "a": "x"}, "({ a: [true] })": {"a": [True]},
}  # fmt: skip


def test_the_same_value_has_the_same_hash_as_in_python(node: Node) -> None:
    node.write(f"""
        const path = require('node:path'), lib = path.dirname(require.resolve('@memwatch/node'));
        const {{ keeper }} = require(path.join(lib, 'sql', 'parameters.js')), {{ keyed, digest }} = require(path.join(lib, 'sql', 'hashes.js'));
        const keep = keeper('hash', Buffer.from('{KEY.hex()}', 'hex'));
        const of = (text) => keyed(Buffer.from('{KEY.hex()}', 'hex'), 'statement', text).toString('hex');
        const hashes = {{ text: of('SELECT é'), empty: of(''), digest: digest(Buffer.from('bytes')).toString('hex') }};
        const values = [{", ".join(VALUES)}];
        console.log(JSON.stringify({{ hashes, values: values.map((value) => keep([value])),
          named: keep({{ a: 1, b: 'x' }}), rows: keep([[1, 2], [3, null]], true), many: keep(Array(70).fill(0)),
          many_rows: keep(Array(10).fill([1]), true), nothing: [keep([]), keep(undefined), keep(null), keep([], true)] }}));
    """)
    found = json.loads(node.run("program.js", register=False).stdout)
    keep = keeper("hash", KEY)
    assert keep

    def python(parameters: Any, many: bool = False) -> list[str]:
        return list(json.loads("{" + keep(parameters, many)[1:] + "}")["parameters"])

    assert dict(zip(VALUES, found["values"], strict=True)) == {name: python([value]) for name, value in VALUES.items()}
    text, empty = (hashes.keyed(KEY, "statement", each.encode()).hex() for each in ("SELECT é", ""))
    assert found["hashes"] == {"text": text, "empty": empty, "digest": hashes.digest(b"bytes").hex()}
    assert found["named"] == python({"a": 1, "b": "x"})
    assert found["rows"] == python([[1, 2], [3, None]], many=True)
    assert found["many"] == python([0] * 70)
    assert found["many_rows"] == python([[1]] * 10, many=True)
    assert found["nothing"] == [[], [], [], []]


LISTS = [
    "[]", "null", "undefined", "[1, 'a', null, true]", "[, 1]", "Array(64).fill('x')", "Array(65).fill('x')", "[1, new Date(0)]",
    "[Symbol('s'), 1]", "({ a: 1, b: 'x' })", "new (class Money {})()", "Object.setPrototypeOf([, 1], ['a trap'])", "[[1, 'a'], [2]]",
]  # fmt: skip


def test_records_have_the_hashes_that_are_made_one_by_one(node: Node) -> None:
    """The record of a statement's beginning is made by one call, which hashes what it can."""
    lists = [*(f"[{value}]" for value in VALUES), *(f"['é', {value}, 2.5]" for value in VALUES), *LISTS]
    node.write(f"""
        const path = require('node:path'), lib = path.dirname(require.resolve('@memwatch/node'));
        const x = require('@memwatch/node').watch(new Int32Array(1), {{ trackSQL: true, name: 'x' }});
        const {{ tracer }} = require(path.join(lib, 'sql', 'drivers.js')), session = require(path.join(lib, 'session.js'));
        const {{ keeper }} = require(path.join(lib, 'sql', 'parameters.js'));
        const lists = [{", ".join(lists)}];
        lists.forEach((parameters, i) => {{
          tracer.begin({{ driver: 'dbx', statement: 'SELECT 1', parameters, connection: {{}}, dialect: '' }}); x[0] = i + 1;
        }});
        const keep = keeper('hash', session.key());
        console.log(JSON.stringify(lists.map((parameters) => keep(parameters))));
    """)
    kept = json.loads(node.run("program.js").stdout)
    events = node.read().of("x")
    assert [list(event.context.parameters) for event in events if event.context] == kept
    assert len(events) == len(lists)


@ONCE
@pytest.mark.parametrize("keep", ["hash", "full"])
def test_looking_at_parameters_runs_no_code_of_the_program(node: Node, keep: str) -> None:
    node.write(f"""
        const path = require('node:path'), lib = path.dirname(require.resolve('@memwatch/node'));
        const {{ keeper }} = require(path.join(lib, 'sql', 'parameters.js'));
        const keep = keeper('{keep}', Buffer.alloc(32));
        const ran = (name) => () => {{ throw new Error(name); }};
        const trap = new Proxy({{}}, new Proxy({{}}, {{ get: (_, name) => ran(name) }}));
        class Money {{ toString() {{ ran('toString')(); }} toJSON() {{ ran('toJSON')(); }} toPostgres() {{ ran('toPostgres')(); }}
          get value() {{ ran('get')(); }} [Symbol.toPrimitive]() {{ ran('toPrimitive')(); }} [Symbol.iterator]() {{ ran('iterator')(); }} }}
        class Tricky {{}}
        Object.defineProperty(Tricky.prototype, 'constructor', {{ get: ran('constructor') }});
        const list = [1]; Object.defineProperty(list, 0, {{ get: ran('element') }});
        const date = Object.assign(new Date(5), {{ toISOString: ran('toISOString'), getTime: ran('getTime') }});
        const bytes = Object.assign(new Uint8Array(1), {{ toString: ran('toString') }});
        const values = [trap, new Money(), new Tricky(), list, date, bytes, {{ get a() {{ return ran('getter')(); }} }}, Symbol('s'), () => 1];
        console.log(JSON.stringify([keep(values), keep(trap), keep(new Money()), keep(new Set([1])), keep(trap, true)]));
    """)
    values, trap, money, a_set, rows = json.loads(node.run("program.js", register=False).stdout)
    assert (trap, money, a_set, rows) == (["<Proxy>"], ["<Money>"], ["<Set>"], ["<Proxy>"])
    assert values[:3] == ["<Proxy>", "<Money>", "<Object>"]
    assert len(values) == 9
