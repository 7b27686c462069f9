"""Lines of JSON: the schema of docs/events.md, valid for any value, the same from C and from Python."""

from __future__ import annotations

import json
import math
import re
from collections import namedtuple
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memwatch_core.records import (
    Alias,
    Call,
    Context,
    Event,
    Lost,
    Merged,
    Notice,
    Outcome,
    Part,
    Range,
    Record,
    Request,
    Shown,
    Site,
    Span,
    Unfollowed,
    Unwatched,
    Variable,
    Watched,
    WhyNot,
)
from memwatch_core.rendering import jsonlines
from memwatch_core.rendering.jsonlines import encode, record_json, value_json

PAGE = (Path(__file__).parents[2] / "docs/events.md").read_text()
TEXT = st.text(st.characters(), max_size=30) | st.text(st.characters(categories=["Cs", "Cc"]), max_size=8)
Row = namedtuple("Row", "qty price")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.binary(max_size=20)
    | st.builds(bytearray, st.binary(max_size=9)) | st.builds(Shown, TEXT),
    lambda values: st.lists(values, max_size=3) | st.tuples(values, values) | st.dictionaries(TEXT, values, max_size=3)
    | st.builds(Row, values, values),
    max_leaves=8,
)  # fmt: skip
TIMES = st.integers(0, 2**64 - 1)
U32 = st.integers(0, 2**32 - 1)
SITES = st.none() | st.builds(Site, TEXT, U32, TEXT, U32)
CONTEXTS = st.none() | st.builds(
    Context,
    U32,
    TEXT,
    TEXT,
    TEXT,
    st.lists(TEXT, max_size=3).map(tuple),
    TEXT,
    U32,
    st.booleans(),
    database=TEXT,
    server=TEXT,
)
PARTS = st.none() | st.builds(Part, TEXT, VALUES, VALUES)
EVENTS = st.builds(
    Event, st.integers(1, 2**64), TIMES, U32, TEXT, U32, TEXT, TEXT, U32, st.none() | TEXT,
    st.sampled_from(["announced", "store", "syscall", "kernel", "found"]), U32, st.binary(max_size=40),
    st.binary(max_size=40), VALUES, VALUES, st.booleans(), st.booleans(), SITES, CONTEXTS, part=PARTS,
    operation=st.sampled_from([None, "add", "set", "delete", "clear", "replace", "move"]), own=SITES,
    stack=st.none() | st.lists(SITES.filter(bool), max_size=3).map(tuple), stack_cut=st.booleans(),
    stack_inexact=st.booleans(),
    aliases=st.lists(st.builds(Alias, TEXT, U32, TEXT), max_size=3).map(tuple), aliases_cut=st.booleans(),
    request=st.none() | st.builds(Request, TEXT, st.lists(TEXT, max_size=2).map(tuple), TEXT, TEXT, TEXT),
)  # fmt: skip
VARIABLES = st.builds(
    Variable, U32, TEXT, U32, TEXT, U32, TEXT, st.dictionaries(TEXT, VALUES, max_size=2), st.tuples(TEXT),
    st.none() | st.tuples(U32, U32), SITES, st.integers(), TEXT,
)  # fmt: skip
SPANS = st.builds(Span, U32, U32, st.lists(st.tuples(U32, U32), max_size=2).map(tuple))
RANGES = st.none() | st.builds(Range, VALUES, VALUES, st.booleans(), st.booleans())
RECORDS: st.SearchStrategy[Record] = st.one_of(
    EVENTS,
    st.builds(
        Merged,
        TIMES,
        EVENTS,
        U32,
        U32,
        U32,
        U32,
        TEXT,
        U32,
        U32,
        st.lists(SPANS, max_size=2).map(tuple),
        st.none() | U32,
        RANGES,
        RANGES,
    ),
    st.builds(Watched, TIMES, VARIABLES, VALUES, PARTS),
    st.builds(Unwatched, TIMES, U32, TEXT, U32, TEXT, st.just("rebound"), SITES, TEXT, st.just("computed")),
    st.builds(Unfollowed, TIMES, U32, TEXT, U32, TEXT, TIMES, st.sampled_from(get_args(WhyNot)), TEXT, TEXT),
    st.builds(Lost, TIMES, U32, U32, TEXT, st.none() | TEXT),
    st.builds(Outcome, TIMES, U32, TEXT, st.lists(U32, max_size=3).map(tuple), U32, U32),
    st.builds(Notice, TIMES, U32, TEXT),
)


