"""What people read: right in a pipe, on a terminal, on a narrow one, and harmless whatever the program's data holds."""

from __future__ import annotations

import io
import re
from collections import namedtuple
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from memwatch_sink_console import ConsoleSink, Settings

from memwatch_core.records import (
    Call,
    Context,
    Event,
    Lost,
    Notice,
    Outcome,
    Part,
    Record,
    Site,
    Unwatched,
    Variable,
    Watched,
)
from memwatch_core.rendering import written
from memwatch_plugins.layout import width
from memwatch_plugins.text import Lines, change, clean, short_path, shorten

ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
NOW = 1_764_000_000_123_456_789
HERE = Site("/project/orders.py", 41, "set_limit")
SQL = Context(9, "sqlite3", "SELECT qty\nFROM orders WHERE day = ?", "ab")


def event(**changes: Any) -> Event:
    values: dict[str, Any] = {
        "seq": 1, "time_ns": NOW, "pid": 7, "runtime": "python", "tid": 8, "thread": "worker-1", "variable": "total",
        "variable_id": 3, "path": None, "origin": "announced", "offset": 0, "before": b"\5" + bytes(7),
        "after": b"\7" + bytes(7), "old": 5, "new": 7, "changed": True, "exact": True,
        "site": Site("/project/orders.py", 41, "add_order"), "context": None,
    }  # fmt: skip
    return Event(**(values | changes))


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def printed(*records: Record, stream: io.StringIO | None = None, **settings: Any) -> str:
    stream = stream or io.StringIO()
    sink = ConsoleSink(Settings(**settings), stream)
    sink.write(list(records))
    sink.flush()
    sink.close()
    return stream.getvalue()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "140")
    return Terminal()


def test_event_in_a_pipe_is_one_plain_aligned_line() -> None:
    lines = printed(event(), event(variable="n", old=None, new=None, context=SQL)).splitlines()
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d\.123  total   5 -> 7 +/project/orders\.py:41  add_order  worker-1", lines[0]
    ), lines
    assert "n[0:8]  0500000000000000 -> 0700000000000000" in lines[1]
    assert lines[1].endswith("worker-1  sqlite3: SELECT qty FROM orders WHERE day = ?")
    assert "\x1b" not in "".join(lines)


def test_columns_stand_in_line_for_every_batch() -> None:
    stream = io.StringIO()
    sink = ConsoleSink(Settings(), stream)
    sink.write([event(variable="a"), event(variable="a_longer_name", thread="MainThread"), event(old=10**9)])
    sink.write([event(variable="b", site=Site("/x.py", 1, "f"))])
    lines = stream.getvalue().splitlines()
    assert len({line.index(" -> ") - len(line.split(" -> ")[0].split()[-1]) for line in lines}) == 1
    assert len({line.index(".py:") - len(line.split(".py:")[0].split()[-1]) for line in lines}) == 1
    assert len({line.rindex("  ") for line in lines}) == 1


def test_terminal_gets_colours_and_the_same_words(terminal: Terminal) -> None:
    text = printed(event(context=SQL), stream=terminal)
    assert "\x1b[" in text
    plain = ESCAPE.sub("", text)
    assert "total  5 → 7" in plain
    assert "orders.py:41  add_order  worker-1  sqlite3: SELECT qty FROM" in plain


@pytest.mark.parametrize("variable", ["NO_COLOR", "TERM"])
def test_no_color_is_honoured(terminal: Terminal, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "dumb" if variable == "TERM" else "1")
    assert "\x1b" not in printed(event(), stream=terminal)


