"""``node``: starts Node.js programs so that the npm package ``@memwatch/node`` is loaded before their first line.

``NODE_OPTIONS`` loads it, which children and workers inherit; the package reads everything else from the session's
folder. The package is the program's own: it is looked up as ``require("@memwatch/node")`` would, from the program's
folder upwards, then in ``NODE_PATH``. A package that another user may have put there isn't loaded.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from memwatch_core.errors import SessionError
from memwatch_core.hookspecs import hookimpl
from memwatch_core.records import Bridge
from memwatch_plugins.files import distrust
from memwatch_plugins.printed import say

_SCRIPTS = frozenset((".js", ".mjs", ".cjs", ".ts", ".mts", ".cts"))
_NODE = re.compile(r"node(js)?([-.]?\d[\d.]*)?")
PACKAGE = "@memwatch/node"
"""The npm package. (`memwatch` isn't ours.)"""
REGISTER = Path(PACKAGE, "register.js")


def _is_node(name: str) -> bool:
    return _NODE.fullmatch(os.path.basename(name)) is not None


def _is_script(name: str) -> bool:
    return os.path.splitext(name)[1] in _SCRIPTS


def matches(command: Sequence[str]) -> bool:
    """Whether a command is ``node …``, or a JavaScript or TypeScript file."""
    return _is_node(command[0]) or _is_script(command[0])


def find_register(folder: str | os.PathLike[str], environment: Mapping[str, str]) -> Path | None:
    """``register.js`` of the package that a program in ``folder`` would load. It runs in every Node.js program that is
    started, so only this user or root may have installed it."""
    start = Path(folder).resolve()
    places = [parent / "node_modules" for parent in (start, *start.parents)]
    places += [Path(entry).absolute() for entry in environment.get("NODE_PATH", "").split(os.pathsep) if entry]
    return next((file for place in places if os.path.isfile(file := place / REGISTER) and _is_trusted(file)), None)


@cache
def _is_trusted(file: Path) -> bool:
    try:
        reason = distrust(file)
    except OSError as error:
        reason = f"it can't be looked at ({error.strerror})"
    if reason:
        remedy = f"npm install {PACKAGE} beside the program, in folders of your own"
        say(f"{file} is not used: {reason}; {remedy}")
    return not reason


def _with_register(environment: Mapping[str, str], register: Path) -> Mapping[str, str]:
    """Adds our option to NODE_OPTIONS, before the user's. Node requires double quotes, with backslashes inside doubled.

    Also disables the compile cache: V8 has no lines for functions from it. And under the flags that keep lines exact,
    it would reject and replace the entries of the program's ordinary runs.
    """
    quoted = str(register).replace("\\", "\\\\").replace('"', '\\"')
    option = f'--require "{quoted}"'
    given = environment.get("NODE_OPTIONS", "")
    if option in given:
        return environment
    return {**environment, "NODE_OPTIONS": f"{option} {given}".rstrip(), "NODE_DISABLE_COMPILE_CACHE": "1"}


def environment_of_children(folder: Path, environment: Mapping[str, str]) -> Mapping[str, str]:
    """The environment for Node.js programs that the command starts; unchanged if the package isn't installed."""
    register = find_register(folder, environment)
    return environment if register is None else _with_register(environment, register)


def prepare(command: Sequence[str], environment: Mapping[str, str]) -> tuple[Sequence[str], Mapping[str, str]]:
    """The command and environment to start. Raises SessionError if the program couldn't load the package."""
    if not _is_node(command[0]) and not _is_executable(command[0]):
        command = ["node", *command]
    script = next((word for word in command if _is_script(word)), None)
    if script and not Path(script).exists():
        raise SessionError(f"{script}: no such script")
    folder = Path(script).absolute().parent if script else Path.cwd()
    real = Path(os.path.realpath(script)).parent if script else folder
    register = find_register(real, environment) or find_register(folder, environment)
    if register is None:
        raise SessionError(
            f"{shlex.join(command)}: the npm package {PACKAGE} isn't installed where the program would find it: "
            f"{_plug_and_play(real) or f'cd {shlex.quote(str(folder))} && npm install {PACKAGE}'}"
        )
    return command, _with_register(environment, register)


def _plug_and_play(folder: Path) -> str:
    """What to do where Yarn keeps packages in archives, which only the program itself can look into."""
    if not any((parent / ".pnp.cjs").exists() for parent in (folder, *folder.parents)):
        return ""
    return (
        f"with Yarn's Plug'n'Play there is no node_modules: set `nodeLinker: node-modules` in .yarnrc.yml, "
        f"or run it without the host, and read it with `memwatch log`: yarn node --require {PACKAGE}/register …"
    )


def _is_executable(name: str) -> bool:
    """Whether a script itself selects its Node (``#!/usr/bin/env node``)."""
    if os.sep not in name or not os.access(name, os.X_OK):
        return False
    try:
        with open(name, "rb") as file:
            return file.read(2) == b"#!"
    except OSError:
        return False


@hookimpl
def memwatch_bridges() -> Iterator[Bridge]:
    """The one bridge."""
    yield Bridge(
        name="node",
        summary="Node.js 20, 22, 24 and 26",
        matches=matches,
        prepare=prepare,
        environment=environment_of_children,
    )