@settings(deadline=None, max_examples=200)
@given(st.lists(RECORDS, max_size=5))
def test_any_record_is_one_line_of_valid_json_and_the_same_in_c_and_python(records: list[Record]) -> None:
    text = encode(records)
    assert text == b"".join(record_json(record) + b"\n" for record in records)
    lines = text.split(b"\n")
    assert lines.pop() == b""
    assert len(lines) == len(records)
    for line in lines:
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
        if not re.search(rb"\d{19}", line):  # beyond 64 bits orjson refuses numbers
            orjson.loads(line)


def test_the_encoder_in_c_is_the_one_in_use() -> None:
    assert jsonlines._encode is not jsonlines._encode_in_python, "run `python setup.py build_ext --inplace`"


EVENT = Event(
    17, 1795446245123456789, 812, "python", 815, "worker-1", "total", 3, None, "syscall", 0,
    b"\5\0", b"\7\0", 5, 7, True, True, Site("orders.py", 41, "add_order", 8),
    Context(9, "sqlite3", "SELECT ?", "ab", ("cd",), connection=1, rows=5),
    Call("recv", 4, 2), "812-python", Part("[0]", 5, 7), None, Site("main.py", 3, "main"),
    (Site("main.py", 3, "main"),), False, False, (Alias("t", 4, "[0]"),), False,
    Request("line 3", ("order 17",), "Task-1", "4bf9" * 8, "00f0" * 4), Site("/usr/lib/libz.so.1", 0, "inflate+0x4c"),
)  # fmt: skip
MERGED = Merged(
    1, EVENT, 20, 4, 3, 8, "[0:4]", 0, 8, (Span(0, 2, ((4, 2),)),), 4, Range(0, 0, True), Range(1, 9, False)
)
VARIABLE = Variable(3, "total", 812, "python", 8, "int64", {}, ("track_threads",), None, EVENT.site, 1, "MainThread")


def test_an_event_reads_as_the_design_says() -> None:
    assert encode([EVENT]).decode() == (
        '{"seq":17,"time":"2026-11-23T15:04:05.123456Z","pid":812,"runtime":"python","tid":815,"thread":"worker-1",'
        '"variable":"total","variable_id":3,"path":null,"origin":"syscall","offset":0,"before":"0500","after":"0700",'
        '"old":5,"new":7,"changed":true,"exact":true,"journal":"812-python",'
        '"site":{"file":"orders.py","line":41,"column":8,"function":"add_order"},'
        '"context":{"id":9,"driver":"sqlite3","database":"","server":"","statement":"SELECT ?","statement_hash":"ab",'
        '"parameters":["cd"],"transaction":0,"outcome":"open"},'
        '"call":{"name":"recv","fd":4,"bytes":2},"part":{"name":"[0]","old":5,"new":7,"activation":null},"operation":null,'
        '"own":{"file":"main.py","line":3,"column":0,"function":"main"},'
        '"stack":[{"file":"main.py","line":3,"column":0,"function":"main"}],"stack_cut":false,"stack_inexact":false,'
        '"aliases":[{"variable":"t","variable_id":4,"name":"[0]"}],"aliases_cut":false,'
        '"request":{"label":"line 3","outer":["order 17"],"task":"Task-1",'
        '"trace_id":"4bf94bf94bf94bf94bf94bf94bf94bf9","span_id":"00f000f000f000f0"},'
        '"native":{"file":"/usr/lib/libz.so.1","line":0,"column":0,"function":"inflate+0x4c"}}\n'
    )


def keys(heading: str) -> dict[str, str]:
    """Key -> type, of the first table behind a piece of the page."""
    rows = re.search(r"(\n\|.*)+", PAGE.split(heading, 1)[1])
    assert rows
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[0].strip().splitlines()[2:]]
    return {cell[0].strip("`"): cell[1] for cell in cells}


KINDS: dict[str, Any] = {
    "integer": int, "string": str, "boolean": bool, "object": dict, "array": list, "null": type(None),
    "any": object,
}  # fmt: skip


