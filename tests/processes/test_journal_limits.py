"""A journal at its limit: a disk that fills up all the same, events gone without a count, a program that hangs for a
reader which is slow, dead, or waiting for the very interpreter that the writer holds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from memwatch_core import config
from memwatch_core.errors import ConfigError
from memwatch_core.host.merge import SessionDecoder
from memwatch_core.journal.claim import Claim
from memwatch_core.journal.layout import SEGMENT_SLOTS
from memwatch_core.journal.session import create_session
from memwatch_core.native import core
from memwatch_core.records import Event, Lost, Record
from memwatch_core.settings import JOURNAL_MIN

WRITES = 36_000
LIMIT = JOURNAL_MIN
MEMWATCH = [sys.executable, "-m", "memwatch_core.cli"]

PROGRAM = f"""
import sys
from memwatch_core import watch
count = watch(0, name="count")
word = watch(0, name="word")
view = memoryview(word).cast("B").cast("q")
for i in range({WRITES}):
    count += 1             # announced
    if i % 10 == 0:
        view[0] = i        # a store
assert (count, word) == ({WRITES}, {WRITES - 10}), "a value that isn't what was written"
print("done", flush=True)
sys.stdin.read()
"""
EXPECTED = {"count": WRITES, "word": WRITES // 10}

READER = """
import os, sys
from pathlib import Path
from memwatch_core.host.merge import SessionDecoder
from memwatch_core.journal.claim import Claim
from memwatch_core.records import Event, Lost

folder, seen = Path(sys.argv[1]), Path(sys.argv[2])
claim, session = Claim(folder), SessionDecoder(folder, {})
assert claim.held
last = int(seen.read_text().splitlines()[-1].split()[0]) if seen.exists() else 0
with open(seen, "a") as file:
    while True:
        for record in session.poll():
            if isinstance(record, Event) and record.seq > last:
                file.write(f"{record.seq} {record.variable}\\n")
        file.flush()
        session.acknowledge()
        if session.ended and os.path.exists(folder / "done"):
            break
