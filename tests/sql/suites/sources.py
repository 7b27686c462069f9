"""Where the suites come from: source distributions on PyPI, fetched once into the virtual environment."""

from __future__ import annotations

import contextlib
import fcntl
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

CACHE = Path(sys.prefix) / "suites"


class SourceMissing(Exception):
    """A source can't be fetched: no network, no such version."""


def pypi(name: str, version: str) -> Path:
    """The unpacked source distribution. Raises SourceMissing."""

    def fetch(folder: Path) -> Path:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        _run([*pip, "--no-build-isolation", "--no-binary", name, "--dest", str(folder), f"{name}=={version}"])
        (archive,) = folder.iterdir()
        return archive

    return _cached(f"{name}-{version}", fetch)


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


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SourceMissing(f"{command[-1]} can't be fetched: {done.stderr.strip().rpartition(chr(10))[2]}")
