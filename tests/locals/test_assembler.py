"""Code with announcements is the code that it was, and announcements: ``dis`` reads the same of it without them."""

from __future__ import annotations

import dis
import marshal
import os
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

import corpus
import pytest

from memwatch_core.adapter import bindings
from memwatch_core.adapter.assembler import Insertions, Op, insert, instructions

LIBRARY = Path(sysconfig.get_path("stdlib"))
SOME = ("asyncio", "json", "email", "importlib", "concurrent", "xml")
SOAK = bool(os.environ.get("MEMWATCH_SOAK"))


class View(NamedTuple):
    """What ``dis`` reads: instructions, by numbers instead of addresses."""

    instructions: list[tuple[str, Any, Any]]
    """Name, argument (of a jump: the number of its target), position."""
    ranges: list[tuple[int, int, int, int, bool]]
    inserted: int


def view(code: CodeType, own: int) -> View:
    """``own``: how many constants the code had; what begins with one behind them was inserted."""
    numbers: dict[int, int] = {}
    """By the address where an instruction begins, or what was inserted before it."""
    found: list[tuple[str, Any, Any]] = []
    begin, left, inserted = None, 0, 0
    for one in dis.get_instructions(code):
        begin = one.offset if begin is None else begin
        if one.opname == "EXTENDED_ARG":
            continue
        numbers.setdefault(begin, len(found))
        begin = None
        if one.opname == "LOAD_CONST" and one.arg is not None and one.arg >= own:
            left, inserted = 3, inserted + 1
        left -= 1
        if left < 0:
            found += halves(one)
    numbers[len(code.co_code)] = len(found)
    jumps = [(name, numbers[a[0]] if isinstance(a, tuple) else a, p) for name, a, p in found]
    entries = dis._parse_exception_table(code)  # type: ignore[attr-defined]
    ranges = [(numbers[e.start], numbers[e.end], numbers[e.target], e.depth, e.lasti) for e in entries]
    return View(jumps, ranges, inserted)


def halves(one: dis.Instruction) -> Iterator[tuple[str, Any, Any]]:
    where = None if one.positions is None else tuple(one.positions)
    if one.opname == "STORE_FAST_STORE_FAST" and one.arg is not None:
        yield "STORE_FAST", one.arg >> 4, where
        yield "STORE_FAST", one.arg & 15, where
    elif one.opcode in dis.hasjrel:
        yield one.opname, (one.argval,), where
    else:
        yield one.opname, one.arg, where


def codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield from codes(one)


def differences(code: CodeType) -> Iterator[str]:
    """Where the code with announcements isn't what it was."""
    instrumented = bindings.instrument(code, "m")
    assert marshal.loads(marshal.dumps(instrumented)) == instrumented
    for before, after in zip(codes(code), codes(instrumented), strict=True):
        was, now = view(before, len(before.co_consts)), view(after, len(before.co_consts))
        name = f"{before.co_filename}:{before.co_firstlineno} {before.co_qualname}"
        if was[:2] != now[:2]:
            yield name
        kept = [one.co_qualname if isinstance(one, CodeType) else one for one in after.co_consts]
        own = [one.co_qualname if isinstance(one, CodeType) else one for one in before.co_consts]
        if repr(kept[: len(own)]) != repr(own):
            yield f"{name}: constants"
        for what in ("names", "varnames", "cellvars", "freevars", "flags", "firstlineno", "argcount", "nlocals"):
            if getattr(before, f"co_{what}") != getattr(after, f"co_{what}"):
                yield f"{name}: {what}"


def library() -> list[Path]:
    found = [path for path in sorted(LIBRARY.rglob("*.py")) if "lib2to3/tests/data" not in str(path)]
    return found if SOAK else [path for path in found if path.relative_to(LIBRARY).parts[0] in SOME]


@pytest.mark.filterwarnings("ignore")
def test_code_of_the_library_is_what_it_was_between_announcements() -> None:
    count, different = 0, list[str]()
    for path in library():
        try:
            code = compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
        except (SyntaxError, ValueError):
            continue  # kept there for tests
        count += 1
        different += differences(code)
    assert count > 100
    assert not different, different[:10]


def test_code_of_the_corpus_is_what_it_was_between_announcements() -> None:
    code = compile(corpus.SOURCE, "corpus.py", "exec")
    assert not list(differences(code))
    assert sum(view(one, 0).inserted for one in codes(bindings.instrument(code, "m"))) > 3000


def long_jumps(count: int) -> CodeType:
    """A function whose jumps lead over so many stores."""
    body = "\n".join(f"        a{n % 7} = n" for n in range(count))
    head = "def f(n):\n    done = 0\n    while n:\n        n -= 1\n        if n % 2: continue\n"
    text = f"{head}{body}\n        done += a0\n    return done\n"
    code = compile(text, "long.py", "exec").co_consts[0]
    assert isinstance(code, CodeType)
    return code


@pytest.mark.parametrize("count", [10, 20, 24, 30, 60, 61, 62, 63, 64, 65, 100, 128, 250, 8000, 22000])
def test_jumps_grow_as_far_as_they_must(count: int) -> None:
    """Around the lengths at which their argument takes one more byte."""
    code = long_jumps(count)
    assert not list(differences(code))
    space: dict[str, Any] = {}
    exec("def f(n): pass", space)
    f, plain = space["f"], type(space["f"])(code, {})
    insertions = Insertions()
    nop = [Op(dis.opmap["NOP"])] * 3
    for one in instructions(code):
        if dis.opname[one.op].startswith("STORE_FAST"):
            insertions.before[one.at] = nop
    f.__code__ = insert(code, insertions, (), 0)
    assert f(7) == plain(7)
    assert list(f.__code__.co_lines())[-1][2] == list(code.co_lines())[-1][2]


def handlers(count: int) -> CodeType:
    """A function of so many exception handlers, each with a comprehension."""
    one = "    try:\n        a = n\n    except ValueError as e:\n        a = [k for k in (n,)]\n"
    one += "    finally:\n        b = n\n"
    return compile("def f(n):\n" + one * count, "handlers.py", "exec")


def test_the_time_for_a_long_function_grows_with_its_length() -> None:
    """Sixteen times as many handlers took 256 times as long."""

    def seconds(count: int) -> float:
        code = handlers(count)
        begin = time.process_time()
        bindings.instrument(code, "m")
        return time.process_time() - begin

    seconds(10)
    assert seconds(1600) < 80 * min(seconds(100) for _ in range(3))


def test_many_constants_are_loaded() -> None:
    names = [f"v{n}" for n in range(700)]
    text = "def f():\n" + "".join(f"    {name} = {n}\n" for n, name in enumerate(names)) + "    return locals()\n"
    code = compile(text, "many.py", "exec")
    assert not list(differences(code))
