"""``memwatch strip``: a copy that says who, where, when and how often, and no value."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import leaks
import pytest
from click.testing import CliRunner, Result
from console_script import SCRIPT, environment
from hypothesis import given, settings
from hypothesis import strategies as st

from memwatch_core.cli.group import group
from memwatch_core.host.stripping import strip
from memwatch_core.journal import layout, stripped
from memwatch_core.journal.layout import Kind
from memwatch_core.journal.stripped_numbers import numbers_of
from memwatch_core.journal.stripped_text import What, parts_of, without_values

VALUES = ("old", "new", "before", "after")


def run(folder: Path, *arguments: str) -> Result:
    done = CliRunner().invoke(group, [*arguments, "--folder", str(folder / ".memwatch")], terminal_width=80)
    assert done.exception is None or isinstance(done.exception, SystemExit | Exception)
    return done


def rows(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    done = run(folder, *arguments, "--json")
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def record(folder: Path, settings: str = "", *, end: str = "exit", arguments: Sequence[str] = ()) -> Path:
    """Runs the program of secrets, which keeps none; the session."""
    leaks.program(folder, secret=False, end=end)
    (folder / "memwatch.toml").write_text(settings)
    subprocess.run(
        [SCRIPT, "run", "-q", "program.py", *arguments], cwd=folder, env=environment(), capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    (session,) = (folder / ".memwatch").iterdir()
    return session


@pytest.fixture(scope="module", params=["exit", "fork"])
def copied(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A folder, the session in it, and its copy. With a fork, its processes were killed."""
    folder = tmp_path_factory.mktemp(request.param)
    session = record(folder, end=request.param, arguments=["--password=sekret"])
    done = run(folder, "strip", session.name, "--output", str(folder / "copy"))
    assert done.exit_code == 0, done.output
    return folder, session, folder / "copy"


def test_no_file_of_the_copy_has_a_value(copied: tuple[Path, Path, Path]) -> None:
    _, session, copy = copied
    assert leaks.found(b"".join(path.read_bytes() for path in session.iterdir())), "they were there"
    assert not {path.name: leaked for path in copy.iterdir() if (leaked := leaks.found(path.read_bytes()))}
    assert {path.name for path in copy.iterdir()} == {
        "session.json", *(path.name for path in session.iterdir() if path.suffix == ".mwj"),
    }  # fmt: skip
    assert stat.S_IMODE(copy.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in copy.iterdir()} == {0o600}


def test_copy_says_the_same_but_for_values(copied: tuple[Path, Path, Path]) -> None:
    folder, session, copy = copied
    original, copied_rows = rows(folder, "log", str(session)), rows(folder, "log", str(copy))
    events = [[row for row in some if row.get("seq")] for some in (original, copied_rows)]
    assert len(events[0]) > 600
    for one, other in zip(*events, strict=True):
        assert len(one["before"]) == len(other["before"])
        assert one["changed"] == other["changed"]
        for row in (one, other):
            for key in VALUES:
                row.pop(key)
            if row["part"] is not None:
                row["part"] = re.sub(r"\{.*", "{", row["part"]["name"])
            if row["variable"] in ("name", "token"):
                row["part"] = None  # how long they are is a value
            row["aliases"] = None
        assert one == other
    assert not [row for row in copied_rows if row.get("event") == "lost"]
    assert not [row for row in copied_rows if "changed" in str(row.get("text"))]


def test_copy_is_asked_as_the_session_is(copied: tuple[Path, Path, Path]) -> None:
    folder, session, copy = copied
    for variable in ("pin", "card", "slots", "shared"):
        found = []
        for one in (session, copy):
            told = [row for row in rows(folder, "blame", variable, "--session", str(one)) if "lost" not in str(row)[:9]]
            found.append([(row.get("part"), row.get("writes"), (row.get("event") or {}).get("seq")
                           if isinstance(row.get("event"), dict) else row.get("event")) for row in told])  # fmt: skip
        assert found[0] == found[1], variable
    assert "<secret " in run(folder, "history", "pin", "--session", str(copy)).output
    assert run(folder, "at", "end", "--session", str(copy)).exit_code in (0, 1, 2)


