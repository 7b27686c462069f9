"""``%load_ext memwatch``: a change of a cell that isn't shown, or with another line; one that does otherwise."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ipykernel", reason="pip install ipykernel jupyter_client")
manager = pytest.importorskip("jupyter_client.manager", reason="pip install ipykernel jupyter_client")
pytest.importorskip("jupyter_memwatch", reason="pip install jupyter-memwatch")

pytestmark = pytest.mark.filterwarnings("ignore")


class Kernel:
    """A real kernel, in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.manager = manager.KernelManager()
        self.manager.kernel_spec.argv[0] = sys.executable
        self.manager.start_kernel(cwd=str(folder))
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def run(self, code: str) -> tuple[str, dict[str, Any]]:
        """What a cell prints, shows and raises, as text; and its reply."""
        shown: list[str] = []

        def keep(message: dict[str, Any]) -> None:
            content = message["content"]
            if message["msg_type"] == "stream":
                shown.append(content["text"])
            elif message["msg_type"] in ("display_data", "execute_result"):
                shown.append(content["data"]["text/plain"] + "\n")
            elif message["msg_type"] == "error":
                shown.append(f"{content['ename']}: {content['evalue']}\n")

        reply = self.client.execute_interactive(code, timeout=60, output_hook=keep)
        return "".join(shown), reply["content"]

    def end(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Kernel]:
    made = Kernel(tmp_path)
    try:
        shown, reply = made.run("%load_ext memwatch")
        assert (shown, reply["status"]) == ("", "ok")
        yield made
    finally:
        made.end()


def rows(shown: str) -> list[list[str]]:
    """The cells of the table, without its title and head."""
    lines = shown.splitlines()
    head = next(number for number, line in enumerate(lines) if line.startswith("variable "))
    return [[part.strip() for part in line.split("  ") if part.strip()] for line in lines[head + 1 :]]


def test_a_cell_shows_what_it_has_changed_with_its_own_lines(kernel: Kernel) -> None:
    kernel.run("total, config = 0, {'debug': False}")
    shown, reply = kernel.run(
        "%%watch total config\ntotal += 1\ndef tune():\n    config['debug'] = True\ntune()\ntotal"
    )
    number = reply["execution_count"]
    assert shown.startswith("1\n"), "the cell's own value is gone"
    assert "MemWatch: 2 changes of total, config" in shown
    assert rows(shown) == [
        ["total", "0", "1", f"In [{number}]:2"],
        ['config["debug"]', "False", "True", f"In [{number}]:4", "tune"],
    ]


def test_a_line_of_another_cell_is_named_by_that_cell(kernel: Kernel) -> None:
    _, first = kernel.run("total = 0\ndef add():\n    global total\n    total += 1")
    shown, _ = kernel.run("%%watch total\nadd()")
    assert rows(shown) == [["total", "0", "1", f"In [{first['execution_count']}]:4", "add"]]


def test_a_name_that_is_not_there_yet(kernel: Kernel) -> None:
    shown, reply = kernel.run("%%watch later\nlater = 1\ndel later")
    number = reply["execution_count"]
    assert rows(shown) == [["later", "absent", "1", f"In [{number}]:2"], ["later", "1", "absent", f"In [{number}]:3"]]


def test_without_targets_all_that_the_cell_mentions(kernel: Kernel) -> None:
    kernel.run("rows = [1]\nother = 5")
    shown, reply = kernel.run("%%watch\nrows.append(2)\nmade = {}\nmade['a'] = 1")
    number = reply["execution_count"]
    assert {tuple(row) for row in rows(shown)} == {
        ("rows[1]", "absent", "2", f"In [{number}]:2"),
        ("made", "absent", "{}", f"In [{number}]:3"),
        ('made["a"]', "absent", "1", f"In [{number}]:4"),
    }


def test_a_place_below_a_name(kernel: Kernel) -> None:
    kernel.run("class Order:\n    pass\norder = Order()\norder.total = order.other = 1\nconfig = {'a': {'b': 1}}")
    shown, reply = kernel.run(
        "%%watch order.total config['a']['b']\norder.total = 2\norder.other = 3\nconfig['a']['b'] = 4"
    )
    number = reply["execution_count"]
    assert [row[1:] for row in rows(shown)] == [["1", "2", f"In [{number}]:2"], ["1", "4", f"In [{number}]:4"]]


def test_an_exception_of_the_cell_stays_and_the_changes_before_it_are_shown(kernel: Kernel) -> None:
    shown, reply = kernel.run("%%watch x\nx = 1\nraise ValueError('theirs')\nx = 2")
    assert reply["status"] == "error"
    assert reply["ename"] == "ValueError"
    assert "ValueError: theirs" in shown
    assert rows(shown[shown.index("MemWatch") :])[0][:3] == ["x", "absent", "1"]