"""


def settings(policy: str, max_bytes: int = LIMIT) -> config.Config:
    return config.load(overrides={"journal": {"max_bytes": max_bytes, "policy": policy}})


def start(folder: Path, policy: str, program: str = PROGRAM, max_bytes: int = LIMIT) -> subprocess.Popen[str]:
    """A program that writes to the session in ``folder``."""
    config.save(settings(policy, max_bytes), folder)
    environment = os.environ | {"MEMWATCH_SESSION": str(folder)}
    return subprocess.Popen(
        [sys.executable, "-c", program], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def wait_for_done(process: subprocess.Popen[str]) -> None:
    assert process.stdout
    assert process.stdout.readline() == "done\n"


def run_unread(folder: Path, program: str) -> int:
    """A program that writes to the session with nobody reading, to its end. Returns its pid."""
    process = start(folder, "drop", program)
    wait_for_done(process)
    process.communicate()
    return process.pid


def read_all(folder: Path) -> list[Record]:
    return [record for batch in SessionDecoder(folder, {}).batches() for record in batch]


def lost_by_variable(records: list[Record]) -> Counter[str | None]:
    lost: Counter[str | None] = Counter()
    for record in records:
        if isinstance(record, Lost):
            lost[record.variable] += record.count
    return lost


def events_by_variable(records: list[Record]) -> Counter[str]:
    return Counter(record.variable for record in records if isinstance(record, Event))


def on_disk(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*.mwj"))


@pytest.mark.parametrize("policy", ["block", "drop", "rotate"])
def test_limit_holds_and_what_is_missing_is_counted_to_the_event(tmp_path: Path, policy: str) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "memwatch.toml").write_text(
        f'[journal]\nmax_bytes = {LIMIT}\npolicy = "{policy}"\n[plugins]\nsinks = ["jsonl"]\n'
        '[sinks.jsonl]\npath = "events.jsonl"\n'
    )
    run = [*MEMWATCH, "run", "--quiet", "program.py"]
    most = 0
    with subprocess.Popen(run, cwd=tmp_path, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as ran:
        while ran.poll() is None:
            most = max(most, on_disk(tmp_path))
            time.sleep(0.01)
        assert ran.returncode == 0, ran.communicate()[1]
    assert 0 < most <= LIMIT
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    events = Counter(line["variable"] for line in lines if "before" in line)
    lost: Counter[str | None] = Counter()
    for line in lines:
        if line.get("event") == "lost":
            lost[line["variable"]] += line["count"]
    if policy == "block":
        assert not lost
    if policy == "rotate":  # which variables the oldest events were of is not known
        assert set(lost) <= {None}
        assert events.total() + lost.total() == sum(EXPECTED.values())
        assert any(line.get("new") == WRITES for line in lines), "the newest is kept"
    else:
        assert {name: events[name] + lost[name] for name in EXPECTED} == EXPECTED
    check_log(tmp_path, events.total() + lost.total() if policy == "rotate" else events.total())


def check_log(folder: Path, last: int) -> None:
    """What is left in the file reads as if nothing had been given back: names, values, places, numbers."""
    log = subprocess.run([*MEMWATCH, "log", "--json"], cwd=folder, capture_output=True, text=True, check=True)
    lines: list[dict[str, Any]] = [json.loads(line) for line in log.stdout.splitlines()]
    events = [line for line in lines if "before" in line]
    assert [line["seq"] for line in events] == list(range(last - len(events) + 1, last + 1))
    gone = last - len(events)
    assert [line["text"] for line in lines if "no longer on the disk" in line.get("text", "")] == (
        [f"{next(folder.rglob('*.mwj')).name}: its first {gone:,} events are no longer on the disk (journal.max_bytes)"]
        if gone
        else []
    )
    assert {line["variable"] for line in events} == set(EXPECTED)
    for line in events:
        assert line["new"] == int.from_bytes(bytes.fromhex(line["after"]), "little")
        assert line["old"] == int.from_bytes(bytes.fromhex(line["before"]), "little")
        assert line["site"]["file"].endswith("program.py")
        assert line["thread"] == "MainThread"


def test_block_waits_for_a_reader_that_lives_and_loses_nothing(tmp_path: Path) -> None:
    folder = create_session(tmp_path, [])
    claim = Claim(folder)
    process = start(folder, "block")
    try:
        deadline, sizes = time.monotonic() + 30, [0]
        while (len(sizes) < 20 or sizes[-20] != sizes[-1] or not sizes[-1]) and time.monotonic() < deadline:
            time.sleep(0.02)
            sizes.append(on_disk(folder))  # until it stands still
        assert process.poll() is None
        session = SessionDecoder(folder, {})
        records: list[Record] = []
        while events_by_variable(records).total() < sum(EXPECTED.values()) and time.monotonic() < deadline:
            records += session.poll()
            session.acknowledge()
        wait_for_done(process)
        process.communicate()
        while not session.ended:
            records += session.poll()
    finally:
        process.kill()
        claim.close()
    assert not lost_by_variable(records)
    assert events_by_variable(records) == EXPECTED


@pytest.mark.parametrize("max_bytes", [0, LIMIT])
def test_reader_that_is_killed_and_started_again_goes_on_where_it_was(tmp_path: Path, max_bytes: int) -> None:
    folder, seen = create_session(tmp_path, []), tmp_path / "seen"
    command = [sys.executable, "-c", READER, str(folder), str(seen)]
    process = start(folder, "block", max_bytes=max_bytes)
    try:
        for kill_at in (1_000, 30_000):
            reader = subprocess.Popen(command)
            deadline = time.monotonic() + 30
            while (not seen.exists() or len(seen.read_bytes().splitlines()) < kill_at) and reader.poll() is None:
                assert time.monotonic() < deadline
                time.sleep(0.005)
            reader.send_signal(signal.SIGKILL)
            reader.wait()
            whole = seen.read_text().rpartition("\n")[0] + "\n"  # a line may have been cut
            seen.write_text(whole)
        reader = subprocess.Popen(command)
        wait_for_done(process)
        process.communicate()
        (folder / "done").touch()
        assert reader.wait(60) == 0
    finally:
        process.kill()
    lines = [line.split() for line in seen.read_text().splitlines()]
    numbers = [int(number) for number, _ in lines]
    assert numbers == sorted(set(numbers)), "an event twice, or out of order"
    assert numbers == list(range(1, numbers[-1] + 1)), "a recorded event that no reader has seen"
    lost = lost_by_variable(read_all(folder))
    events = Counter(name for _, name in lines)
    if not max_bytes:
        assert not lost
    assert {
        name: events[name] + lost[name] for name in EXPECTED
    } == EXPECTED  # between two readers, nobody is waited for


def test_without_a_reader_block_goes_on_and_its_counts_survive_a_kill(tmp_path: Path) -> None:
    folder = create_session(tmp_path, [])
    process = start(folder, "block")
    wait_for_done(process)
    process.kill()
    process.communicate()
    assert on_disk(folder) <= LIMIT
    records = read_all(folder)
    events, lost = events_by_variable(records), lost_by_variable(records)
    assert lost.total() > 0
    assert {name: events[name] + lost[name] for name in EXPECTED} == EXPECTED


def test_events_that_rotate_gave_up_before_anybody_came_are_lost_not_just_gone(tmp_path: Path) -> None:
    folder = create_session(tmp_path, [])
    process = start(folder, "rotate")
    wait_for_done(process)
    process.kill()
    process.communicate()
    records = read_all(folder)
    (lost,) = (record for record in records if isinstance(record, Lost))
    assert "unread" in lost.reason
    events = [record.seq for record in records if isinstance(record, Event)]
    assert events == list(range(lost.count + 1, sum(EXPECTED.values()) + 1))


SEVERAL = """
import sys
from memwatch_core import watch
several = [watch(0, name=f"number {n}") for n in range(400)]
filler = watch(0, name="filler")
for i in range(40_000):
    filler += 1