def test_lost_update_is_found_in_a_copy(copied: tuple[Path, Path, Path]) -> None:
    folder, _, copy = copied
    assert "lost update of shared" in run(folder, "blame", "shared", "--session", str(copy)).output


def test_equal_values_of_a_place_are_equal_in_the_copy(copied: tuple[Path, Path, Path]) -> None:
    folder, session, copy = copied
    values: dict[tuple[Any, Any, Any], dict[str, set[str]]] = {}
    told = [[row for row in rows(folder, "log", str(each)) if row.get("seq")] for each in (session, copy)]
    for one, other in zip(*told, strict=True):
        if one["variable"] in ("pin", "user", "rate"):
            key = one["pid"], one["variable"], str(one["part"] and one["part"]["name"])
            for side in ("before", "after"):
                values.setdefault(key, {}).setdefault(one[side], set()).add(other[side])
    compared = 0
    for kinds in values.values():
        assert all(len(others) == 1 for others in kinds.values())
        assert len({min(others) for others in kinds.values()}) == len(kinds)
        compared += len(kinds)
    assert compared > 10


def test_arguments_and_settings_are_left_out(copied: tuple[Path, Path, Path]) -> None:
    _, session, copy = copied
    description = json.loads((copy / "session.json").read_text())
    assert len(description["command"]) == 1
    assert description["session"] == json.loads((session / "session.json").read_text())["session"]


def test_keys_and_labels_are_left_out_if_asked(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("""
from memwatch_core import label, watch
config = {"sekret-key": {"sekret-deep": 1}, 3: 1, (1, "sekret"): 2}
watch(config, name="config")
with label("order sekret"):
    config["sekret-key"]["sekret-deep"] = 2
    config[3] = 2
    config["sekret-new"] = 3
    config[1, "sekret"] = 4
""")
    subprocess.run(
        [SCRIPT, "run", "-q", "program.py"], cwd=tmp_path, env=environment(), capture_output=True, check=True
    )
    (session,) = (tmp_path / ".memwatch").iterdir()
    for options in ([], ["--keys"], ["--keys", "--labels"]):
        copy = tmp_path / f"copy{len(options)}"
        assert run(tmp_path, "strip", str(session), "-o", str(copy), *options).exit_code == 0
        data = b"".join(path.read_bytes() for path in copy.iterdir())
        assert (b"sekret-key" in data, b"order sekret" in data) == (not options, len(options) < 2)
        assert (b"sekret" in data) == (len(options) < 2)
        events = [row for row in rows(tmp_path, "log", str(copy)) if row.get("seq")]
        names = [row["part"]["name"] for row in events]
        assert len(set(names)) == 4
        assert "[3]" in names
        assert all(row["request"]["label"] for row in events)


def test_parameters_and_values_under_statements_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "memwatch.toml").write_text('[sql]\nparameters = "full"\n[watch]\ntrack_sql = true\n')
    (tmp_path / "program.py").write_text("""
import sqlite3
from memwatch_core import watch
total = watch(0, name="total")
db = sqlite3.connect(":memory:")
db.execute("CREATE TABLE t (a TEXT)")
for i in range(3):
    row = db.execute("SELECT ?, 'sekret-literal', ?", ("sekret-parameter" * (i + 1), i)).fetchone()
    total += 1
""")
    subprocess.run(
        [SCRIPT, "run", "-q", "program.py"], cwd=tmp_path, env=environment(), capture_output=True, check=True
    )
    (session,) = (tmp_path / ".memwatch").iterdir()
    assert run(tmp_path, "strip", str(session), "-o", str(tmp_path / "copy")).exit_code == 0
    assert b"sekret" not in b"".join(path.read_bytes() for path in (tmp_path / "copy").iterdir())
    contexts = [row["context"] for row in rows(tmp_path, "log", str(tmp_path / "copy")) if row.get("seq")]
    assert [each["statement"] for each in contexts] == ["SELECT ?, ?, ?"] * 3
    assert len({each["statement_hash"] for each in contexts}) == 1
    assert len({tuple(each["parameters"]) for each in contexts}) == 3