def test_an_error_of_syntax_is_the_cells_own(kernel: Kernel) -> None:
    shown, reply = kernel.run("%%watch x\nx = = 1")
    assert reply["ename"] == "SyntaxError"
    assert "MemWatch" not in shown
    assert kernel.run("1 + 1")[0] == "2\n"


def test_a_cell_that_awaits(kernel: Kernel) -> None:
    source = (
        "%%watch total\n"
        "import asyncio\n"
        "async def add(n):\n"
        "    global total\n"
        "    await asyncio.sleep(0.01)\n"
        "    total += n\n"
        "total = 0\n"
        "await asyncio.gather(add(1), add(2))\n"
        "total\n"
    )
    shown, reply = kernel.run(source)
    assert reply["status"] == "ok"
    assert shown.startswith("3\n")
    assert [row[:3] for row in rows(shown)] == [["total", "absent", "0"], ["total", "0", "1"], ["total", "1", "3"]]


def test_watch_goes_on_for_all_cells_to_come_until_unwatch(kernel: Kernel) -> None:
    assert kernel.run("%watch total")[0] == ""
    assert rows(kernel.run("total = 1")[0])[0][:3] == ["total", "absent", "1"]
    assert rows(kernel.run("total += 1")[0])[0][:3] == ["total", "1", "2"]
    assert kernel.run("other = 1")[0] == ""
    assert kernel.run("%watch")[0] == "watched: total\n"
    kernel.run("%unwatch total")
    assert kernel.run("total = 9")[0] == ""
    assert kernel.run("%watch")[0] == "watched: nothing\n"


def test_a_thread_that_writes_after_its_cell_is_shown_by_the_next(kernel: Kernel) -> None:
    kernel.run("%watch total\nimport threading, time\ntotal = 0")
    kernel.run(
        "def late():\n    global total\n    total = 7\n"
        "timer = threading.Timer(0.3, late); timer.name = 'worker'; timer.start()"
    )
    kernel.run("time.sleep(0)")
    import time

    time.sleep(0.6)
    shown, _ = kernel.run("1")
    assert shown.startswith("MemWatch: between cells")
    assert rows(shown)[0][:3] == ["total", "0", "7"]
    assert rows(shown)[0][-1] == "worker"


def test_blame_names_who_wrote_last(kernel: Kernel) -> None:
    kernel.run("%watch config\nconfig = {'a': 1}")
    _, reply = kernel.run("config['a'] = 2")
    shown, _ = kernel.run("%blame config")
    assert ['config["a"]', "1", "2", f"In [{reply['execution_count']}]:1"] in rows(shown)
    shown, reply = kernel.run("%blame nobody")
    assert reply["ename"] == "UsageError"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("%%watch absent.total\n1", "there is no absent yet"),
        ("%%watch a b c[\n1", "not a target: the bracket"),
        ("%unwatch total", "total is not watched: nothing is"),
        ("%%watch total when='new <'\n1", "expected a value"),
        ("%%watch total when='new < 0' when='new > 0'\n1", "when= is given twice"),
        (
            "%%watch total when='new < 0' then=nothing\n1",
            "then=nothing: it is one of break, raise, dump, or a function",
        ),
        ("%watch when='size > 0' total", "size"),
    ],
)
def test_what_cannot_be_watched_is_said_and_the_cell_is_not_run(line: str, said: str, kernel: Kernel) -> None:
    shown, reply = kernel.run(line)
    assert said in shown or said in str(reply)
    assert reply["status"] == "error" or "UsageError" in shown
    assert kernel.run("1 + 1")[0].endswith("2\n")


def test_what_lies_below_a_property_is_refused_and_the_property_is_not_called(kernel: Kernel) -> None:
    kernel.run(
        "class Order:\n    __slots__ = ('lines',)\n    asked = 0\n    @property\n    def total(self):\n"
        "        Order.asked += 1\n        return self.lines\norder = Order()\norder.lines = {'qty': 1}"
    )
    shown, reply = kernel.run("%watch order.total['qty']")
    assert "total is computed by a property" in shown or "total is computed by a property" in str(reply)
    assert rows(kernel.run("%%watch order.lines['qty']\norder.lines['qty'] = 2")[0])[0][1:3] == ["1", "2"]
    assert kernel.run("Order.asked")[0].endswith("0\n")


def test_values_are_escaped(kernel: Kernel) -> None:
    shown, _ = kernel.run("%%watch x\nx = '\\x1b[31m<b>'")
    assert "\x1b" not in shown.partition("MemWatch")[2]


def test_an_unloaded_extension_leaves_the_kernel_as_it_was(kernel: Kernel) -> None:
    kernel.run("%watch total\ntotal = 1")
    kernel.run("%unload_ext memwatch")
    assert kernel.run("total = 2")[0] == ""
    shown, reply = kernel.run("%blame total")
    assert "not found" in shown or reply["status"] == "error"
    kernel.run("%load_ext memwatch")
    assert rows(kernel.run("%%watch total\ntotal = 3")[0])[0][:3] == ["total", "2", "3"]


