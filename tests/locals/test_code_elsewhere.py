# ruff: noqa: E501 - a table of programs, each in a line
"""Code of a watched function that the program writes, copies or changes: it runs everywhere, and is as good as it was."""

from __future__ import annotations

import copy
import dis
import inspect
import io
import marshal
import pickle
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import corpus
import pytest
from told_of_locals import Told, journal, told

from memwatch_core import watch_locals
from memwatch_core.adapter import locals as watching

CALLS = {
    "fast": "def f(a):\n    b = a\n    b += 1\n    b = b + a\n    del b\n    return a\n",
    "two at once": "def f(a):\n    b, c = a, 2\n    d = c\n    return b + c + d\n",
    "closure": "def f(a):\n    n = a\n    def g():\n        nonlocal n\n        n += 1\n        return n\n    return g() + n\n",
    "class": "def f(a):\n    class C:\n        x = a\n        del x\n        y = 2\n    return C.y\n",
    "generator": "def f(a):\n    def g():\n        got = yield a\n        yield got\n    one = g()\n"
    "    return next(one) + one.send(5)\n",
    "handler": "def f(a):\n    try:\n        raise KeyError(a)\n    except KeyError as e:\n        n = e.args[0]\n"
    "    finally:\n        m = 3\n    return n + m\n",
    "loop": "def f(a):\n    for i, (j, *k) in enumerate([(a, 1), (2, 3)]):\n        [x for x in k]\n    return i + j + sum(k)\n",
    "match": "def f(a):\n    match [a, {'k': 3}]:\n        case [x, {'k': y, **z}] if (w := y):\n            return x + y + w\n",
    "with": "def f(a):\n    from contextlib import nullcontext\n    with nullcontext(a) as x, nullcontext(2) as y:\n"
    "        n = x + y\n    return n\n",
    "global": "def f(a):\n    global g\n    g = a\n    return g\n",
    "deep": "def f(a):\n    n = [a, (b := a + 1, [(c := b + 1, (d := c))])]\n    return n[1][1][0][1] + b + c + d\n",
}


def marshalled(version: int) -> Callable[[types.CodeType], types.CodeType]:
    return lambda code: marshal.loads(marshal.dumps(code, version))


def through_files(code: types.CodeType) -> types.CodeType:
    file = io.BytesIO()
    marshal.dump(code, file)
    file.seek(0)
    loaded: types.CodeType = marshal.load(file)
    return loaded


def pickled(protocol: int) -> Callable[[types.CodeType], types.CodeType]:
    """As cloudpickle does: constants by themselves, each code in them likewise."""

    def take(code: types.CodeType) -> types.CodeType:
        inner = tuple(take(one) if isinstance(one, types.CodeType) else one for one in code.co_consts)
        plain = tuple(one for one in inner if not isinstance(one, types.CodeType))
        loaded = iter(pickle.loads(pickle.dumps(plain, protocol)))
        return code.replace(co_consts=tuple(one if isinstance(one, types.CodeType) else next(loaded) for one in inner))

    return take


def by_cloudpickle(code: types.CodeType) -> types.CodeType:
    loaded: types.CodeType = pickle.loads(cloudpickle.dumps(code))
    return loaded