def test_first_value_of_a_place_is_left_out_and_the_type_of_an_object_stays(tmp_path: Path) -> None:
    """Values that are written as a type would be, too."""
    (tmp_path / "program.py").write_text("""
import enum
from types import SimpleNamespace
from memwatch_core import watch, watch_place
class Diagnosis(enum.Enum):
    SEKRET = 1
values = [
    Diagnosis.SEKRET, float("nan"), -float("inf"), True, None, ..., NotImplemented, "a.b", int, SimpleNamespace(), 5,
]
patient = SimpleNamespace(**{f"p{number}": value for number, value in enumerate(values)})
for number in range(len(values)):
    watch_place(patient, f"p{number}")
class Order: pass
watch([Order() for _ in range(9)], name="many", max_objects=3)
watch(Order(), name="order")
""")
    run_it = [SCRIPT, "run", "-q", "program.py"]
    subprocess.run(run_it, cwd=tmp_path, env=environment(), capture_output=True, check=True)
    (session,) = (tmp_path / ".memwatch").iterdir()
    assert run(tmp_path, "strip", str(session), "-o", str(tmp_path / "copy")).exit_code == 0
    assert b"SEKRET" not in b"".join(path.read_bytes() for path in (tmp_path / "copy").iterdir())
    text = run(tmp_path, "log", str(tmp_path / "copy")).stdout
    said = dict(re.findall(r"(\S+) is watched: (.*?)  ", text))
    assert said.pop("order") == "Order"
    assert said.pop("many") == "list"
    assert said == {f"patient.p{number}": "a value" for number in range(11)}


