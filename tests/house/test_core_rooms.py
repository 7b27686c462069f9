"""The core's folders stand above one another: a file calls its own folder's and those below, and says so by including
their headers."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import pytest

CORE = Path(__file__).parents[2] / "memwatch_core" / "core"
ROOMS = ["base", "memory", "journal", "stores", "process", "calls", "api"]  # from the ground up
ONE_THING = [{"journal/journal.c", "journal/journal_file.c"}]  # the first record makes the file
EVERYBODYS = {"state.h", "memwatch.h", "base/compiler.h"}


def plain(path: Path) -> str:
    """The text of a C file, without comments."""
    return re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)


FILES = {str(path.relative_to(CORE)): plain(path) for path in CORE.rglob("*.[ch]")}
DEFINED = {
    name: file
    for file, text in FILES.items()
    if file.endswith(".c")
    for name in re.findall(r"^(?!static)[A-Za-z_][^;={}()]*?\b(\w+)\([^;{}]*\)\s*\{", text, flags=re.MULTILINE)
    if not re.search(rf"^[^\n]*\bstatic\b[^\n;{{}}]*\b{name}\(", text, flags=re.MULTILINE)
} | {name: file for file, text in FILES.items() for name in re.findall(r'"\.type (\w+), @function', text)}


def calls(file: str) -> dict[str, set[str]]:
    """Files whose functions a file names, with their names."""
    body = re.sub(r"^#include.*$|\"(?:[^\"\\\n]|\\.)*\"", "", FILES[file], flags=re.MULTILINE)
    found: dict[str, set[str]] = defaultdict(set)
    for name in set(re.findall(r"\b\w+\b", body)) | {
        f"replaced_{n}" for n in re.findall(r"(?:CALLS|SIGNALS|ENTRY)\(\w+, (\w+)", body)
    }:
        if DEFINED.get(name, file) != file and not re.search(rf"(?:\.|->){name}\b", body):
            found[DEFINED[name]].add(name)
    return found


def offers(header: str) -> set[str]:
    """Names of a header's functions, macros, types and constants."""
    text = FILES[header]
    enums = " ".join(re.findall(r"\benum\b[^{;]*\{(.*?)\}", text, flags=re.DOTALL))
    patterns = (
        r"\b(\w+)\([^;{}]*\)\s*[;{_]",
        r"#define (\w+)",
        r"(?:struct|enum) (\w+) \{",
        r"extern [^;]*?(\w+)[\[;]",
    )
    return {name for pattern in patterns for name in re.findall(pattern, text)} | set(re.findall(r"\b[A-Z]\w+", enums))


SOURCES = sorted(file for file in FILES if file.endswith(".c"))


def room(file: str) -> str:
    return file.split("/")[0] if "/" in file else ""


def test_functions_of_the_core_are_found() -> None:
    assert len(DEFINED) > 200
    assert DEFINED["executor_run"] == "stores/executor.c"
    assert DEFINED["mw_fault_handler"] == "stores/fault.c"
    assert calls("stores/fault.c")["stores/executor.c"] == {"executor_run"}


def test_every_file_is_in_a_room() -> None:
    assert {room(file) for file in FILES} == {*ROOMS, ""}
    assert {file for file in FILES if not room(file)} == {"memwatch.h", "state.h", "state.c"}


@pytest.mark.parametrize("file", SOURCES)
def test_file_calls_no_room_above_its_own(file: str) -> None:
    if not room(file):
        assert not calls(file)
        return
    above = {
        f"{callee}: {', '.join(sorted(names))}"
        for callee, names in calls(file).items()
        if ROOMS.index(room(callee)) > ROOMS.index(room(file))
    }
    assert not above


def test_no_file_calls_one_that_calls_it() -> None:
    graph = {file: set(calls(file)) for file in SOURCES}
    for one in ONE_THING:
        for file in one:
            graph[file] -= one
    while leaves := {file for file, callees in graph.items() if not callees & graph.keys()}:
        graph = {file: callees for file, callees in graph.items() if file not in leaves}
    assert not graph, f"these call one another in a circle: {sorted(graph)}"


@pytest.mark.parametrize("file", SOURCES)
def test_file_includes_the_headers_of_what_it_calls_and_no_others(file: str) -> None:
    included = set(re.findall(r'^#include "([^"]+)"', FILES[file], flags=re.MULTILINE))
    of_calls = {callee[:-2] + ".h" for callee in calls(file) if callee[:-2] + ".h" in FILES}
    assert of_calls <= included | {"state.h"}
    words = set(re.findall(r"\w+", re.sub(r"^#include.*$", "", FILES[file], flags=re.MULTILINE)))
    for header in included - EVERYBODYS - {file[:-2] + ".h"}:
        assert (words | {f"replaced_{word}" for word in words}) & offers(header), f"nothing of {header} is used"


@pytest.mark.parametrize("header", sorted(file for file in FILES if file.endswith(".h")))
def test_header_includes_no_room_above_its_own(header: str) -> None:
    if header == "state.h":
        return
    for included in re.findall(r'^#include "([^"]+)"', FILES[header], flags=re.MULTILINE):
        if included not in EVERYBODYS:
            assert ROOMS.index(room(included)) <= ROOMS.index(room(header)), included
