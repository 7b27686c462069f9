"""Building the wheels of this source, once until the source changes, and environments that have nothing else."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "build" / "wheels"
PACKAGED = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "tests/pythons/wheels.py")
FOLDERS = ("memwatch_core", "memwatch_plugins", "plugins", "metapackage", "licenses")
BUILT = re.compile(r"\.(so|o|pyc)$|/_core\.c$|\.egg-info/|/build/|/dist/")


def sources() -> list[Path]:
    """What wheels are built of, below ROOT; nothing that was built."""
    inside = (path for folder in FOLDERS for path in (ROOT / folder).rglob("*"))
    files = [path.relative_to(ROOT) for path in inside if path.is_file()]
    return [*map(Path, PACKAGED), *sorted(path for path in files if not BUILT.search(f"{path}"))]


@dataclass(frozen=True)
class Wheels:
    """A folder with the wheels of every distribution of ours, and one with those that they require."""

    ours: Path
    theirs: Path

    def metadata(self, distribution: str) -> dict[str, list[str]]:
        """The fields of a wheel's METADATA."""
        (wheel,) = self.ours.glob(f"{distribution.replace('-', '_')}-[0-9]*.whl")
        with ZipFile(wheel) as content:
            (name,) = [name for name in content.namelist() if name.endswith(".dist-info/METADATA")]
            fields = HeaderParser().parsestr(content.read(name).decode())
        return {key: fields.get_all(key, []) for key in fields.keys()}  # noqa: SIM118  (no mapping)


def run(*command: object, **options: object) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def build() -> Wheels:
    """Built as ``make wheels`` does it, in a copy of the source, so that nothing of the checkout gets in."""
    digest = hashlib.sha256(sys.version.encode())
    for path in sources():
        content = (ROOT / path).read_bytes()
        digest.update(f"{path}\0{len(content)}\0".encode() + content)
    folder = KEPT / digest.hexdigest()[:16]
    if not folder.exists():
        shutil.rmtree(KEPT, ignore_errors=True)
        making = KEPT / f"making-{os.getpid()}"
        for path in sources():
            target = making / "source" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / path, target)
        script = [sys.executable, "tests/pythons/wheels.py", "build", making / "ours"]
        run(*script, cwd=making / "source", env={**os.environ, "C_WARNINGS": "error"})
        made = Wheels(making / "ours", making / "theirs")
        needed = {
            line
            for wheel in made.ours.glob("*.whl")
            for line in made.metadata(wheel.name.split("-")[0]).get("Requires-Dist", [])
            if "extra ==" not in line and not line.startswith("memwatch")
        }
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:", "--dest", made.theirs]
        run(*pip, *sorted(needed))
        shutil.rmtree(making / "source")
        making.rename(folder)
    return Wheels(folder / "ours", folder / "theirs")


@dataclass(frozen=True)
class Environment:
    """A virtual environment, and a folder of its own outside of the checkout, which is the current one."""

    prefix: Path
    folder: Path

    def __call__(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Runs one of its programs, with nothing of our own environment."""
        program, *arguments = command
        return subprocess.run(
            [self.prefix / "bin" / program, *arguments],
            cwd=self.folder,
            env={"PATH": "/usr/bin:/bin", "HOME": str(self.folder)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


def install(wheels: Wheels, folder: Path, *distributions: str) -> Environment:
    """A new environment below the folder, with these distributions, from the wheels alone."""
    run(sys.executable, "-m", "venv", "--without-pip", folder / "venv")
    pip = [sys.executable, "-m", "pip", "--python", folder / "venv", "install", "--quiet", "--no-compile"]
    run(*pip, "--no-index", "--find-links", wheels.ours, "--find-links", wheels.theirs, *distributions)
    (folder / "project").mkdir()
    return Environment(folder / "venv", folder / "project")