def test_copy_says_how_a_place_went(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("""
from memwatch_core import watch
entries, items, more = {"a": 1, "b": "x"}, [3, 1, 2], {"c": 1}
for number, each in enumerate((entries, items, more)):
    watch(each, name=f"v{number}")
entries.clear()
items.sort()
items.clear()
del more["c"]
""")
    subprocess.run(
        [SCRIPT, "run", "-q", "program.py"], cwd=tmp_path, env=environment(), capture_output=True, check=True
    )
    (session,) = (tmp_path / ".memwatch").iterdir()
    assert run(tmp_path, "strip", str(session), "-o", str(tmp_path / "copy")).exit_code == 0
    said = [
        [(row["variable"], row["operation"]) for row in rows(tmp_path, "log", str(each)) if row.get("seq")]
        for each in (session, tmp_path / "copy")
    ]
    assert said[0] == said[1]
    assert ("v0", "clear") in said[0]


def test_journal_that_was_rotated_and_whose_process_was_killed_is_copied(tmp_path: Path) -> None:
    (tmp_path / "memwatch.toml").write_text('[journal]\nmax_bytes = 4194304\npolicy = "rotate"\n')
    (tmp_path / "program.py").write_text("""
import os, signal
from memwatch_core import watch
class Thing: pass
x, thing = watch(0, name="x"), Thing()
thing.word = "sekret"
watch(thing, name="thing")
for i in range(60000):
    x.value = i
    if not i % 100: thing.word = "sekret" + str(i)
os.kill(os.getpid(), signal.SIGKILL)
""")
    run_it = [sys.executable, "program.py"]
    subprocess.run(run_it, cwd=tmp_path, env=environment(), capture_output=True, check=False, timeout=60)
    (session,) = (tmp_path / ".memwatch").iterdir()
    copy = tmp_path / "copy"
    assert run(tmp_path, "strip", str(session), "-o", str(copy)).exit_code == 0
    (journal,) = copy.glob("*.mwj")
    assert journal.stat().st_blocks * 512 < 5 << 20, "what was given back is no hole"
    assert b"sekret" not in journal.read_bytes()
    found = []
    for one in (session, copy):
        told = rows(tmp_path, "log", str(one), "--last", "300")
        found.append([(row["seq"], row["variable"], row["changed"]) for row in told if row.get("seq")])
        found.append(run(tmp_path, "blame", "thing", "--session", str(one)).output.count("are no longer there"))
    assert len(found[0]) == 300
    assert found[:2] == found[2:]
    assert found[1] == 1


def test_session_that_is_being_written_is_refused(tmp_path: Path) -> None:
    code = "from memwatch_core import watch; x = watch(1); x += 1; print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        done = run(tmp_path, "strip", next((tmp_path / ".memwatch").iterdir()).name, "-o", str(tmp_path / "copy"))
        process.communicate(b"\n", timeout=30)
    assert isinstance(done.exception, Exception)
    assert f"process {process.pid} still writes to it: wait until it has ended" in str(done.exception)
    assert not (tmp_path / "copy").exists()
    assert (
        run(tmp_path, "strip", next((tmp_path / ".memwatch").iterdir()).name, "-o", str(tmp_path / "copy")).exit_code
        == 0
    )


def test_nothing_is_overwritten_and_nothing_is_left_of_what_failed(tmp_path: Path) -> None:
    session = tmp_path / ".memwatch" / "20260101-000000-abcdef"
    session.mkdir(parents=True)
    taken = tmp_path / "taken"
    taken.mkdir()
    (session / "session.json").write_text("{}")
    assert "is there already: name another folder" in str(
        run(tmp_path, "strip", str(session), "-o", str(taken)).exception
    )
    done = run(tmp_path, "strip", str(session), "-o", str(tmp_path / "copy"))
    assert "not the description of a session" in str(done.exception)
    assert not (tmp_path / "copy").exists()
    assert "can't be made" in str(run(tmp_path, "strip", str(session), "-o", str(tmp_path / "no" / "copy")).exception)
    assert "neither a session" in str(run(tmp_path, "strip", "nosuch").exception)


def test_of_a_number_nothing_but_equality_stays(tmp_path: Path) -> None:
    """Counters, of which each byte by itself would tell when it wraps, and with that where they began."""
    (tmp_path / "program.py").write_text("""
from memwatch_core import watch
count = watch(1_234_567, name="count")
card = watch((1, 2, 3, b"abc"), name="card", format="<qIH3s", fields=["q", "i", "h", "s"])
for number in range(600):
    count += 1
    card.q += 1
    card.i += 1
    card.h += 1
""")
    subprocess.run(
        [SCRIPT, "run", "-q", "program.py"], cwd=tmp_path, env=environment(), capture_output=True, check=True
    )
    (session,) = (tmp_path / ".memwatch").iterdir()
    assert run(tmp_path, "strip", str(session), "-o", str(tmp_path / "copy")).exit_code == 0
    values: dict[tuple[str, str], list[bytes]] = {}
    last: dict[tuple[str, str], bytes] = {}
    for row in rows(tmp_path, "log", str(tmp_path / "copy")):
        if row.get("seq"):
            key = row["variable"], str(row["part"] and row["part"]["name"])
            before, after = bytes.fromhex(row["before"]), bytes.fromhex(row["after"])
            assert last.get(key, before) == before, "it goes on where it ended"
            last[key] = after
            values.setdefault(key, [before]).append(after)
        assert "changed" not in str(row.get("text"))
    assert {name: len(found[0]) for (_, name), found in values.items()} == {"None": 8, ".q": 8, ".i": 4, ".h": 2}
    for found in values.values():
        assert len({*found}) == len(found) == 601, "no two numbers are alike"
        same = sum(one == other for pair in pairwise(found) for one, other in zip(*pair, strict=True))
        assert same < 600 * len(found[0]) / 20, "a byte tells when it stays"


def test_number_that_is_stored_in_parts_is_masked_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("""
from memwatch_core import watch
zero, count, rate = watch(0, name="zero"), watch(0x0102030405060708, name="count"), watch(1.5, name="rate")
card = watch((7, 8), name="card", format="<qI", fields=["q", "i"])
views = [memoryview(each).cast("B") for each in (zero, count, rate, card)]
for view in views:
    for number in (*range(200), 3, 3):
        view[0] = number
        view[2:4] = b"ab" if number % 2 else b"cd"
        view[1] = 5
count.value = 0x0102030405060708
views[3][6:10] = b"wxyz"       # of two fields
views[3][5:12] = b"1234567"
""")
    subprocess.run(
        [SCRIPT, "run", "-q", "program.py"], cwd=tmp_path, env=environment(), capture_output=True, check=True
    )
    (session,) = (tmp_path / ".memwatch").iterdir()
    assert run(tmp_path, "strip", str(session), "-o", str(tmp_path / "copy")).exit_code == 0
    told = [rows(tmp_path, "log", str(each)) for each in (session, tmp_path / "copy")]
    assert not [row for row in told[1] if "changed" in str(row.get("text")) or row.get("event") == "lost"]
    events = [[row for row in each if row.get("seq")] for each in told]
    assert len(events[0]) == len(events[1]) > 2400
    held: dict[str, dict[int, str]] = {}
    for one, other in zip(*events, strict=True):
        assert (one["changed"], one["offset"], len(one["after"])) == (
            other["changed"], other["offset"], len(other["after"]),
        )  # fmt: skip
        now = held.setdefault(other["variable"], {})
        for number in range(0, len(other["before"]), 2):
            at = other["offset"] + number // 2
            assert now.get(at, other["before"][number : number + 2]) == other["before"][number : number + 2]
            now[at] = other["after"][number : number + 2]
    low = [row["after"] for row in events[1] if row["variable"] == "count" and row["offset"] == 0][:200]
    assert len({*low}) < 170, "they are bytes of hashes; as bytes of their own they would all differ"


@pytest.mark.parametrize(
    ("said", "numbers"),
    [
        ({"serializer": "int64", "size": 8}, [(0, 8, 8)]),
        ({"serializer": "somebody's", "size": 4}, [(0, 4, 4)]),
        ({"serializer": "bool", "size": 1}, []),
        ({"serializer": "", "size": 8}, []),
        ({"size": 8}, []),
        ({"serializer": "bytearray", "size": 900}, [(0, 8, 8)]),
        ({"serializer": "typedarray", "size": 80, "options": {"class": "BigInt64Array"}}, [(0, 80, 8)]),
        ({"serializer": "typedarray", "size": 80, "options": {"class": "Float32Array"}}, [(0, 80, 4)]),
        ({"serializer": "typedarray", "size": 80, "options": {"class": "Float16Array"}}, [(0, 80, 2)]),
        ({"serializer": "typedarray", "size": 80, "options": {"class": "Uint8ClampedArray"}}, []),
        ({"serializer": "typedarray", "size": 80, "options": {"class": "DataView"}}, []),
        ({"serializer": "struct", "size": 9, "options": {"format": "no"}}, []),
        ({"serializer": "struct", "size": 9, "options": {"format": "<b3Hx2s2dQ"}}, [(1, 7, 2), (10, 34, 8)]),
        ({"serializer": "struct", "size": 9, "options": {"format": "@bq"}}, [(8, 16, 8)]),
        ({"serializer": "struct", "size": "9", "options": None}, []),
    ],
)
def test_numbers_of_a_variable_are_known_by_its_metadata(said: dict[str, Any], numbers: list[Any]) -> None:
    assert numbers_of(said) == numbers


def test_copy_into_the_session_itself_is_refused(many: Path, tmp_path: Path) -> None:
    before = sorted(many.iterdir())
    (tmp_path / "link").symlink_to(many)
    for inside in (many / "inside", tmp_path / "link" / "inside", many / ".." / many.name / "inside"):
        done = run(tmp_path, "strip", str(many), "-o", str(inside))
        assert "lies in the session itself: name another folder with --output" in str(done.exception)
    assert sorted(many.iterdir()) == before


@pytest.mark.parametrize("only", ["link", "pipe", "folder", "nothing", "another file"])
def test_session_without_a_journal_that_can_be_read_is_refused(only: str, many: Path, tmp_path: Path) -> None:
    session = tmp_path / "session"
    session.mkdir(mode=0o700)
    shutil.copy(many / "session.json", session)
    journal = session / "1-python.mwj"
    if only == "link":
        journal.symlink_to(next(many.glob("*.mwj")))
    elif only == "pipe":
        os.mkfifo(journal)
    elif only == "folder":
        journal.mkdir()
    elif only == "another file":
        journal.write_text("hello" * 1000)
    done = run(tmp_path, "strip", str(session), "-o", str(tmp_path / "copy"))
    assert f"{session}: has no journal that can be copied" in str(done.exception)
    assert only == "nothing" or "1-python.mwj" in str(done.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["session"]


MANY = """
from types import SimpleNamespace
from memwatch_core import watch
thing, room = SimpleNamespace(word="sekret"), watch(bytearray(b"sekret" * 9), name="room", capacity=900)
watch(thing, name="thing")
for number in range(22000):
    thing.word = f"sekret-{number % 100}"
    room[0:6] = b"sekret"
"""
STOPPED = """
import os, signal, sys
from pathlib import Path
from memwatch_core.host.stripping import strip
source, copy, number = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
seen = []
write = os.pwrite
def pwrite(descriptor, data, at):
    done = write(descriptor, data, at)
    seen.append(at)
    if len(seen) == 20:
        os.kill(os.getpid(), number)
    return done
os.pwrite = pwrite
strip(source, copy, False, False, lambda done, total: None)
"""


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session with many values in it."""
    folder = tmp_path_factory.mktemp("many")
    (folder / "program.py").write_text(MANY)
    run_it = [sys.executable, "program.py"]
    subprocess.run(run_it, cwd=folder, env=environment(), capture_output=True, check=True, timeout=60)
    (session,) = (folder / ".memwatch").iterdir()
    return session


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL])
def test_copy_that_a_signal_ends_leaves_no_value_and_no_folder(number: int, many: Path, tmp_path: Path) -> None:
    assert b"sekret" in b"".join(path.read_bytes() for path in many.glob("*.mwj"))
    done = subprocess.run(
        [sys.executable, "-c", STOPPED, str(many), str(tmp_path / "copy"), str(number)],
        env=environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == -number, done.stderr
    left = [*tmp_path.iterdir()]
    if number != signal.SIGKILL:
        assert not left
    for folder in left:
        assert re.fullmatch(r"\.copy-.*-unfinished", folder.name)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert b"sekret" not in b"".join(path.read_bytes() for path in folder.iterdir())


def test_disk_that_is_full_is_told_and_nothing_is_left(many: Path, tmp_path: Path) -> None:
    """A limit of a file's size stands for the disk: the system refuses to write in the same way."""
    done = subprocess.run(
        [SCRIPT, "strip", str(many), "-o", str(tmp_path / "copy")], env=environment(), capture_output=True, text=True,
        timeout=60, check=False, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20)),
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert re.search(r"copy: can't be written \(File too large\); nothing is left there", done.stderr)
    assert not [*tmp_path.iterdir()]


def test_disk_that_fills_up_is_told_and_nothing_is_left(many: Path, tmp_path: Path) -> None:
    code = STOPPED.replace("os.kill(os.getpid(), number)", "raise OSError(28, os.strerror(28))")
    done = subprocess.run(
        [sys.executable, "-c", code, str(many), str(tmp_path / "copy"), "0"],
        env=environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "copy: can't be written (No space left on device); nothing is left there" in done.stderr
    assert not [*tmp_path.iterdir()]


def test_damaged_journals_give_no_value_away(copied: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """Bytes of it are changed at random: what is no record any more is left out."""
    import random

    folder, session, _ = copied
    draw = random.Random(5)
    for number in range(2):
        damaged = tmp_path / f"damaged{number}"
        shutil.copytree(session, damaged)
        for journal in damaged.glob("*.mwj"):
            data = bytearray(journal.read_bytes())
            for _ in range(60):
                slot = draw.randrange(4096 // 64, len(data) // 64)
                data[64 * slot + draw.choice((0, 1, 2, 3, 16, 20, 24, 25))] ^= 1 << draw.randrange(8)
            journal.write_bytes(data)
        done = run(folder, "strip", str(damaged), "-o", str(tmp_path / f"copy{number}"))
        assert done.exit_code == 0, done.exception
        run(folder, "log", str(tmp_path / f"copy{number}"))


@pytest.mark.parametrize("kind", ["STORE", "CONTENT", "METADATA", "CONTEXT", "PLACE"])
def test_record_whose_kind_is_damaged_gives_no_value_away(
    kind: str, copied: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    """All of a kind become each other one."""
    _, session, _ = copied
    for other in [*Kind, 18, 255]:
        damaged = tmp_path / f"damaged{int(other)}"
        damaged.mkdir(mode=0o700)
        shutil.copy(session / "session.json", damaged)
        for journal in session.glob("*.mwj"):
            data = bytearray(journal.read_bytes())
            for at in range(4096, len(data), 64):
                if data[at] == Kind[kind]:
                    data[at] = other
            (damaged / journal.name).write_bytes(data)
        copy = tmp_path / f"copy{int(other)}"
        strip(damaged, copy, False, False, lambda done, total: None)
        assert not leaks.found(b"".join(path.read_bytes() for path in copy.iterdir())), other


@pytest.mark.parametrize(
    ("kind", "said", "kept"),
    [
        (Kind.CONTEXT, {"driver": "d", "parametert": ["sekret"], "x": "sekret", "rows": 3}, {"driver": "d", "rows": 3}),
        (Kind.CONTEXT, {"parameters": "sekret", "driver": ["sekret"]}, {}),
        (Kind.OUTCOME, {"outcome": "ended", "x": "sekret"}, {"outcome": "ended"}),
        (Kind.REQUEST, {"label": "a", "x": "sekret", "outer": ["b"]}, {"label": "a", "outer": ["b"]}),
        (Kind.METADATA, {"name": "a", "x": "sekret", "site": {"file": "f", "x": "sekret"}},
         {"name": "a", "site": {"file": "f"}}),
        (Kind.METADATA, {"shown": "Sekret.MEMBER"}, {"shown": "a value"}),
        (Kind.METADATA, {"shown": ["sekret"], "type": True}, {"shown": "a value", "type": True}),
        (Kind.METADATA, ["sekret"], {}),
    ],
)  # fmt: skip
def test_only_what_is_known_of_a_text_stays(kind: Kind, said: Any, kept: Any) -> None:
    assert json.loads(without_values(kind, json.dumps(said).encode(), 4000, What(os.urandom(16)))) == kept


@given(st.sampled_from(['["sekret"].a', ".a['sekret']", "[b'sekret'][3]", '[("sekret", 1)]']), st.data())
def test_path_with_a_damaged_byte_has_no_key(path: str, data: st.DataObject) -> None:
    damaged = bytearray(path.encode())
    damaged[data.draw(st.integers(0, len(path) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    payload = bytes(layout.PLACE.size) + damaged
    assert b"ekre" not in without_values(Kind.PLACE, payload, 4000, What(os.urandom(16), keys=True))


def test_member_of_a_set_is_none_of_a_damaged_path() -> None:
    for damaged in ("['sekret'}", ".'sekret'}", "a'sekret'}", "['sekret'", "{'sekret'", "]'sekret'}", "[3]'sekret'}"):
        text = without_values(Kind.PLACE, bytes(layout.PLACE.size) + damaged.encode(), 4000, What(os.urandom(16)))
        assert b"sekret" not in text, damaged


def test_each_kind_of_record_is_one_that_strip_knows() -> None:
    """What has no values, or what they are taken out of: nobody forgets a new one."""
    text = (Path(stripped.__file__).parent / "native" / "strip.c").read_text()
    without = {"FREE", "CONTINUATION", "SITE", "STACK", "THREAD", "UNREGISTERED", "LOST"}
    assert {*re.findall(r"case MWJ_(\w+):", text), *without} == {kind.name for kind in Kind}


@settings(deadline=None)
@given(st.lists(st.sampled_from([".a", ".b2", "[3]", '["k.[{"]', '["\\"]"]', "{'m]}'}", "{(1, {2})}", "{3}"])))
def test_path_is_taken_apart_at_its_steps(steps: list[str]) -> None:
    assert [*parts_of("".join(steps))] == steps


def test_digits_stand_for_one_text_and_tell_nothing_without_the_key() -> None:
    one, other = What(os.urandom(16)), What(os.urandom(16))
    assert one.digits("a", 8) == one.digits("a", 8) != one.digits("b", 8)
    assert one.digits("a", 8) != other.digits("a", 8)
    assert (len(one.digits("a", 3)), one.digits("a", -1)) == (3, "")
