"""Where the suites come from: source distributions on PyPI, fetched once into the virtual environment."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

CACHE = Path(sys.prefix) / "suites"
LOCK = Path(__file__).parents[2] / "requirements" / "suites.txt"
PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")


class SourceMissing(Exception):
    """A source can't be fetched: no network, no such version."""


def pypi(name: str, version: str, *, isolated: bool = False) -> Path:
    """The unpacked source distribution. ``isolated``: pip fetches what it asks its version of. Raises SourceMissing."""

    def fetch(folder: Path) -> Path:
        options = ["--no-deps", "--no-binary", name, *([] if isolated else ["--no-build-isolation"])]
        _run(f"{name}=={version}", ["download", *options, "--dest", str(folder), f"{name}=={version}"])
        (archive,) = folder.iterdir()
        return archive

    return _cached(f"{name}-{version}", fetch)


def tools() -> Path:
    """What the suites need besides what tests of ours do: a folder for PYTHONPATH. Raises SourceMissing."""
    text = LOCK.read_bytes()
    place = CACHE / f"tools-{hashlib.sha256(text).hexdigest()[:16]}"
    with _lock("tools"):
        if not place.exists():
            with tempfile.TemporaryDirectory(dir=CACHE) as folder:
                options = ["--no-deps", "--require-hashes", "--requirement", str(LOCK)]
                _run("what the suites need", ["install", *options, "--target", f"{folder}/tools"])
                (Path(folder) / "tools").rename(place)
    return place


def _cached(name: str, fetch: Callable[[Path], Path]) -> Path:
    """The one folder in an archive, unpacked in the cache; sessions that want it at once wait for each other."""
    place = CACHE / name
    with _lock(name):
        if not place.exists():
            with tempfile.TemporaryDirectory(dir=CACHE) as folder:
                (Path(folder) / "fetched").mkdir()
                archive = fetch(Path(folder) / "fetched")
                unpacked = Path(folder) / "unpacked"
                with tarfile.open(archive) as tarred:
                    tarred.extractall(unpacked, filter="data")
                (root,) = unpacked.iterdir()
                root.rename(place)
    return place


@contextlib.contextmanager
def _lock(name: str) -> Iterator[None]:
    CACHE.mkdir(exist_ok=True)
    with open(CACHE / f"{name}.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _run(what: str, command: list[str]) -> None:
    done = subprocess.run([*PIP, *command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SourceMissing(f"{what} can't be fetched: {done.stderr.strip().rpartition(chr(10))[2]}")
