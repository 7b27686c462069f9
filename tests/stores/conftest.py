"""Builds the core as a shared library and the C programs of these tests against it, once for a test session."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from .machine import CORE, HERE, TRACKERS, BuildError

SOAK = bool(os.environ.get("MEMWATCH_SOAK"))
FLAGS = (
    "-std=gnu11",
    "-O2",
    "-g",
    "-D_GNU_SOURCE",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-fno-strict-aliasing",
    f"-I{CORE}",
)


SANITIZERS = {  # make sanitize
    "": (),
    "address": (
        "-fsanitize=address,undefined",
        "-fno-sanitize=alignment",
        "-fno-sanitize-recover=undefined",
        "-fno-omit-frame-pointer",
    ),
    "thread": ("-fsanitize=thread", "-Wno-tsan", "-fno-omit-frame-pointer"),
}
os.environ.setdefault(  # the handlers are the core's
    "ASAN_OPTIONS",
    "allow_user_segv_handler=1:handle_segv=0:handle_sigbus=0:handle_sigfpe=0:handle_sigill=0:use_sigaltstack=0:detect_leaks=0",
)


def gcc(*arguments: object) -> None:
    """gcc, its complaint as the error."""
    command = ["gcc", *map(str, arguments), *SANITIZERS[os.environ.get("MEMWATCH_SANITIZE", "")]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"{' '.join(command)}\n{done.stderr}")


@pytest.fixture(scope="session")
def core(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with ``libmwcore.so``: the core's own sources, nothing else (no Python inside)."""
    folder = tmp_path_factory.mktemp("core")
    sources = sorted(CORE.rglob("*.c"))
    gcc(
        *FLAGS,
        "-fPIC",
        "-shared",
        "-Wl,-z,now",
        "-o",
        folder / "libmwcore.so",
        *sources,
        "-lZydis",
        "-lpthread",
        "-ldl",
    )
    return folder


Build = Callable[..., Path]


@pytest.fixture(scope="session")
def build(core: Path) -> Build:
    """``build("harness.c", objects...)``: a program of this folder, linked to the core."""

    def make(source: str, *more: object) -> Path:
        out = core / Path(source).stem
        if not out.exists():
            gcc(*FLAGS, "-o", out, HERE / source, *more, "-L", core, "-lmwcore", f"-Wl,-rpath,{core}", "-lpthread")
        return out

    return make


@pytest.fixture(scope="session")
def harness(build: Build) -> Path:
    return build("harness.c")


def need(tracker: str, harness: Path) -> str:
    """The tracker, if it works here; otherwise the test is skipped with the core's reason."""
    probe = subprocess.run([harness, "--probe", tracker], capture_output=True, text=True, check=False)
    if probe.returncode:
        pytest.skip(f"tracker {tracker} doesn't work here: {probe.stdout.strip()}")
    return tracker


@pytest.fixture(params=TRACKERS)
def tracker(request: pytest.FixtureRequest, harness: Path, tmp_path: Path) -> str:
    """Each tracker in turn."""
    return need(str(request.param), harness)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """An empty folder for batches."""
    folder = tmp_path / "batch"
    folder.mkdir()
    return folder