def test_a_restarted_kernel_begins_anew(kernel: Kernel) -> None:
    kernel.run("%watch total\ntotal = 1")
    kernel.manager.restart_kernel(now=True)
    kernel.client.wait_for_ready(timeout=60)
    assert "not found" in kernel.run("%watch")[0]
    kernel.run("%load_ext memwatch")
    assert kernel.run("%watch")[0] == "watched: nothing\n"
    assert rows(kernel.run("%%watch total\ntotal = 5")[0])[0][:3] == ["total", "absent", "5"]


def test_nothing_is_begun_before_it_is_asked_for(kernel: Kernel, tmp_path: Path) -> None:
    kernel.run("x = 1")
    assert not (tmp_path / ".memwatch").exists()
    kernel.run("%%watch x\nx = 2")
    assert (tmp_path / ".memwatch").exists()


def test_in_a_shell_of_ipython_without_a_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess

    program = "\n".join(
        [
            "from IPython.core.interactiveshell import InteractiveShell",
            "shell = InteractiveShell.instance(colors='nocolor')",
            "shell.run_cell('%load_ext memwatch')",
            "shell.run_cell('total = 0', store_history=True)",
            "shell.run_cell('%%watch total\\ntotal += 1\\ntotal += 1', store_history=True)",
            "shell.run_cell_magic('watch', 'total', 'total += 1\\n')",
        ]
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "2 changes of total" in done.stdout, (done.stdout, done.stderr)
    assert "1 change of total" in done.stdout
    assert "In [2]:2" in done.stdout


@pytest.mark.parametrize(
    "line", ["%%watch total when='new < 0' then=raise", '%%watch then="raise" when="new < 0" total']
)
def test_what_meets_a_condition_raises_in_its_line_of_the_cell(line: str, kernel: Kernel) -> None:
    kernel.run("total = 1\nlater = 0")
    shown, reply = kernel.run(f"{line}\ntotal = 5\ntotal = -2\nlater = 1")
    assert reply["ename"] == "MutationError"
    assert "total 5 → -2" in reply["evalue"]
    assert re.search(r"-> *3 *total = -2", re.sub(r"\x1b\[[\d;]*m", "", "\n".join(reply["traceback"])))
    assert [row[:3] for row in rows(shown)] == [["total", "1", "5"], ["total", "5", "-2"]]
    assert kernel.run("(total, later)")[0].endswith("(-2, 0)\n")
    assert kernel.run("total = -3")[1]["status"] == "ok", "it ended with its cell"


def test_a_condition_of_watch_is_judged_in_all_cells_to_come(kernel: Kernel) -> None:
    kernel.run("hits = []\ndef note(hit): hits.append((hit.path, hit.old, hit.new))\nconfig = {'limit': 1}")
    kernel.run("%watch config['limit'] when='new > 7' then=note")
    for value in (7, 8, 3, 9):
        kernel.run(f"config['limit'] = {value}")
    assert (
        "('config[\\'limit\\']', 7, 8)" in (shown := kernel.run("print(hits)")[0].replace('"', "'")) or "7, 8" in shown
    )
    assert len(eval(kernel.run("print(hits)")[0])) == 2
    kernel.run("%watch config['limit'] when='new > 100' then=note")
    kernel.run("config['limit'] = 50\nconfig['limit'] = 101")
    assert [hit[1:] for hit in eval(kernel.run("print(hits)")[0])] == [(7, 8), (3, 9), (50, 101)]
    kernel.run("%unwatch")
    kernel.run("config['limit'] = 500")
    assert len(eval(kernel.run("print(hits)")[0])) == 3


def test_break_calls_what_breakpoint_calls_in_the_cells_frame(kernel: Kernel) -> None:
    """ipykernel gives that to debugpy, which stops if a debugger is connected."""
    kernel.run("import sys\nstops = []\ndef hook(*a, **k):\n    frame = sys._getframe(1)\n"
               "    stops.append((frame.f_lineno, frame.f_code.co_name, frame.f_globals['total']))\n"
               "sys.breakpointhook = hook\ntotal = 1")  # fmt: skip
    shown, reply = kernel.run("%%watch total when='new < 0'\ntotal = 5\ntotal = -4\nprint('went on')")
    assert reply["status"] == "ok"
    assert "went on" in shown
    assert eval(kernel.run("print(stops)")[0]) == [(3, "<module>", -4)]


def test_a_cells_condition_doesnt_replace_that_of_watch(kernel: Kernel) -> None:
    kernel.run("%watch total")
    shown, reply = kernel.run("%%watch total when='new < 0' then=raise\ntotal = -1")
    assert "total is watched by %watch" in shown + str(reply)