for n, number in enumerate(several):
    for i in range(n % 3 + 1):
        number += 1
print("done", flush=True)
sys.stdin.read()
"""


def test_losses_of_more_variables_than_the_header_has_rows_for_are_counted_together(tmp_path: Path) -> None:
    folder = create_session(tmp_path, [])
    run_unread(folder, SEVERAL)
    records = read_all(folder)
    lost, events = lost_by_variable(records), events_by_variable(records)
    named = {name: count for name, count in lost.items() if name is not None and name != "filler"}
    assert len(named) == 234, "236 rows: the filler's, and the one for all that have none"
    assert all(count == int(name.split()[1]) % 3 + 1 for name, count in named.items())
    assert lost.total() + events.total() == 40_000 + sum(n % 3 + 1 for n in range(400))


MANY = """
import sys
from memwatch_core import watch
many = [watch(0, name=f"number {n}") for n in range(5_000)]   # their descriptions take most of the limit
for i in range(4):
    for number in many:
        number += 1
print("done", flush=True)
sys.stdin.read()
"""


def test_descriptions_that_take_most_of_the_limit_move_on_and_are_not_lost(tmp_path: Path) -> None:
    folder = create_session(tmp_path, [])
    claim = Claim(folder)
    process = start(folder, "block", MANY)
    session, records = SessionDecoder(folder, {}), []
    deadline = time.monotonic() + 60
    try:
        while events_by_variable(records).total() < 20_000 and time.monotonic() < deadline:
            records += session.poll()
            session.acknowledge()
        wait_for_done(process)
        late = read_all(folder)
        process.kill()
        process.communicate()
    finally:
        process.kill()
        claim.close()
    assert not lost_by_variable(records)
    assert events_by_variable(records) == {f"number {n}": 4 for n in range(5_000)}
    assert 0 < events_by_variable(late).total() < 20_000
    assert not lost_by_variable(late)
    assert {e.variable for e in late if isinstance(e, Event)} <= {f"number {n}" for n in range(5_000)}
    assert on_disk(folder) <= LIMIT


def test_description_longer_than_a_record_moves_on_in_all_its_parts(tmp_path: Path) -> None:
    fields = [f"{'field' * 20}{n}" for n in range(500)]  # 50 KB of metadata
    wide = f"wide = watch((0,) * 500, name='wide', format='<500q', fields={fields!r})\n"
    folder = create_session(tmp_path, [])
    written = PROGRAM.replace("count =", f"{wide}count =", 1).replace('print("done"', 'wide[0] = 1\nprint("done"')
    process = start(folder, "rotate", written)
    wait_for_done(process)
    process.kill()
    process.communicate()
    assert on_disk(folder) <= LIMIT
    records = read_all(folder)
    assert lost_by_variable(records).total() > WRITES // 4, "its first description is still there: nothing is shown"
    assert events_by_variable(records)["wide"] == 1


RENAMED = """
import sys
from memwatch_core import watch
from memwatch_core.native._core import lib
count = watch(0, name="count")
for i in range(1, 60_001):
    name = f"name {i}".encode()
    assert lib.mw_thread_name(0, name, len(name)) == 0, i
    if i % 2:
        metadata = b'{"name": "count %d", "serializer": "int"}' % i
        assert lib.mw_update_metadata(1, metadata, len(metadata)) == 0, i
