"""Programs in a session: under ``memwatch run``, alone, beside Python, and to their various ends."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from nodejs import ONCE, PACKAGE, Node, environment, records

from memwatch_core.records import Event

MEMWATCH = str(Path(sys.executable).with_name("memwatch"))
TOTAL = """\
const { watch } = require('@memwatch/node');
function add(n) {
  total[0] += n;
}
const total = watch(new Int32Array(1));
add(5);
total[0] = 7;
console.log('total', total[0], process.execArgv.length, ...process.argv.slice(2));
"""
MODULE = TOTAL.replace("const { watch } = require('@memwatch/node');", "import { watch } from '@memwatch/node';")


def run(node: Node, *arguments: str, check: int | None = 0, **variables: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(node.path).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [MEMWATCH, "run", "--sink", "jsonl", *arguments],
        cwd=node.folder,
        env=environment(PATH=path, MEMWATCH_SINKS_JSONL_PATH="events.jsonl", **variables),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert check is None or done.returncode == check, done.stdout + done.stderr
    return done


def lines(node: Node) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (node.folder / "events.jsonl").read_text().splitlines()]
    return [line for line in found if "seq" in line]


def test_program_that_watches_nothing_leaves_no_journal(node: Node) -> None:
    (node.folder / "app.js").write_text("require('@memwatch/node').session(); console.log('done')")
    done = run(node, "--", "node", "app.js")
    assert done.stdout == "done\n"
    assert not list(node.folder.glob(".memwatch/*/*.mwj"))


def test_small_journal_takes_64_kib_of_disk_at_most(node: Node) -> None:
    node.write(TOTAL)
    node.run("program.js")
    (journal,) = node.folder.glob(".memwatch/*/*.mwj")
    assert journal.stat().st_blocks * 512 <= 64 << 10
    assert [event.new for event in node.read().of("total")] == [[5], [7]]


@pytest.mark.parametrize(
    ("arguments", "name", "text"),
    [
        (("--", "node", "app.js"), "app.js", TOTAL),
        (("--", "node", "--no-warnings", "app.mjs"), "app.mjs", MODULE),
        (("app.mjs",), "app.mjs", MODULE),
        (("app.cjs",), "app.cjs", TOTAL),
    ],
    ids=["command", "command-esm", "script-esm", "script-cjs"],
)
def test_program_is_watched_without_a_change_to_it(
    node: Node, arguments: tuple[str, ...], name: str, text: str
) -> None:
    node.write(text, name)
    done = run(node, *arguments, "--its", "own")
    assert done.stdout == f"total 7 {1 if '--no-warnings' in arguments else 0} --its own\n"
    assert "2 events on 1 variable by 1 thread; nothing lost" in done.stderr
    events = lines(node)
    assert [(e["variable"], e["old"], e["new"], e["runtime"], e["thread"], e["exact"]) for e in events] == [
        ("total", [0], [5], "node", "main", True),
        ("total", [5], [7], "node", "main", True),
    ]
    assert [(e["site"]["file"], e["site"]["line"], e["site"]["function"]) for e in events] == [
        (str(node.folder / name), 3, "add"),
        (str(node.folder / name), 7, "<module>"),
    ]


def test_program_that_could_not_load_the_package_is_not_started(node: Node) -> None:
    node.write("console.log('ran')", "app.js")
    (node.folder / "node_modules" / "@memwatch" / "node").unlink()
    done = run(node, "app.js", check=None)
    assert done.returncode != 0
    assert "npm install @memwatch/node" in done.stderr
    assert done.stdout == ""


def test_alone_with_register_it_makes_a_session_that_the_host_reads(node: Node) -> None:
    node.write(TOTAL)
    node.run("program.js")
    done = subprocess.run(
        [MEMWATCH, "log"], cwd=node.folder, env=environment(), capture_output=True, text=True, check=True
    )
    assert "total[0]" in done.stdout
    assert "0 -> 5" in done.stdout
    (folder,) = node.sessions()
    assert (folder.stat().st_mode & 0o777, {path.stat().st_mode & 0o777 for path in folder.iterdir()}) == (
        0o700,
        {0o600},
    )


def test_without_register_lines_are_known_from_the_require_on(node: Node) -> None:
    node.write(TOTAL)
    node.run("program.js", register=False)
    first, second = node.read().events
    assert first.exact
    assert first.site
    assert first.site.line == 3
    assert not second.exact  # the module's own code was compiled before


def test_python_and_its_node_child_are_one_session(node: Node) -> None:
    node.write(TOTAL, "child.js")
    node.write(
        "import subprocess\nfrom memwatch_core import watch\n"
        "count = watch(0)\ncount += 1\nsubprocess.run(['node', 'child.js'], check=True)\ncount += 1\n",
        "parent.py",
    )
    run(node, "parent.py")
    order = [(e["runtime"], e["variable"], e["new"]) for e in lines(node)]
    assert order == [("python", "count", 1), ("node", "total", [5]), ("node", "total", [7]), ("python", "count", 2)]
    assert all(e["exact"] for e in lines(node))


def test_node_and_its_python_child_are_one_session(node: Node) -> None:
    node.write("from memwatch_core import watch\ncount = watch(0)\ncount += 1\n", "child.py")
    node.write(TOTAL + f"require('node:child_process').execFileSync({sys.executable!r}, ['child.py']);\ntotal[0] = 8;")
    run(node, "--", "node", "program.js")
    order = [(e["runtime"], e["variable"], e["new"]) for e in lines(node)]
    assert order == [("node", "total", [5]), ("node", "total", [7]), ("python", "count", 1), ("node", "total", [8])]


ENDS = {
    "returns": ("", 0),
    "exit code": ("process.exitCode = 3;", 3),
    "exit": ("process.exit(4);", 4),
    "uncaught": ("throw new Error('mine');", 1),
    "rejected": ("Promise.reject(new Error('mine'));", 1),
    "terminated": ("process.kill(process.pid, 'SIGTERM'); setTimeout(() => {}, 5000);", -signal.SIGTERM),
    "killed": ("process.kill(process.pid, 'SIGKILL'); setTimeout(() => {}, 5000);", -signal.SIGKILL),
    "aborts": ("process.abort();", -signal.SIGABRT),
    "handled": (
        "process.on('SIGTERM', () => process.exit(9)); process.kill(process.pid, 'SIGTERM'); setTimeout(() => {}, 5000);",
        9,
    ),
    "fault sent": ("process.kill(process.pid, 'SIGSEGV'); setTimeout(() => {}, 5000);", -signal.SIGSEGV),
    "bus error sent": ("process.kill(process.pid, 'SIGBUS'); setTimeout(() => {}, 5000);", -signal.SIGBUS),
    "fault handled": (
        "process.on('SIGSEGV', () => process.exit(5)); process.kill(process.pid, 'SIGSEGV'); setTimeout(() => {}, 5000);",
        5,
    ),
    "caught late": ("process.on('uncaughtException', (e) => console.log(e.message)); throw new Error('mine');", 0),
    "exit while exiting": ("process.on('exit', () => process.exit(6));", 6),
}


@pytest.mark.parametrize("end", ENDS)
def test_program_ends_as_it_would_and_what_it_wrote_is_kept(node: Node, end: str) -> None:
    text, status = ENDS[end]
    body = "x[0] = 1;\nprocess.on('exit', () => { x[0] = 2; console.log('bye'); });\n" + text
    node.write("const x = new Int32Array(1);\n" + body, "plain.js")
    node.write("const x = require('@memwatch/node').watch(new Int32Array(1));\n" + body, "watched.js")
    plain = node.run("plain.js", register=False, check=status)
    watched = node.run("watched.js", check=status)
    assert watched.stdout == plain.stdout
    shown = [re.sub(r"0x[0-9a-f]+", "0x", text) for text in (watched.stderr, plain.stderr)]
    assert shown[0].replace("watched.js", "plain.js") == shown[1]
    journal = node.read()
    assert not journal.lost
    assert [event.new for event in journal.of("x")] == [[1], *([[2]] if "bye" in plain.stdout else [])]


@ONCE
@pytest.mark.parametrize("end", ["exit", "uncaught", "terminated", "killed", "handled"])
def test_program_under_the_host_ends_as_alone(node: Node, end: str) -> None:
    text, status = ENDS[end]
    node.write(
        "const x = require('@memwatch/node').watch(new Int32Array(1));\nx[0] = 1; console.log('out');\n" + text,
        "app.js",
    )
    done = run(node, "--", "node", "app.js", check=status)
    assert done.stdout == "out\n"
    assert [event["new"] for event in lines(node)] == [[1]]
    assert ("Error: mine" in done.stderr) == (end == "uncaught")


def test_exit_in_the_middle_of_a_worker_s_writes_keeps_its_events(node: Node) -> None:
    node.write("""
        const { Worker, isMainThread, workerData } = require('node:worker_threads');
        const { watch, share, receive } = require('@memwatch/node');
        if (isMainThread) {
          const x = watch(new Int32Array(1));
          new Worker(__filename, { workerData: share(x) });
          setInterval(() => { if (x[0] > 500) process.exit(7); }, 1);
        } else {
          const x = receive(workerData);
          for (let i = 1; ; i++) x[0] = i;
        }
    """)
    node.run("program.js", check=7)
    journal = node.read()
    assert not journal.lost
    assert [event.new[0] for event in journal.of("x")] == list(range(1, len(journal.events) + 1))
    assert len(journal.events) > 500


def test_program_killed_in_the_middle_of_its_writes_leaves_each_that_it_made(node: Node) -> None:
    node.write("""
        const x = require('@memwatch/node').watch(new Int32Array(1));
        for (let i = 1; ; i++) {
          x[0] = i;
          if (i === 1000) require('node:fs').writeSync(1, 'on');
        }
    """)
    command = [node.path, "--require", "@memwatch/node/register", "program.js"]
    with subprocess.Popen(command, cwd=node.folder, env=environment(), stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.read(2) == b"on"
        process.kill()
    journal = node.read()
    assert [event.new[0] for event in journal.events] == list(range(1, len(journal.events) + 1))
    assert len(journal.events) >= 1000


def test_closed_session_is_an_error_and_the_arrays_stay_usable(node: Node) -> None:
    node.write("""
        const { watch, session } = require('@memwatch/node');
        const x = watch(new Int32Array(1));
        x[0] = 1;
        const { close, tracker, folder } = session();
        close();
        x[0] = 2;
        let said;
        try { watch(new Int32Array(1)); } catch (e) { said = `${e.name} ${e.code}`; }
        console.log(x[0], said, tracker.length > 0, require('node:fs').existsSync(folder));
    """)
    assert node.run("program.js").stdout == "2 SessionError ERR_MEMWATCH_SESSION true true\n"
    assert [event.new for event in node.read().events] == [[1]]


def test_a_session_that_is_not_there_is_named(node: Node) -> None:
    node.write(
        "try { require('@memwatch/node').watch(new Int8Array(1)); } catch (e) { console.log(e.name, e.message); }"
    )
    said = node.run("program.js", MEMWATCH_SESSION="nowhere").stdout
    assert said.startswith("SessionError")
    assert "nowhere" in said
    assert "memwatch run" in said


def test_a_child_that_watches_nothing_leaves_nothing(node: Node) -> None:
    node.write("console.log(1)")
    run(node, "--", "node", "program.js")
    (folder,) = node.sessions()
    assert [record for record in records(folder) if isinstance(record, Event)] == []
    assert not list(folder.glob("*.mwj"))


def test_example_shows_who_wrote_each_reading(node: Node) -> None:
    shutil.copy(PACKAGE.parent / "examples" / "thermometer" / "thermometer.js", node.folder)
    done = run(node, "thermometer.js")
    assert re.fullmatch(r"\d+ readings of 10, mean \d\d\.\d\n", done.stdout)
    writers = {(e["thread"], e["site"]["function"]) for e in lines(node)}
    assert writers == {("worker 1", "record"), ("worker 2", "record")}
    assert len(lines(node)) == 20