WRITTEN: dict[str, Callable[[types.CodeType], types.CodeType]] = {
    **{f"marshal {version}": marshalled(version) for version in range(marshal.version + 1)},
    "marshal to a file": through_files,
    **{f"pickle {protocol}": pickled(protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)},
    "cloudpickle": by_cloudpickle,
}
SAME: dict[str, Callable[[types.CodeType], types.CodeType]] = {
    "replace": lambda code: code.replace(),
    "replace its name": lambda code: code.replace(co_name="other"),
    "replace its constants": lambda code: code.replace(co_consts=(*code.co_consts, "more")),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


def watched(text: str) -> Any:
    space: dict[str, Any] = {"__name__": "elsewhere"}
    exec(compile(text, "elsewhere.py", "exec"), space)
    return watch_locals(space["f"])


def events(file: Path) -> list[Told]:
    """A journal in which nothing was recorded isn't kept."""
    return told(file) if file.exists() else []


def named(found: list[Told]) -> list[tuple[str, int | None, str, str, int | None]]:
    return [(one.name, one.activation, one.old, one.new, one.line) for one in found]


@pytest.mark.parametrize("way", WRITTEN)
@pytest.mark.parametrize("kind", CALLS)
def test_code_that_was_written_and_read_does_what_it_did_and_tells_nothing(kind: str, way: str, tmp_path: Path) -> None:
    function = watched(CALLS[kind])
    made = WRITTEN[way](function.__code__)
    again = types.FunctionType(made, {"__name__": "elsewhere", "__builtins__": __builtins__})
    results = []
    for one, tells in ((function, True), (again, False)):
        with journal(tmp_path / str(tells)) as file:
            results.append(one(4))
        assert bool(events(file)) is tells
    assert results[1] == results[0]


@pytest.mark.parametrize("way", SAME)
@pytest.mark.parametrize("kind", CALLS)
def test_code_that_was_copied_tells_what_it_told(kind: str, way: str, tmp_path: Path) -> None:
    function = watched(CALLS[kind])
    again = types.FunctionType(SAME[way](function.__code__), function.__globals__)
    results, tellings = [], []
    for number, one in enumerate((function, again)):
        with journal(tmp_path / str(number)) as file:
            function.__globals__.pop("g", None)
            results.append(one(4))
        tellings.append(named(events(file)))
    assert results[1] == results[0]
    assert tellings[0]
    assert tellings[1] == tellings[0]


def test_all_code_of_the_corpus_can_be_written_and_does_what_it_did(tmp_path: Path) -> None:
    code = compile(corpus.SOURCE, "corpus.py", "exec", dont_inherit=True)
    bound = watching.bind(watching.instrument(code, "corpus"))
    results = []
    for each in (code, marshal.loads(marshal.dumps(bound)), watching.instrument(code, "corpus")):
        space: dict[str, Any] = {"__name__": "corpus"}
        with journal(tmp_path / str(len(results))) as file:
            exec(each, space)
            results.append(space["main"]())
        assert not events(file)
    assert results[1] == results[0]
    assert results[2] == results[0], "placeholders do nothing either"


def test_marshalled_code_runs_where_there_is_no_memwatch(tmp_path: Path) -> None:
    (tmp_path / "code").write_bytes(marshal.dumps(watched(CALLS["handler"]).__code__))
    program = (
        "import marshal, pathlib, sys, types\n"
        "code = marshal.loads(pathlib.Path('code').read_bytes())\n"
        "print(types.FunctionType(code, globals())(4), 'memwatch_core' in sys.modules)"
    )
    command = [sys.executable, "-I", "-S", "-bb", "-W", "error", "-c", program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("7 False\n", "")


def test_somebody_who_asks_for_the_truth_of_constants_begins_nothing(tmp_path: Path) -> None:
    function = watched(
        "def f(a, code=None):\n    b = a\n    if code:\n        any([not each for each in code.co_consts])\n"
        "        all(code.co_consts[1:])\n        for one in code.co_consts:\n            not one\n"
        "            if one: del one\n    return b\n"
    )

    def ask(constants: tuple[object, ...]) -> int:
        found = 0
        for one in constants:
            if one:
                found += 1
            if not one:
                found -= 1
        return found + any(constants) + len(list(filter(None, constants)))

    with journal(tmp_path / "1") as file:
        ask(function.__code__.co_consts)
    assert not events(file)
    with journal(tmp_path / "2") as file:
        function(1, function.__code__)
    assert [one.new for one in events(file) if one.name == "f().b"] == ["1"]


def test_code_whose_stack_another_tool_has_changed_says_so_and_does_what_it_should(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A value more below everything, as a tool would put there that writes code of its own around it."""
    from memwatch_core.adapter.assembler import Insertions, Op, insert, instructions

    function = watched("def f(a):\n    b = a\n    c = b\n    return c\n")
    code = function.__code__
    insertions = Insertions()
    first = next(one for one in instructions(code) if dis.opname[one.op].startswith("LOAD_FAST"))
    insertions.before[first.at] = [Op(dis.opmap["LOAD_CONST"], 0)]
    function.__code__ = insert(code, insertions, (), 1)
    with journal(tmp_path) as file:
        assert function(4) == 4
        assert function(5) == 5
    assert [(one.name, one.new) for one in events(file)] == [("f().a", "4")]
    said = capfd.readouterr().err
    assert said.count("memwatch: locals aren't followed: ") == 1
    assert "f(): its code was changed by another tool, after MemWatch" in said


def test_code_is_to_inspect_and_dis_what_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    def orders(rows: list[int], *, rate: float = 0.5) -> float:
        """Their total."""
        total = sum(rows)
        return total * rate

    before = orders.__code__
    seen = [
        (inspect.signature(one), inspect.getdoc(one), inspect.getsource(one), inspect.getclosurevars(one))
        for one in (orders, watch_locals(orders))
    ]
    assert seen[1] == seen[0]
    after = orders.__code__
    assert after is not before
    assert after.co_consts[: len(before.co_consts)] == before.co_consts
    dis.dis(after)
    assert "<memwatch: total>" in capsys.readouterr().out
    assert {after: 1}[after.replace()] == 1, "equal, with the same hash"


@pytest.mark.parametrize("command", [["program.py"], ["-m", "program"]])
def test_a_program_that_caches_its_own_functions_does_what_it_does_without(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("""
import marshal, multiprocessing, cloudpickle, types

def total(rows, rate=2):
    found = 0
    for row in rows:
        found += row * rate
    return found

def call(data, rows):
    return cloudpickle.loads(data)(rows)

if __name__ == "__main__":
    again = types.FunctionType(marshal.loads(marshal.dumps(total.__code__)), globals(), "total", total.__defaults__)
    print(total([1, 2]), again([3]), cloudpickle.loads(cloudpickle.dumps(total))([4]))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.apply(call, (cloudpickle.dumps(total), [5])))
""")
    said = []
    for front in ([], ["-m", "memwatch_core.cli", "run", "-q", "--sink", "jsonl", "--track-locals"]):
        done = subprocess.run(
            [sys.executable, *front, *command], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
        )
        said.append((done.returncode, done.stdout, done.stderr))
    assert said[0] == (0, "6 6 8\n10\n", "")
    assert said[1] == said[0]