def test_narrow_terminal_puts_the_statement_below(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    first, second = ESCAPE.sub("", printed(event(context=SQL), stream=terminal)).splitlines()
    assert "sqlite3" not in first
    assert second == " " * 14 + "sqlite3: SELECT qty FROM orders WHERE day = ?"


def test_unchanged_and_lifecycle_are_shown_unless_changes_only() -> None:
    variable = Variable(3, "total", 7, "python", 8, "int64", {}, watched_at=Site("/project/orders.py", 12, "main"))
    records: list[Record] = [
        Notice(NOW, 7, "journal opened"),
        Watched(NOW, variable, 5),
        event(new=5, changed=False),
        Unwatched(NOW, 7, "total", 3),
        Lost(NOW, 7, 1200, "disk full", "total"),
    ]
    lines = [line[14:] for line in printed(*records).splitlines()]
    assert lines == [
        "journal opened",
        "total is watched: 5  (int64)  /project/orders.py:12  main",
        "total  5 (unchanged)  /project/orders.py:41  add_order  worker-1",
        "watch of total ended",
        "LOST 1,200 stores of total: disk full",
    ]
    assert [line[14:] for line in printed(*records, show="changes").splitlines()] == lines[-1:]


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (Unwatched(NOW, 7, "limit", 3, why="rebound", site=HERE, target="limit"), ": rebound at PLACE set_limit"),
        (Unwatched(NOW, 7, "o.limit", 3, why="rebound", site=HERE, target=".limit"), ": rebound at PLACE set_limit"),
        (Unwatched(NOW, 7, "limit", 3, why="rebound", site=HERE, target="x"), ": x was rebound at PLACE set_limit"),
        (
            Unwatched(NOW, 7, "limit", 3, why="rebound", site=HERE, target="[]"),
            ": an item was replaced at PLACE set_limit",
        ),
        (Unwatched(NOW, 7, "limit", 3, why="rebound", site=HERE), ": a name was rebound at PLACE set_limit"),
        (
            Unwatched(NOW, 7, "limit", 3, why="replaced", site=HERE, target="limit"),
            ": given another watched value at PLACE set_limit",
        ),
        (Unwatched(NOW, 7, "limit", 3, why="deleted", site=HERE, target="limit"), ": deleted at PLACE set_limit"),
        (Unwatched(NOW, 7, "limit", 3, why="left", site=HERE), ": set_limit ended at PLACE"),
        (Unwatched(NOW, 7, "limit", 3, why="dropped", site=HERE), ": dropped at PLACE set_limit"),
        (Unwatched(NOW, 7, "limit", 3, why="dropped"), ": dropped"),
        (
            Unwatched(NOW, 7, "limit", 3, why="collected", site=HERE),
            ": dropped during a garbage collection at PLACE set_limit",
        ),
        (Unwatched(NOW, 7, "limit", 3, why="unwatched", site=HERE), ": unwatch() at PLACE set_limit"),
        (Unwatched(NOW, 7, "limit", 3, why="exit"), " with the program"),
        (Unwatched(NOW, 7, "limit", 3, why="closed"), " with its session"),
        (
            Unwatched(NOW, 7, "limit", 3, why="released", site=HERE, target="munmap"),
            ": its memory was unmapped (munmap) at PLACE set_limit",
        ),
        (
            Unwatched(NOW, 7, "limit", 3, why="released", site=HERE, target="syscall"),
            ": its memory was given up (syscall) at PLACE set_limit",
        ),
        (Unwatched(NOW, 7, "limit", 3, why="released", target="realloc"), ": its memory was resized (realloc)"),
        (
            Unwatched(NOW, 7, "limit", 3, why="taken"),
            ": its memory is no longer there, or something else's; since when isn't known",
        ),
        (Unwatched(NOW, 7, "limit", 3), ""),
    ],
)
def test_end_of_a_watch_says_where_and_why(record: Unwatched, said: str) -> None:
    (line,) = printed(record).splitlines()
    assert line[14:] == f"watch of {record.variable} ended{said.replace('PLACE', '/project/orders.py:41')}"


def test_variables_of_one_name_are_told_apart_by_their_numbers_from_the_second_on() -> None:
    def watched(ident: int) -> Watched:
        return Watched(NOW, Variable(ident, "total", 7, "python", 8, "int64", {}, journal="7-python"), 5)

    def written(ident: int) -> Event:
        return event(variable="total", variable_id=ident, journal="7-python")

    other = event(variable="total", variable_id=57, journal="8-python")
    lines = Lines(width=None)
    shown = [
        [line[14:].split(" ")[0] for line in lines.format(batch)]
        for batch in (
            [watched(3), written(3), other],
            [written(3), watched(57), written(57), Unwatched(NOW, 7, "total", 3, "7-python"), written(57), other],
        )
    ]
    assert shown == [["total"] * 3, ["total#3", "total#57", "total#57", "watch", "total#57", "total"]]
    (ended,) = lines.format([Unwatched(NOW, 7, "total", 57, "7-python")])
    assert ended[14:] == "watch of total#57 ended"


