"""Random programs of conditions, by the core's own code under AddressSanitizer and UBSan: what is remembered of a part
is what it is, and nothing is read that isn't there."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CORE = HERE.parents[1] / "memwatch_core" / "core"
FLAGS = ("-std=gnu11", "-O1", "-g", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-fno-strict-aliasing")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")
LIBRARIES = ("-lZydis", "-lpthread", "-ldl")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``judging.c`` with the core's own sources."""
    out = tmp_path_factory.mktemp("judging") / "judging"
    sources = sorted(map(str, CORE.rglob("*.c")))
    command = ["gcc", *FLAGS, *SANITIZERS, f"-I{CORE}", "-o", str(out), str(HERE / "judging.c"), *sources, *LIBRARIES]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "cannot find" in done.stderr:
        pytest.skip("this compiler has no sanitizers")
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.parametrize("seed", range(4))
def test_random_programs_are_judged_as_if_nothing_were_remembered(program: Path, seed: int) -> None:
    programs = 20_000 if os.environ.get("MEMWATCH_SOAK") else 2_000
    # the core's handlers stay its own; the tables of a process that ends aren't given back
    environment = os.environ | {"ASAN_OPTIONS": "detect_leaks=0:handle_segv=0:handle_sigbus=0"}
    done = subprocess.run(
        [program, str(seed), str(programs)], capture_output=True, text=True, check=False, env=environment, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    tried, parts, wrong = map(int, done.stdout.split())
    assert tried > programs / 2
    assert parts > programs / 5
    assert not wrong