@pytest.mark.parametrize(
    ("heading", "record", "part"),
    [
        ("## Events", EVENT, None),
        ("\n`site`:", EVENT, "site"),
        ("\n`context`:", EVENT, "context"),
        ("\n`call`:", EVENT, "call"),
        ("\n`part`:", EVENT, "part"),
        ("\n`aliases`, each:", EVENT, "aliases"),
        ('`"event": "watched"`', Watched(1, VARIABLE, 5), None),
        ('`"event": "merged"`', MERGED, None),
        ("\n`spans`, each;", MERGED, "spans"),
        ("\n`old` and `new`:", MERGED, "new"),
        ('`"event": "unwatched"`', Unwatched(1, 2, "n", 3), None),
        ('`"event": "unwatched"`', Unwatched(1, 2, "n", 3, "j", "rebound", EVENT.site, "n", "plain"), None),
        ('`"event": "unfollowed"`', Unfollowed(1, 2, "n", 3, "j", 4, "kind", "deque", ".q"), None),
        ('`"event": "lost"`', Lost(1, 2, 3, "why", "n"), None),
        ('`"event": "outcome"`', Outcome(1, 2, "rolled back", (3, 4), 3, 7), None),
        ('`"event": "notice"`', Notice(1, 2, "text"), None),
    ],
)
def test_page_has_a_row_for_each_field_in_order_and_of_its_type(heading: str, record: Record, part: str | None) -> None:
    line = json.loads(encode([record]))
    line = line[part] if part else line
    line = line[0] if isinstance(line, list) else line
    rows = keys(heading)
    assert list(rows) == list(line)
    for name, value in line.items():
        assert any(isinstance(value, KINDS[kind]) for kind in rows[name].split(" or ")), name


class Awkward:
    def __repr__(self) -> str:
        raise RuntimeError


class Text(str):
    pass


class Number(int):
    pass


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"), (True, "true"), (-5, "-5"), (-(2**63), "-9223372036854775808"), (2**63, "9223372036854775808"),
        (2**64, "18446744073709551616"), (1.0, "1.0"), (1e16, "1e+16"), (-0.0, "-0.0"), (5e-324, "5e-324"),
        (math.nan, '"NaN"'), (math.inf, '"Infinity"'), (-math.inf, '"-Infinity"'), (b"\0\xff", '"00ff"'),
        (bytearray(b"a"), '"61"'), (memoryview(b"a"), '"61"'),
        ("a\"\\\n\x01\x7fé€😀", '"a\\"\\\\\\n\\u0001\\u007fé€😀"'),
        ("x\udc80", '"x\\\\udc80"'), ((1, "a"), '[1,"a"]'),
        (Row(3, 9.5), '{"qty":3,"price":9.5}'), ({1: {2}}, '{"1":[2]}'),
        (Text("t"), '"t"'), (Number(5), "5"), (3 + 4j, '"(3+4j)"'), (Awkward(), '"<Awkward>"'),
        ([Awkward()], '["<Awkward>"]'),
        (Shown("[1, 'a\x9b']"), '{"shown":"[1, \'a\\u009b\']"}'), ((Shown("\udc80"),), '[{"shown":"\\\\udc80"}]'),
    ],
)  # fmt: skip
def test_value_is_written_as_the_page_says(value: Any, text: str) -> None:
    assert value_json(value).decode() == text
    event = msgspec.structs.replace(EVENT, old=value, new=0, site=None, context=None)
    assert f'"old":{text},"new":0,' in encode([event]).decode()


def test_contexts_that_events_have_in_common_are_not_mixed_up() -> None:
    """More of them, and again and again, than the encoder remembers; some are gone before the next."""
    for number in range(300):
        contexts = [Context(at, "d", f"SELECT {number}", "") for at in range(number % 20 + 1)]
        events = [msgspec.structs.replace(EVENT, context=contexts[at % len(contexts)]) for at in range(40)]
        lines = [json.loads(line)["context"] for line in encode(events).splitlines()]
        assert [(line["id"], line["statement"]) for line in lines] == [
            (at % len(contexts), f"SELECT {number}") for at in range(40)
        ]


def test_huge_and_deep_values_are_written() -> None:
    huge = 10**5000
    assert json.loads(value_json(huge)) == hex(huge)
    deep: Any = 1
    for _ in range(500):
        deep = [deep]
    event = msgspec.structs.replace(EVENT, old=deep, new=0, site=None, context=None)
    assert encode([event]) == record_json(event) + b"\n"
    endless: list[Any] = []
    endless.append(endless)
    assert json.loads(value_json(endless))


@given(st.integers(0, 2**64 - 1))
def test_time_is_exact_to_the_microsecond(ns: int) -> None:
    text = json.loads(encode([Notice(ns, 1, "")]))["time"]
    expected = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=ns // 1000)
    assert datetime.fromisoformat(text) == expected
    assert len(text) == 27
    event = msgspec.structs.replace(EVENT, seq=1, time_ns=ns)
    assert json.loads(encode([event]))["time"] == text


@pytest.mark.parametrize("ns", [-1, 2**64, 2**80])
def test_time_that_is_none_does_no_harm(ns: int) -> None:
    event = msgspec.structs.replace(EVENT, seq=1, time_ns=ns)
    assert encode([event]) == record_json(event) + b"\n"


def test_what_is_no_record_is_refused() -> None:
    with pytest.raises(TypeError, match="not a record: int"):
        encode([5])  # type: ignore[list-item]
