"""Labels, tasks and spans in the console, in the summary and in the filters of ``memwatch log``."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from console_script import SCRIPT, environment

PROGRAM = """\
import asyncio
from memwatch_core import label, watch
from opentelemetry import trace
total = watch(0)
async def pack(order):
    with label(f"order {order}"), label("line 3"):
        await asyncio.sleep(0)
        total.value = order
async def main():
    packer = asyncio.create_task(pack(17), name="packer")
    await asyncio.gather(packer, asyncio.create_task(pack(18)))
total.value = 1
asyncio.run(main())
span = trace.NonRecordingSpan(trace.SpanContext(0x4bf92f3577b34da6a3ce929d0e0e4736, 0x00f067aa0ba902b7, True))
with trace.use_span(span), label("tail\\x1b[31m"):
    total.value = 2
"""


def call(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SCRIPT, *arguments], cwd=folder, env=environment(), capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("program")
    (folder / "program.py").write_text(PROGRAM)
    done = call(folder, "run", "program.py")
    assert done.returncode == 0, done.stderr
    (folder / "shown").write_text(done.stderr)
    return folder


def test_console_shows_the_request_behind_the_thread_only_where_there_is_one(recorded: Path) -> None:
    shown = (recorded / "shown").read_text()
    ends = {line.split("->")[1].split()[0]: line for line in shown.splitlines() if "->" in line and ":" in line[:9]}
    assert ends["1"].endswith("MainThread")
    assert ends["17"].endswith("MainThread [line 3, task packer]")
    assert ends["18"].endswith("MainThread [line 3, task Task-3]")
    assert ends["2"].endswith("MainThread [tail[31m, trace 4bf92f35]") or "trace 4bf92f35]" in ends["2"]
    assert "\x1b" not in shown
    assert "4 events on 1 variable by 1 thread, in 2 labels, 2 tasks and 1 trace; nothing lost" in " ".join(
        shown.replace("memwatch:", "").split()
    )


@pytest.mark.parametrize(
    ("filters", "news"),
    [
        (["--label", "order 17"], [17]), (["--label", "line 3"], [17, 18]), (["--label", "order*"], [17, 18]),
        (["--label", "order 17", "--label", "tail*"], [17, 2]), (["--label", "*"], [17, 18, 2]),
        (["--task", "packer"], [17]), (["--task", "Task-?"], [18]), (["--task", "*"], [17, 18]),
        (["--trace", "4bf92f3577b34da6a3ce929d0e0e4736"], [2]), (["--trace", "4BF9"], [2]),
        (["--trace", "00f067"], [2]), (["--trace", "*"], [2]), (["--task", "packer", "--label", "order 17"], [17]),
        (["--label", "line 3", "--variable", "total", "--last", "1"], [18]),
    ],
)  # fmt: skip
def test_filters_by_request(recorded: Path, filters: list[str], news: list[int]) -> None:
    done = call(recorded, "log", *filters, "--json")
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["new"] for line in done.stdout.splitlines()] == news


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        (["--label", "ordr 17"], "nothing was written under such a label; did you mean 'order 17'?"),
        (["--label", "xyz"], "nothing was written under such a label; there are line 3, order 17, order 18"),
        (["--task", "packet"], "no task of asyncio of this name wrote anything; did you mean 'packer'?"),
        (["--trace", "5"], "nothing was written in this trace, or span; there is 4bf92f3577b34da6a3ce929d0e0e4736"),
    ],
)
def test_filter_without_a_match_offers_what_there_is(recorded: Path, filters: list[str], said: str) -> None:
    done = call(recorded, "log", *filters)
    assert said in done.stderr
    assert done.returncode == 1


def test_trace_that_is_none_is_an_error_with_the_format(recorded: Path) -> None:
    done = call(recorded, "log", "--trace", "not hex")
    assert "hexadecimal digits, or '*' for any" in done.stderr
    assert done.returncode == 2


def test_session_without_requests_says_how_to_have_them(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("from memwatch_core import watch\nx = watch(0)\nx += 1\n")
    assert call(tmp_path, "run", "-q", "program.py").returncode == 0
    for filters, said in (
        (["--label", "order 17"], 'the program says `with memwatch_core.label("order 17"):`'),
        (["--task", "*"], "no event came from a task"),
        (["--trace", "*"], "the program must use OpenTelemetry"),
    ):
        assert said in call(tmp_path, "log", *filters).stderr


@pytest.mark.parametrize(
    ("by", "wrote"),
    [
        ("label", {None: 1, "line 3": 2, "tail\x1b[31m": 1}),
        ("task", {None: 2, "packer": 1, "Task-3": 1}),
        ("trace", {None: 3, "4bf92f3577b34da6a3ce929d0e0e4736": 1}),
    ],
)
def test_blame_counts_what_each_unit_of_work_wrote(recorded: Path, by: str, wrote: dict[str | None, int]) -> None:
    told = call(recorded, "blame", "total", "--by", by, "--json").stdout.splitlines()
    assert {row["request"]: row["writes"] for row in map(json.loads, told)} == wrote
    shown = call(recorded, "blame", "total", "--by", by).stdout
    assert "(none)" in shown
    assert "\x1b" not in shown
