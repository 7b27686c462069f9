"""Several cores in one process, in programs of each kind: what one stands in for never leads back to it."""

from __future__ import annotations

import itertools
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from .conftest import FLAGS, SOAK, gcc, need
from .machine import CORE, HERE

PROGRAMS = {
    "movable": ("-pie", "-fPIE"),
    "fixed": ("-no-pie", "-fno-pie", "-Wl,-z,now"),  # functions whose address it takes have a stub in it
    "fixed-lazy": ("-no-pie", "-fno-pie", "-Wl,-z,lazy"),
}
LIFE = "lsow"
"""A core is loaded and started, has a journal opened, and watches memory."""


def interleaved(lives: list[str], chosen: random.Random) -> str:
    """The lives of several cores, mixed by chance, with a fork somewhere in every other."""
    turns = [number for number, life in enumerate(lives) for _ in life]
    chosen.shuffle(turns)
    rest = [iter(life) for life in lives]
    steps = [f"{number}{next(rest[number])}" for number in turns]
    if chosen.random() < 0.5:
        steps.insert(chosen.randrange(len(steps) + 1), "f")
    return " ".join(steps)


def orders() -> list[str]:
    """Every order in which two cores can live side by side."""
    found = []
    for firsts in itertools.combinations(range(2 * len(LIFE)), len(LIFE)):
        rest = [iter(LIFE), iter(LIFE)]
        turns = (0 if at in firsts else 1 for at in range(2 * len(LIFE)))
        found.append(" ".join(f"{number}{next(rest[number])}" for number in turns))
    return found


@pytest.fixture(scope="module")
def by_address(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A core that calls by addresses, as some distributions build: where a program has stubs, by theirs."""
    out = tmp_path_factory.mktemp("by_address") / "core.so"
    flags = [flag for flag in FLAGS if flag != "-O2"]
    gcc(*flags, "-O1", "-fPIC", "-fno-plt", "-shared", "-o", out, *CORE.rglob("*.c"), "-lZydis", "-lpthread", "-ldl")
    return out


@pytest.fixture(scope="module", params=PROGRAMS)
def program(
    request: pytest.FixtureRequest, core: Path, by_address: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Beside its cores, of which the second calls by addresses."""
    folder = tmp_path_factory.mktemp("cores")
    for number, library in enumerate((core / "libmwcore.so", by_address, core / "libmwcore.so")):
        shutil.copy(library, folder / f"core{number}.so")
    out = folder / "cores"
    linked = ("-L", core, "-Wl,--as-needed", "-lmwcore", f"-Wl,-rpath,{core}")  # mw_strerror() is that one's
    gcc(*FLAGS, *PROGRAMS[request.param], "-o", out, HERE / "cores.c", *linked, "-ldl")
    return out


@pytest.fixture(params=["uffd-sigbus", "readonly"])
def tracker(request: pytest.FixtureRequest, harness: Path) -> str:
    return need(str(request.param), harness)


def run(program: Path, tracker: str, plan: str) -> None:
    done = subprocess.run(
        [program, tracker, program.parent, plan], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, f"{plan}: status {done.returncode}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("number", [0, 1])
def test_one_core_calls_what_it_stands_in_for(program: Path, tracker: str, number: int) -> None:
    run(program, tracker, f"{number}l {number}s {number}o {number}w")


def test_two_cores_see_what_concerns_them_in_every_order(program: Path, tracker: str) -> None:
    every = orders()
    for plan in every if SOAK else every[:: 5 if tracker == "readonly" else 7]:
        run(program, tracker, plan)


def test_three_cores_do_with_forks_in_the_midst(program: Path, tracker: str) -> None:
    chosen = random.Random()
    for _ in range(200 if SOAK else 8):
        run(program, tracker, interleaved([LIFE, LIFE, LIFE], chosen))


@pytest.mark.parametrize(
    "plan",
    [
        "0l 0s 0o 0c 0o 0w",  # its journal is opened again
        "0l 0s 0d 0l 0o 0w",  # its handle is closed: it stays
        "0l 0s 0o 0w 0d 1l 1s 1o 1w 1d",
        "0l 1l 1s 1o 1c 0s 0o 0w 1o 1w",
        "0l 1l 0s 1s f 0o 1o 1w f 0w",
    ],
)
def test_a_core_that_was_begun_again_or_let_go_does_too(program: Path, tracker: str, plan: str) -> None:
    run(program, tracker, plan)