for i in range(WRITES):     # until each of them has moved on
    count += 1
print("done", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("writes", [60_000, 60_000 + SEGMENT_SLOTS])  # either of the last two names comes first
def test_names_that_were_replaced_take_no_room(tmp_path: Path, writes: int) -> None:
    """A thread and a variable that are renamed more often than the limit has room for: the last names stay."""
    folder = create_session(tmp_path, [])
    process = start(folder, "rotate", RENAMED.replace("WRITES", str(writes)))
    wait_for_done(process)
    process.kill()
    process.communicate()
    assert on_disk(folder) <= LIMIT
    events = [record for record in read_all(folder) if isinstance(record, Event)]
    assert {(event.variable, event.thread) for event in events} == {("count 59999", "name 60000")}


FORKS = f"""
import os, sys
from memwatch_core import watch
count = watch(0, name="count")
word = watch(0, name="word")
count += 1
child = os.fork()
for i in range({WRITES} if not child else 10):
    count += 1
if not child:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print("done", flush=True)
sys.stdin.read()
"""


def test_forked_child_has_a_limit_and_counts_of_its_own(tmp_path: Path) -> None:
    folder = create_session(tmp_path, [])
    pid = run_unread(folder, FORKS)
    assert all(path.stat().st_blocks * 512 <= LIMIT for path in folder.glob("*.mwj"))
    records = read_all(folder)
    written: Counter[bool] = Counter()
    for record in records:
        if isinstance(record, Event):
            written[record.pid == pid] += 1
        elif isinstance(record, Lost):
            assert record.pid != pid
            written[False] += record.count
    assert written == {True: 11, False: WRITES}


OWN_READER = f"""
from memwatch_core import session, watch
from memwatch_core.records import Event, Lost

class Counts:
    events = lost = 0
    def write(self, records):
        self.events += sum(isinstance(r, Event) for r in records)
        self.lost += sum(r.count for r in records if isinstance(r, Lost))
    def flush(self): ...
    def close(self): ...

counts = Counts()
with session(sinks=[counts], journal={{"max_bytes": {LIMIT}, "policy": "block", "folder": "sessions"}}):
    number = watch(0, name="number")
    view = memoryview(number).cast("B").cast("q")
    for i in range({WRITES}):
        view[0] = i        # a fault, with the interpreter's lock held: a writer that waited here would wait for ever
        number.value = i
print(counts.events + counts.lost)
"""


def test_writer_never_waits_for_the_reader_of_its_own_process(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", OWN_READER], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert int(ran.stdout) == 2 * WRITES


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("max_bytes = 4_000_000", "journal.max_bytes = 4000000: must be a number of bytes, at least 4194304 (4 MiB)"),
        ('max_bytes = "8 MB"', "journal.max_bytes"),
        ("max_bytes = true", "journal.max_bytes"),
        ('policy = "wait"', "journal.policy"),
        ('polcy = "drop"', "did you mean 'policy'"),
    ],
)
def test_wrong_limit_is_one_error_with_file_line_and_key(tmp_path: Path, line: str, complaint: str) -> None:
    file = tmp_path / "memwatch.toml"
    file.write_text(f"[journal]\n{line}\n")
    with pytest.raises(ConfigError) as caught:
        config.load(file)
    assert str(caught.value).startswith(f"{file}:2: ")
    assert complaint in str(caught.value)


def test_limit_from_the_environment_and_the_core_agree() -> None:
    assert JOURNAL_MIN == core.lib.MW_JOURNAL_MIN
    assert core.lib.mw_journal_limit(JOURNAL_MIN - 1, 0) == core.lib.MW_ERR_POLICY
    assert core.lib.mw_journal_limit(JOURNAL_MIN, 3) == core.lib.MW_ERR_POLICY
    loaded = config.load(environment={"MEMWATCH_JOURNAL_MAX_BYTES": "8000000", "MEMWATCH_JOURNAL_POLICY": "drop"})
    assert (loaded.journal.max_bytes, loaded.journal.policy) == (8_000_000, "drop")