def test_second_process_makes_threads_say_which() -> None:
    assert printed(event(), event(pid=9)).splitlines()[1].endswith("9/worker-1")


def test_unknown_place_and_inexact_place_say_so() -> None:
    assert "(unknown place)" in printed(event(site=None))
    assert "orders.py:41?  add_order" in printed(event(exact=False))


def test_call_that_filled_a_buffer_stands_behind_the_place() -> None:
    line = printed(event(origin="syscall", call=Call("read", 5, 100)))
    assert "orders.py:41  add_order  read(5) = 100  worker-1" in line
    assert "add_order  getrandom() = 8  worker-1" in printed(event(origin="syscall", call=Call("getrandom", -1, 8)))


def test_long_value_is_shortened_around_what_changed() -> None:
    old, new = b"a" * 500 + b"x" + b"b" * 500, b"a" * 500 + b"y" + b"b" * 500
    part, before, after = change(event(old=old, new=new), 40)
    assert part == ""
    assert len(before) == len(after) == 40
    assert "x" in before
    assert "y" in after
    assert before[0] == after[-1] == "…"


def test_only_changed_fields_of_a_struct_are_shown() -> None:
    old = {"qty": 1, "price": 2.5, "n": 0}
    assert change(event(old=old, new=old | {"qty": 3}), 40) == (".qty", "1", "3")
    assert change(event(old=old, new=old | {"qty": 3, "n": 1}), 40) == ("", "qty=1, n=0", "qty=3, n=1")
    order = namedtuple("order", "qty price")
    assert change(event(old=order(1, 2.5), new=order(1, 3.5)), 40) == (".price", "2.5", "3.5")
    assert change(event(old=(1, 2), new=(1, 3)), 40) == ("[1]", "2", "3")
    assert change(event(old=(1, 2), new=(1, 2), changed=False), 40) == ("", "(1, 2)", "(1, 2)")
    line = printed(event(variable="order", old=order(1, 2.5), new=order(1, 3.5)))
    assert "order.price  2.5 -> 3.5" in line


@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_part_of_a_buffer_is_shown_by_its_range(kind: Any) -> None:
    old = bytes(range(40))
    for start, after in ((24, b"abcdefgh"), (0, b"x"), (39, b"\0"), (8, old[8:16])):
        stop = start + len(after)
        new = old[:start] + after + old[stop:]
        part = Part(f"[{start}:{stop}]", old[start:stop], after)
        written = event(variable="buf", old=kind(old), new=kind(new), changed=old != new, part=part)
        assert change(written, 60) == (f"[{start}:{stop}]", repr(old[start:stop]), repr(after))
        large = event(variable="buf", old=None, new=None, changed=old != new, part=part)
        assert change(large, 60) == change(written, 60), "a value that isn't decoded as a whole looks the same"
    whole = event(old=kind(old), new=kind(old[::-1]), part=Part("[0:40]", old, old[::-1]))
    assert change(whole, 400) == ("", repr(kind(old)), repr(kind(old[::-1])))
    longer = event(old=kind(b"ab"), new=kind(b"abc"), part=Part("[0:3]", b"ab", b"abc"))
    assert change(longer, 40) == ("", repr(kind(b"ab")), repr(kind(b"abc")))
    shorter = event(variable="buf", old=None, new=None, part=Part("len()", 7, 6))
    assert "len(buf)  7 -> 6" in printed(shorter)


