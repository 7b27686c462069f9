"""libc calls that have watched memory written succeed as they would have; every byte that they bring is an event."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from .conftest import FLAGS, gcc
from .machine import HERE

SCENARIOS = (
    "each", "errors", "several", "large", "adopted", "datagrams", "tcp", "interrupted", "left", "cancelled", "threads",
    "forked", "nested", "direct", "pointers", "ended", "unreadable", "changed",
)  # fmt: skip
PROGRAMS = {
    "PIE, lazy": ("-pie", "-fPIE", "-Wl,-z,lazy"),
    "PIE, bound at start": ("-pie", "-fPIE", "-Wl,-z,now", "-Wl,-z,relro"),
    "at a fixed address": ("-no-pie", "-fno-pie", "-Wl,-z,lazy"),
    "without PLT": ("-pie", "-fPIE", "-fno-plt"),
}
MODULES = {
    "lazy": ("-Wl,-z,lazy", "-Wl,-z,norelro"),
    "bound at load": ("-Wl,-z,now", "-Wl,-z,relro"),
    "without PLT": ("-fno-plt", "-Wl,-z,relro"),
}
SKIPPED = 77

SHIM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>
static int calls;
ssize_t read(int fd, void *buffer, size_t size) {
    ssize_t (*next)(int, void *, size_t) = dlsym(RTLD_NEXT, "read");
    calls++;
    return next(fd, buffer, size);
}
__attribute__((destructor)) static void check(void) { if (!calls) abort(); }
"""


@pytest.fixture(scope="session")
def programs(core: Path) -> dict[str, Path]:
    """The program as the linker can make it: with tables of its imports in different places and states."""
    found = {}
    for i, (name, flags) in enumerate(PROGRAMS.items()):
        out = found[name] = core / f"calls-{i}"
        gcc(
            *FLAGS,
            *flags,
            "-o",
            out,
            HERE / "calls.c",
            "-L",
            core,
            "-lmwcore",
            f"-Wl,-rpath,{core}",
            "-lpthread",
            "-ldl",
        )
    return found


def run(program: Path, tracker: str, folder: Path, *scenario: object, **environment: str) -> None:
    command = [str(program), tracker, str(folder / "journal"), *map(str, scenario)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment)
    if done.returncode == SKIPPED:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, f"status {done.returncode}: {done.stderr}"


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_call_brings_every_byte_and_reports_it(
    scenario: str, tracker: str, programs: dict[str, Path], tmp_path: Path
) -> None:
    run(programs["PIE, bound at start"], tracker, tmp_path, scenario)


@pytest.mark.parametrize("kind", PROGRAMS)
def test_calls_of_a_program_are_redirected_however_it_is_linked(
    kind: str, programs: dict[str, Path], tmp_path: Path
) -> None:
    for scenario in ("each", "pointers"):
        folder = tmp_path / scenario
        folder.mkdir()
        run(programs[kind], "readonly", folder, scenario)


@pytest.mark.parametrize("kind", MODULES)
def test_calls_of_a_module_loaded_later_are_redirected(kind: str, programs: dict[str, Path], tmp_path: Path) -> None:
    modules = [tmp_path / "late.so", tmp_path / "other.so"]
    for module in modules:
        gcc(*FLAGS, *MODULES[kind], "-shared", "-fPIC", "-o", module, HERE / "late.c")
    for scenario in ("late", "loading"):
        folder = tmp_path / scenario
        folder.mkdir()
        run(programs["PIE, lazy"], "readonly", folder, scenario, *modules)


def test_calls_of_a_preloaded_library_still_go_through_it(programs: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "shim.c").write_text(SHIM)
    gcc("-O2", "-shared", "-fPIC", "-o", tmp_path / "shim.so", tmp_path / "shim.c", "-ldl")
    for kind, scenario in (
        ("PIE, bound at start", "each"),
        ("PIE, lazy", "interrupted"),
        ("at a fixed address", "each"),
    ):
        folder = tmp_path / f"{kind} {scenario}"
        folder.mkdir()
        run(programs[kind], "readonly", folder, scenario, LD_PRELOAD=str(tmp_path / "shim.so"))
