"""Where the core's second mappings are: an address of the program that leads to memory which it must not write to."""

from __future__ import annotations

import re
import resource
import subprocess

import pytest

from .conftest import Build

STARTS = 100
DISTINCT = 95
RESERVED = 1 << 34  # bytes of a view; it is aligned to them


def places(build: Build, tracker: str) -> tuple[int, int, int, int]:
    """The watched view, the writable one, the blocks as they are run and as they are written."""
    lines = subprocess.run([build("views.c"), tracker], capture_output=True, text=True, check=True).stdout.splitlines()
    views = [int(word, 16) for word in re.findall(r"0x[0-9a-f]+", lines[0])]
    code = {line.split()[1]: int(line.split("-")[0], 16) for line in lines[1:] if line.split()[4] != arena_of(lines)}
    assert set(code) == {"r-xs", "rw-s"}, lines
    return views[0], views[1], code["r-xs"], code["rw-s"]


def arena_of(lines: list[str]) -> str:
    """The inode of the memory that is nowhere executable."""
    run = {line.split()[4] for line in lines[1:] if "x" in line.split()[1]}
    (arena,) = {line.split()[4] for line in lines[1:]} - run
    return arena


@pytest.mark.parametrize("tracker", ["readonly", "uffd-sigbus"], indirect=True)
def test_no_start_tells_where_the_next_one_has_its_views(tracker: str, build: Build) -> None:
    starts = [places(build, tracker) for _ in range(STARTS)]
    assert all(watched % RESERVED == 0 for watched, *_ in starts)
    for what, numbers in {
        "base": {watched for watched, *_ in starts},
        "distance": {writable - watched for watched, writable, *_ in starts},
        "code": {run for *_, run, _ in starts},
        "distance of the code": {write - run for *_, run, write in starts},
    }.items():
        assert len(numbers) >= DISTINCT, f"{len(numbers)} of {what}"


@pytest.mark.parametrize("limit", [64 << 20, 256 << 20, 1 << 30])
def test_views_find_a_place_within_a_limit(limit: int, tracker: str, build: Build) -> None:
    """RLIMIT_AS: what doesn't fit is smaller, but starts."""
    done = subprocess.run(
        [build("views.c"), tracker],
        capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )  # fmt: skip
    assert done.returncode == 0 or limit < 256 << 20, done.stderr
    assert done.returncode == 0 or "RLIMIT_AS" in done.stderr
