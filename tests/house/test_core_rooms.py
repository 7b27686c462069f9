"""The folders of the C sources stand above one another: a file calls its own folder's and those below. In the core, it
says so by including their headers."""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "memwatch_core"
CORE, PYTHON = PACKAGE / "core", PACKAGE / "python"
ROOMS = ["base", "text", "memory", "journal", "stores", "process", "calls", "api"]  # from the ground up
PYTHON_ROOMS = ["", "origins", "breaks", "places", "locals", "values", "sql"]
ONE_THING = [
    {"journal/journal.c", "journal/journal_file.c"},  # the first record makes the file
    {
        *("places/node.c", "places/node_slots.c", "places/node_items.c", "places/node_members.c"),
        *("places/node_names.c", "places/node_left.c", "places/node_secrets.c"),
        *("places/node_spots.c", "places/node_route.c"),
    },  # the parts of a node
]
EVERYBODYS = {"state.h", "memwatch.h", "base/compiler.h", "adapter.h", "interpreter.h"}


def plain(path: Path) -> str:
    """The text of a C file, without comments."""
    return re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)


class Sources:
    """The C files of a folder, by name, and what calls what."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.texts = {str(path.relative_to(folder)): plain(path) for path in folder.rglob("*.[ch]")}
        self.files = sorted(file for file in self.texts if file.endswith(".c"))
        self.defined = {name: file for file in self.files for name in self._functions(self.texts[file])}
        self.calls = functools.cache(self._calls)

    def __str__(self) -> str:
        return self.folder.name

    @staticmethod
    def _functions(text: str) -> set[str]:
        """Names of functions that others can call."""
        pattern = r"^(?!static)[A-Za-z_][^;={}()]*?\b(\w+)\([^;{}]*\)\s*\{"
        named = re.findall(pattern, text, flags=re.MULTILINE) + re.findall(r'"\.type (\w+), @function', text)
        static = r"^[^\n]*\bstatic\b[^\n;{}]*\b"
        return {name for name in named if not re.search(static + name + r"\(", text, flags=re.MULTILINE)}

    def _calls(self, file: str) -> dict[str, set[str]]:
        """Files whose functions a file names, with their names."""
        body = re.sub(r"^#include.*$|\"(?:[^\"\\\n]|\\.)*\"", "", self.texts[file], flags=re.MULTILINE)
        pasted = {f"replaced_{name}" for name in re.findall(r"(?:CALLS|SIGNALS|MEMORY|ENTRY)\(\w+, (\w+)", body)}
        found: dict[str, set[str]] = defaultdict(set)
        for name in {*re.findall(r"\b\w+\b", body), *pasted}:
            if self.defined.get(name, file) != file and not re.search(rf"(?:\.|->){name}\b", body):
                found[self.defined[name]].add(name)
        return found


SOURCES, HALF = Sources(CORE), Sources(PYTHON)
FILES = SOURCES.texts


def offers(text: str) -> set[str]:
    """Names of a header's functions, macros, types and constants."""
    enums = " ".join(re.findall(r"\benum\b[^{;]*\{(.*?)\}", text, flags=re.DOTALL))
    patterns = (
        r"\b(\w+)\([^;{}]*\)\s*[;{_]",
        r"#define (\w+)",
        r"(?:struct|enum) (\w+) \{",
        r"\} (\w+);",
        r"extern [^;]*?(\w+)[\[;]",
        r"extern [^;]*?\(\*(\w+)\)\(",
    )
    return {name for pattern in patterns for name in re.findall(pattern, text)} | set(re.findall(r"\b[A-Z]\w+", enums))


def room(file: str) -> str:
    return file.split("/")[0] if "/" in file else ""


def test_functions_of_the_core_are_found() -> None:
    assert len(SOURCES.defined) > 200
    assert SOURCES.defined["executor_run"] == "stores/executor.c"
    assert SOURCES.defined["mw_fault_handler"] == "stores/fault.c"
    assert SOURCES.calls("stores/fault.c")["stores/executor.c"] == {"executor_run"}


