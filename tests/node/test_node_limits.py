"""A journal at its limit in Node.js: more on the disk than was allowed, or events gone without a count."""

from __future__ import annotations

from collections import Counter

import pytest
from nodejs import Node

WRITES = 50_000
PROGRAM = f"""
    const {{ watch }} = require('@memwatch/node');
    const count = watch(new BigInt64Array(1)), other = watch(new BigInt64Array(1));
    for (let i = 1; i <= {WRITES}; i++) {{
      count[0] = BigInt(i);
      if (i % 10 === 0) other[0] = BigInt(i);
    }}
    console.log(count[0], other[0]);
"""


@pytest.mark.parametrize("policy", ["block", "drop", "rotate"])
def test_limit_holds_and_what_is_missing_is_counted(node: Node, policy: str) -> None:
    node.write(PROGRAM)
    limit = 4 << 20
    ran = node.run("program.js", MEMWATCH_JOURNAL_MAX_BYTES=str(limit), MEMWATCH_JOURNAL_POLICY=policy)
    assert ran.stdout == f"{WRITES}n {WRITES}n\n"
    (session,) = node.sessions()
    assert all(path.stat().st_blocks * 512 <= limit for path in session.glob("*.mwj"))
    journal = node.read()
    events, lost = Counter(event.variable for event in journal.events), Counter[str | None]()
    for record in journal.lost:
        lost[record.variable] += record.count
    if policy == "rotate":
        assert journal.events[-1].seq == WRITES + WRITES // 10
        assert [event.seq for event in journal.events] == list(range(journal.events[0].seq, WRITES + WRITES // 10 + 1))
        assert journal.of("count")[-1].new[0] == WRITES
    else:  # nobody reads: block doesn't wait
        assert events["count"] + lost["count"] == WRITES
        assert events["other"] + lost["other"] == WRITES // 10


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("JOURNAL_MAX_BYTES", "5", "MEMWATCH_JOURNAL_MAX_BYTES is 5; it must be 0, for no limit, or at least 4194304"),
        ("JOURNAL_MAX_BYTES", "1GB", 'MEMWATCH_JOURNAL_MAX_BYTES is "1GB"; it must be 0'),
        ("JOURNAL_MAX_BYTES", "-1", 'MEMWATCH_JOURNAL_MAX_BYTES is "-1"'),
        ("JOURNAL_POLICY", "wait", 'MEMWATCH_JOURNAL_POLICY is "wait"; it can be block, drop, rotate'),
        ("CORE_TRACKER", "uffd", 'MEMWATCH_CORE_TRACKER is "uffd"; it can be auto, uffd-sigbus, readonly, uffd-queue'),
        ("CORE_KERNEL_WRITES", "some", 'MEMWATCH_CORE_KERNEL_WRITES is "some"; it can be calls, all'),
    ],
)
def test_wrong_setting_is_one_error(node: Node, variable: str, value: str, said: str) -> None:
    node.write("require('@memwatch/node').watch(new Int32Array(1));")
    ran = node.run("program.js", check=1, **{f"MEMWATCH_{variable}": value})
    assert said in ran.stderr


def test_wrong_setting_of_a_session_is_an_error_that_names_its_file(node: Node) -> None:
    node.write("require('@memwatch/node').watch(new Int32Array(1));")
    node.run("program.js")
    (session,) = node.sessions()
    settings = session / "settings.json"
    settings.write_text(settings.read_text().replace('"policy": "block"', '"policy": "__proto__"'))
    ran = node.run("program.js", check=1, MEMWATCH_SESSION=str(session))
    assert f'{settings}: journal.policy is "__proto__"; it can be block, drop, rotate' in ran.stderr
