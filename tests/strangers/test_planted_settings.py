"""A memwatch.toml or pyproject.toml that somebody left above the working folder: not obeyed, and said so."""

from __future__ import annotations

import encodings.utf_8_sig  # noqa: F401 - another user may not be let into Python's own folder any more
import os
import tomllib  # noqa: F401
from pathlib import Path

import pytest
from others import KINDS, ME, MODES, OWNERS, STRANGER, Place, acting_as, python

from memwatch_core import config as configuration
from memwatch_core import config_file
from memwatch_core.errors import ConfigError

TEXT = {
    "memwatch.toml": "[core]\nshare_pages = true\n",
    "pyproject.toml": "[tool.memwatch.core]\nshare_pages = true\n",
}
MALICE = '[plugins]\nsinks = ["jsonl"]\n[sinks.jsonl]\npath = "{}"\nappend = false\n[sql]\nparameters = "full"\n'
WATCHES = "from memwatch_core import watch\nx = watch(0)\nx += 1\nprint('done', x)\n"


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config_file, "_passed_over", set())


def looked_up(folder: Path) -> bool:
    (folder / "a" / "b").mkdir(parents=True, exist_ok=True)
    with acting_as(ME):
        return configuration.load(directory=folder / "a" / "b", environment={}).core.share_pages


@pytest.mark.parametrize("name", TEXT)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("owner", OWNERS)
def test_settings_in_a_folder_of_whose_are_obeyed(
    place: Place, owner: str, mode: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = place.make(place.folder / "f", OWNERS[owner], MODES[mode] | 0o011)
    place.plant(folder / name, "file", ME, TEXT[name])
    safe = owner != "stranger" and mode not in ("group", "anybody")
    assert looked_up(folder) == safe
    assert looked_up(folder) == safe
    said = capsys.readouterr().err
    assert said.count("is ignored") == (not safe), "it is said once"
    if said:
        assert str(folder / name) in said
        assert "--config FILE" in said
        assert "MEMWATCH_CONFIG" in said


@pytest.mark.parametrize("name", TEXT)
@pytest.mark.parametrize("mode", [0o600, 0o644, 0o664, 0o666])
@pytest.mark.parametrize("owner", OWNERS)
def test_file_of_whose_is_obeyed(
    place: Place, owner: str, mode: int, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shared = place.make(place.folder / "tmp", 0, 0o1777)
    place.plant(shared / name, "file", OWNERS[owner], TEXT[name])
    (shared / name).chmod(mode)
    os.chown(shared / name, OWNERS[owner], 7)
    unreadable = mode == 0o600 and owner != "me"
    if unreadable and owner == "root" and name == "memwatch.toml":
        with pytest.raises(ConfigError, match=r"memwatch\.toml.*Permission denied"):
            looked_up(shared)
        return
    assert looked_up(shared) == (owner != "stranger" and not mode & 0o022 and not unreadable)
    silent = unreadable and name == "pyproject.toml"
    assert ("is ignored" in capsys.readouterr().err) == ((owner == "stranger" or bool(mode & 0o022)) and not silent)


@pytest.mark.parametrize("target", ["memwatch.toml", "/etc/passwd/x", "/proc/1/root/x", "mine/precious"])
@pytest.mark.parametrize("owner", OWNERS)
def test_link_that_leads_nowhere_is_an_error_only_to_whoever_made_it(
    place: Place, owner: str, target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A loop, a file as a folder, what may not be entered: a stranger's link stops nobody who works below it."""
    shared = place.make(place.folder / "tmp", 0, 0o1777)
    private = place.make(shared / "mine", STRANGER, 0o700)
    place.plant(private / "precious", "file", STRANGER)
    (shared / "memwatch.toml").symlink_to(target)
    os.lchown(shared / "memwatch.toml", OWNERS[owner], OWNERS[owner])
    foreign = owner == "stranger" or target == "mine/precious"
    if not foreign:
        with pytest.raises(ConfigError, match=r"memwatch\.toml: the configuration can't be read"):
            looked_up(shared)
        return
    assert not looked_up(shared)
    said = capsys.readouterr().err
    assert said.count("\n") == said.count(f"{shared / 'memwatch.toml'} is ignored: ") == 1


def test_nearest_trusted_file_is_found_beyond_a_planted_one(place: Place) -> None:
    place.plant(place.folder / "memwatch.toml", "file", 0, TEXT["memwatch.toml"])
    inner = place.make(place.folder / "inner", 7, 0o755)
    place.plant(inner / "memwatch.toml", "file", 7, "nonsense")
    assert looked_up(inner)


def test_file_that_is_named_is_obeyed_whoever_owns_it(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    folder = place.make(place.folder / "f", 7, 0o777)
    place.plant(folder / "memwatch.toml", "file", 7, TEXT["memwatch.toml"])
    with acting_as(ME):
        file = folder / "memwatch.toml"
        assert configuration.load(file, directory=folder, environment={}).core.share_pages
        assert configuration.load(directory=folder, environment={"MEMWATCH_CONFIG": str(file)}).core.share_pages
    assert capsys.readouterr().err == ""


def test_project_file_of_somebody_else_without_settings_of_ours_is_none_of_our_business(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.plant(place.folder / "pyproject.toml", "file", 7, "[project]\nname = 'x'\n")
    assert not looked_up(place.folder)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("name", TEXT)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_ordinary_file_is_an_error_at_once_or_passed_over(
    place: Place, kind: str, name: str, named: bool
) -> None:
    place.plant(place.folder / name, kind, ME, TEXT[name])
    file = place.folder / name if named else None
    refused = kind in ("link", "dangling link", "pipe", "device", "folder", "hard link")
    passed_over = not named and (name == "pyproject.toml" or kind in ("dangling link", "device"))
    with acting_as(ME):
        if refused and not passed_over:
            with pytest.raises(ConfigError, match=name):
                configuration.load(file, directory=place.folder, environment={})
        else:
            config = configuration.load(file, directory=place.folder, environment={})
            assert config.core.share_pages == (kind == "file")
    assert place.unharmed()


@pytest.mark.parametrize("name", TEXT)
def test_size_is_bounded(place: Place, name: str) -> None:
    file = place.folder / name
    place.plant(file, "file", ME, TEXT[name] + "#" * config_file.FILE_MAX)
    with acting_as(ME), pytest.raises(ConfigError, match=f"{name}.*longer than"):
        configuration.load(file, directory=place.folder, environment={})
    if name == "memwatch.toml":
        with pytest.raises(ConfigError, match=f"{name}.*longer than"):
            looked_up(place.folder)


@pytest.mark.parametrize("way", ["python", "run", "module", "config", "doctor"])
def test_planted_settings_empty_no_file_of_the_caller_s(root_place: Place, way: str) -> None:
    """The attack, whole: jsonl's file was the caller's own, to be emptied and filled with values of SQL."""
    place = root_place
    place.plant(place.folder / "memwatch.toml", "file", 7, MALICE.format(place.precious))
    work = place.make(place.folder / "work", 0, 0o755)
    (work / "program.py").write_text(WATCHES)
    memwatch = ["-m", "memwatch_core.cli"]
    arguments = {
        "python": ["program.py"],
        "run": [*memwatch, "run", "program.py"],
        "module": [*memwatch, "run", "-m", "program"],
        "config": [*memwatch, "config"],
        "doctor": [*memwatch, "doctor"],
    }
    done = python(*arguments[way], cwd=work)
    assert place.unharmed()
    assert done.stderr.count("is ignored") == 1
    assert "belongs to" in done.stderr
    if way in ("python", "run", "module"):
        assert "done 1" in done.stdout