def test_every_file_is_in_a_room() -> None:
    assert {room(file) for file in FILES} == {*ROOMS, ""}
    assert {file for file in FILES if not room(file)} == {"memwatch.h", "state.h", "state.c"}


@pytest.mark.parametrize("file", SOURCES.files)
def test_file_calls_no_room_above_its_own(file: str) -> None:
    if not room(file):
        assert not SOURCES.calls(file)
        return
    above = {
        f"{callee}: {', '.join(sorted(names))}"
        for callee, names in SOURCES.calls(file).items()
        if ROOMS.index(room(callee)) > ROOMS.index(room(file))
    }
    assert not above


@pytest.mark.parametrize("sources", [SOURCES, HALF], ids=["core", "python"])
def test_no_file_calls_one_that_calls_it(sources: Sources) -> None:
    graph = {file: set(sources.calls(file)) for file in sources.files}
    for one in ONE_THING:
        for file in one & graph.keys():
            graph[file] -= one
    while leaves := {file for file, callees in graph.items() if not callees & graph.keys()}:
        graph = {file: callees for file, callees in graph.items() if file not in leaves}
    assert not graph, f"these call one another in a circle: {sorted(graph)}"


@pytest.mark.parametrize("file", HALF.files)
def test_file_of_the_adapter_calls_no_room_above_its_own(file: str) -> None:
    for callee, names in HALF.calls(file).items():
        assert PYTHON_ROOMS.index(room(callee)) <= PYTHON_ROOMS.index(room(file)), f"{callee}: {sorted(names)}"


def test_functions_of_the_adapter_are_found() -> None:
    assert HALF.calls("values/proxy.c")["errors.c"] == {"mwpy_raise"}
    assert HALF.calls("origins/frames.c")["origins/context.c"] == {"mwpy_context_of"}


@pytest.mark.parametrize(
    ("sources", "file"), [(sources, file) for sources in (SOURCES, HALF) for file in sources.files], ids=str
)
def test_file_includes_the_headers_of_what_it_calls_and_no_others(sources: Sources, file: str) -> None:
    texts = sources.texts
    included = set(re.findall(r'^#include "([^"]+)"', texts[file], flags=re.MULTILINE))
    of_calls = {callee[:-2] + ".h" for callee in sources.calls(file) if callee[:-2] + ".h" in texts}
    assert of_calls <= included | {"state.h"}
    words = set(re.findall(r"\w+", re.sub(r"^#include.*$", "", texts[file], flags=re.MULTILINE)))
    for header in included - EVERYBODYS - {file[:-2] + ".h"}:
        if header.startswith("internal/"):
            continue  # CPython's
        named = offers(texts.get(header) or FILES[header])
        assert (words | {f"replaced_{word}" for word in words}) & named, f"nothing of {header} is used"


@pytest.mark.parametrize("sources", [SOURCES, HALF], ids=["core", "python"])
def test_what_another_file_defines_is_declared_in_its_header(sources: Sources) -> None:
    declared = r"^extern [^;{]*;|^(?!static|return|typedef)[a-z][\w ]*[ *]\w+\([^{}=;]*\);"
    for file in sources.files:
        lines = re.findall(declared, sources.texts[file], flags=re.MULTILINE)
        names = {name for line in lines for name in re.findall(r"(\w+)(?=[\[(;,])", line)}
        others = " ".join(sources.texts[other] for other in sources.files if other != file)
        assert not {name for name in names - {"__attribute__"} if re.search(rf"\b{name}\b", others)}, file


@pytest.mark.parametrize("header", sorted(file for file in FILES if file.endswith(".h")))
def test_header_includes_no_room_above_its_own(header: str) -> None:
    if header == "state.h":
        return
    for included in re.findall(r'^#include "([^"]+)"', FILES[header], flags=re.MULTILINE):
        if included not in EVERYBODYS:
            assert ROOMS.index(room(included)) <= ROOMS.index(room(header)), included
