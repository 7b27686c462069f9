"""Tools around a program whose functions are all watched (``--track-locals``): they tell what they tell without."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from debug_adapter_client import connected, free_port

ORDERS = """
from contextlib import suppress

def discount(total, rate=0):
    if total > 100:
        rate = 10
    elif total > 1000: rate = 20
    return total - total * rate // 100

def prices(rows):
    for name, price in rows:
        if price < 0:
            continue
        yield name, price

def add_order(rows):
    total = 0
    first, *rest = list(prices(rows))
    for _, price in [first, *rest]:
        total += price
    with suppress(KeyError) as nothing:
        raise KeyError(total)
    try:
        int("x")
    except ValueError as error:
        text = str(error)
    while total > 148: total -= 1
    return discount(total), text

class Order:
    limit = 5
    def within(self, n): return n if n < self.limit else self.limit
"""
PROGRAM = """
import orders

def main():
    rows = [("a", 20), ("b", -1), ("c", 130)]
    found = orders.add_order(rows)
    within = orders.Order().within(9)
    print(found, within)

main()
"""


def run(folder: Path, watched: bool, *command: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    """A command of Python's, as it is or under ``memwatch run --track-locals``."""
    return subprocess.run(
        [sys.executable, *(WATCHED if watched else ()), *command],
        cwd=folder,
        input=typed,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


WATCHED = ["-m", "memwatch_core.cli", "run", "--quiet", "--folder", "sessions", "--sink", "jsonl", "--track-locals"]


def told(folder: Path) -> set[str]:
    """The variables of which there are events."""
    lines = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    return {line["variable"] for line in lines if "seq" in line and line["part"]}


def files(folder: Path, **texts: str) -> None:
    (folder / "memwatch.toml").write_text('[watch]\nmodules = ["orders", "billing", "test_orders"]\n')
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text)


CORES = ["ctrace", "pytrace", *(["sysmon"] if sys.version_info >= (3, 12) else [])]


@pytest.mark.parametrize("branch", [False, True], ids=["lines", "branches"])
@pytest.mark.parametrize("core", CORES)
def test_coverage_counts_the_same(core: str, branch: bool, tmp_path: Path) -> None:
    if core == "sysmon" and branch and sys.version_info < (3, 14):
        pytest.skip("sys.monitoring tells of branches from CPython 3.14 on")
    files(tmp_path, orders=ORDERS, program=PROGRAM)
    (tmp_path / ".coveragerc").write_text(f"[run]\ncore = {core}\nbranch = {branch}\nsource = .\n")
    reports = []
    for watched in (False, True):
        done = run(tmp_path, watched, "-m", "coverage", "run", "program.py")
        assert done.returncode == 0, done.stderr
        run(tmp_path, False, "-m", "coverage", "json", "-q", "-o", "coverage.json")
        reports.append(json.loads((tmp_path / "coverage.json").read_text())["files"])
    assert reports[0]["orders.py"]["missing_lines"] == [7]
    assert ("executed_branches" in reports[0]["orders.py"]) is branch
    assert reports[1] == reports[0]
    assert {"orders:add_order()", "orders:discount()", "orders:prices()"} <= told(tmp_path)


TEST = """
import pytest
import orders

def test_total():
    rows = [("a", 20), ("b", 30)]
    total, text = orders.add_order(rows)
    expected = {"total": 49, "rows": rows}
    assert {"total": total, "rows": rows} == expected, text

def test_walrus():
    assert (n := orders.discount(5)) == 5 and n > 10

def test_any():
    limits = [orders.Order().within(n) for n in range(3)]
    assert all(each > 0 for each in limits)

def test_raises():
    with pytest.raises(ZeroDivisionError) as caught:
        orders.discount(None)
    assert caught
"""


def test_messages_of_pytests_assertions_are_the_same(tmp_path: Path) -> None:
    files(tmp_path, orders=ORDERS, test_orders=TEST)
    said = []
    for watched in (False, True):
        done = run(
            tmp_path, watched, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", "--showlocals"
        )
        assert "4 failed" in done.stdout, done.stdout + done.stderr
        said.append(re.sub(r"0x[0-9a-f]+|in [\d.]+s", "", done.stdout))
    assert "5 > 10" in said[0], said[0]
    assert said[1] == said[0]
    assert {"test_orders:test_total()", "orders:add_order()"} <= told(tmp_path)


CHECKED = """
import typeguard
typeguard.install_import_hook("billing")
import billing
print(billing.bill(3, "x"))
try:
    billing.bill(3, None)
except typeguard.TypeCheckError as error:
    print(error)
try:
    billing.wrong(7)
except typeguard.TypeCheckError as error:
    print(error)
"""
BILLING = """
def bill(n: int, text: str) -> str:
    total: str = text * n
    return total

def wrong(n: int) -> int:
    total: int = n
    total = str(n)
    return total
"""


def test_typeguard_finds_the_same(tmp_path: Path) -> None:
    if find_spec("typeguard") is None:
        pytest.skip("typeguard isn't installed here")
    files(tmp_path, billing=BILLING, program=CHECKED)
    plain, watched = (run(tmp_path, each, "program.py") for each in (False, True))
    assert plain.stdout.startswith("xxx\n")
    assert plain.stdout.count(" is not an instance of ") == 2, plain.stdout + plain.stderr
    assert watched.stdout == plain.stdout, watched.stderr
    assert {"billing:bill()", "billing:wrong()"} <= told(tmp_path)


STEPS = "b orders.add_order\nc\n" + "s\np sorted(locals())\n" * 60 + "u\np rows\nc\nq\n"


def test_pdb_steps_through_the_same_lines(tmp_path: Path) -> None:
    files(tmp_path, orders=ORDERS, program=PROGRAM)
    plain, watched = (run(tmp_path, each, "-m", "pdb", "program.py", typed=STEPS) for each in (False, True))
    assert "orders.py(14)prices()" in plain.stdout, plain.stdout
    assert "orders.py(28)add_order()" in plain.stdout, plain.stdout
    assert watched.stdout == plain.stdout
    assert "orders:add_order()" in told(tmp_path)


def steps(port: int, path: Path, line: int) -> list[tuple[str, str, int]]:
    """From a breakpoint on a line to the end of the program; function, file and line of each stop."""
    found: list[tuple[str, str, int]] = []
    with connected(port) as client:
        client.attach(line, program=path, justMyCode=True)
        for stop in client.stops():
            found.append((stop.frames[0]["name"], Path(stop.frames[0]["source"]["path"]).name, stop.line))
            client.go(stop, "stepIn" if len(found) < 60 else "continue")
    return found


def test_debugpy_steps_through_the_same_lines(tmp_path: Path) -> None:
    if find_spec("debugpy") is None:
        pytest.skip("debugpy isn't installed here")
    files(tmp_path, orders=ORDERS, program=PROGRAM)
    stops = []
    for watched in (False, True):
        port = free_port()
        debugger = ["-m", "debugpy", "--listen", f"127.0.0.1:{port}", "--wait-for-client", "program.py"]
        with subprocess.Popen(
            [sys.executable, "-Xfrozen_modules=off", *(WATCHED if watched else ()), *debugger],
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as child:
            try:
                stops.append(steps(port, tmp_path / "orders.py", 17))
                child.communicate(timeout=60)
            finally:
                child.kill()
    assert ("prices", "orders.py", 14) in stops[0]
    assert ("add_order", "orders.py", 27) in stops[0]
    assert stops[1] == stops[0]
    assert "orders:add_order()" in told(tmp_path)