def test_elements_of_an_array_are_shown_by_their_numbers() -> None:
    one = event(variable="a", old=None, new=None, part=Part("[8191]", 0.0, 1.5))
    assert "a[8191]  0.0 -> 1.5" in printed(one)
    some = event(variable="a", old=None, new=None, part=Part("[4:7]", [1, 2, 3], [1, 5, 6]))
    assert change(some, 40) == ("", "[5]=2, [6]=3", "[5]=5, [6]=6")
    same = event(variable="a", old=None, new=None, changed=False, part=Part("[4:7]", [1, 2, 3], [1, 2, 3]))
    assert "a[4:7]  [1, 2, 3] (unchanged)" in printed(same)
    unknown = event(variable="a", old=None, new=None, before=b"\0", after=b"\1", part=Part("[3]", None, None))
    assert "a[3]  00 -> 01" in printed(unknown)


def test_what_was_written_to_a_part_under_statements_is_put_together() -> None:
    parts = [Part("[3]", 1, 2), Part("[3]", 2, 9)]
    written = [under(4, variable="a", old=None, new=None, seq=seq, part=part) for seq, part in enumerate(parts, 1)]
    back = Outcome(NOW, 7, "rolled back", (4,), 4, 2)
    assert "under which were written: a[3] 1 -> 9 (2 writes)" in printed(*written, back)
    written = [under(4, variable="a", old=[1, 1], new=[2, 1], seq=1, part=Part("[0]", 1, 2)),
               under(4, variable="a", old=[2, 1], new=[2, 5], seq=2, part=Part("[1]", 1, 5))]  # fmt: skip
    assert "under which were written: a [0]=1, [1]=1 -> [0]=2, [1]=5 (2 writes)" in printed(*written, back)


def under(ident: int, statement: str = "INSERT INTO orders VALUES (?)", **changes: Any) -> Event:
    return event(context=Context(ident, "sqlite3", statement, "ab"), **changes)


BACK = [
    under(4, old=5, new=7, seq=1),
    under(5, old=7, new=12, seq=2),
    under(6, "UPDATE orders SET price = ?", variable="price", variable_id=4, old=1.5, new=3.0, seq=3),
]


def test_rollback_says_what_was_written_under_what() -> None:
    back = Outcome(NOW, 7, "rolled back", (4, 5, 6), 4, 3)
    assert printed(*BACK, back).splitlines()[-1][14:] == (
        "rolled back: 3 statements, under which were written: total 5 -> 12 (2 writes), price 1.5 -> 3.0"
        "  sqlite3: INSERT INTO orders VALUES (?) x2; UPDATE orders SET price = ?"
    )
    parts = [Outcome(NOW, 7, "rolled back", (6,), 4, 1), Outcome(NOW, 7, "rolled back", (4, 5), 4, 2)]
    assert printed(*BACK, *parts) == printed(*BACK, back), "the statement in force at the end has a record of its own"
    assert len(printed(*BACK, *parts, show="changes").splitlines()) == 4


def test_failure_is_shown_and_commits_only_if_all_is() -> None:
    failed = Outcome(NOW, 7, "failed: IntegrityError", (4,), 0, 1)
    assert "failed: IntegrityError: 1 statement, under which were written: total 5 -> 7" in printed(BACK[0], failed)
    committed = Outcome(NOW, 7, "committed", (4, 5), 4, 2)
    assert "committed: 2 statements, under which" in printed(*BACK, committed)
    assert "committed" not in printed(*BACK, committed, show="changes")
    assert "committed" not in printed(BACK[0], Outcome(NOW, 7, "committed", (4,), 0, 1)), "nobody rolls that back"


def test_rollback_of_much_stays_one_line_and_of_the_forgotten_says_how_much(monkeypatch: pytest.MonkeyPatch) -> None:
    many = [under(n, f"INSERT {n}", variable=f"v{n}", variable_id=n, seq=n) for n in range(1, 31)]
    line = printed(*many, Outcome(NOW, 7, "rolled back", tuple(range(1, 31)), 1, 30)).splitlines()[-1]
    assert "v3 5 -> 7, v4 5 -> 7, and 26 more  sqlite3: INSERT 1; INSERT 2; INSERT 3; and 27 more" in line
    many += [under(30, variable="v30", variable_id=30, old=7, new=9, seq=31)] * 3
    monkeypatch.setattr(written, "MOST", 10)
    line = printed(*many, Outcome(NOW, 7, "rolled back", (1, 30), 1, 5), show="changes").splitlines()[-1]
    assert "v30 5 -> 9 (4 writes) (of the last 4 of 5 events)" in line
    line = printed(*many, Outcome(NOW, 7, "rolled back", (1, 2), 1, 12)).splitlines()[-1]
    assert line.endswith("rolled back: 2 statements, under which 12 events were reported")


def test_rollback_on_a_terminal_puts_statements_below_and_nothing_is_wider(terminal: Terminal) -> None:
    back = Outcome(NOW, 7, "rolled back", (4, 5, 6), 4, 3)
    lines = ESCAPE.sub("", printed(*BACK, back, stream=terminal)).splitlines()
    assert lines[-1] == " " * 14 + "sqlite3: INSERT INTO orders VALUES (?) x2; UPDATE orders SET price = ?"
    assert lines[-2].endswith("total 5 → 12 (2 writes), price 1.5 → 3.0")
    assert all(len(line) <= 140 for line in lines)


def test_event_of_a_log_says_what_became_of_its_statement() -> None:
    for outcome, mark in (
        ("rolled back", "rolled back: "),
        ("failed: E", "failed: E: "),
        ("committed", ""),
        ("open", ""),
    ):
        context = Context(4, "sqlite3", "INSERT", "", outcome=outcome)
        assert printed(event(context=context)).endswith(f"worker-1  {mark}sqlite3: INSERT\n")


def test_stream_that_can_not_encode_gets_escapes() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", write_through=True)
    sink = ConsoleSink(Settings(), stream)
    sink.write([event(variable="größe", old="x" * 100, new="y" * 100)])
    assert b"gr\\xf6\\xdfe" in raw.getvalue()
    assert b"->" in raw.getvalue()


def test_reader_that_went_away_raises_for_the_pipeline_to_handle() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError(32, "Broken pipe")

    with pytest.raises(BrokenPipeError):
        printed(event(), stream=Gone())


hostile = st.text(st.characters(), max_size=40)


@given(hostile, hostile, hostile, hostile, hostile)
def test_no_control_character_of_the_program_reaches_the_terminal(
    name: str, thread: str, file: str, statement: str, value: str
) -> None:
    records: list[Record] = [
        event(variable=name, path=value, thread=thread, old=value, new=name, site=Site(file, 3, value),
              context=Context(1, thread, statement, "")),
        Watched(NOW, Variable(3, name, 7, "python", 8, value, {}), value),
        Unwatched(NOW, 7, name, 3),
        Lost(NOW, 7, 1, value, name),
        Notice(NOW, 7, statement),
        Outcome(NOW, 7, "rolled back", (1,), 1, 1),
        Outcome(NOW, 7, value, (1,), 1, 1),
    ]  # fmt: skip
    for line in Lines(width=None).format(records):
        assert line.isprintable(), ascii(line)
        line.encode("utf-8")


@given(st.text(max_size=60), st.integers(8, 50), st.integers(0, 60))
def test_shortened_text_keeps_limit_and_place(text: str, limit: int, around: int) -> None:
    text = text.replace("…", ".")
    short = shorten(text, limit, around)
    assert width(short) <= limit
    if width(text) <= limit:
        assert short == text
    else:
        assert short.strip("…") in text
        assert "…" in short
        if around < len(text):
            assert text[around] in short


@given(st.text(max_size=50))
def test_clean_text_is_one_printable_line(text: str) -> None:
    assert clean(text).isprintable()
    assert text != "".join(filter(str.isprintable, text)) or clean(text) == text


def test_paths_are_named_from_where_one_is() -> None:
    assert short_path("/a/b/c.py", "/a") == "b/c.py"
    assert short_path("/a/bb/c/d.py", "/a/b") == "…/c/d.py"
    assert short_path("/a/bb/c/d.py", "/a/b", True) == "/a/bb/c/d.py"
    assert short_path("<string>", "/a") == "<string>"
