"""A file of records in a folder that others share: what they have left in its place isn't written to."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from others import KINDS, ME, MODES, OWNERS, SECRET, Place, acting_as

from memwatch_core.records import Notice

(SINK,) = next(iter(entry_points(group="memwatch.sinks", name="jsonl"))).load().memwatch_sinks()


def write(path: Path, append: bool) -> None:
    out = SINK.open(SINK.settings(path=str(path), append=append))
    try:
        out.write([Notice(1, 2, "written")])
    finally:
        out.close()


def twice(path: Path) -> None:
    """A file with two names."""
    path.write_text("")
    path.with_name("other").hardlink_to(path)


@pytest.mark.parametrize("append", [True, False])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("owner", OWNERS)
@pytest.mark.parametrize("mode", ["sticky", "anybody"])
def test_in_a_shared_folder_only_a_file_of_one_s_own_is_written_to(
    place: Place, mode: str, owner: str, kind: str, append: bool
) -> None:
    shared = place.make(place.folder / "tmp", 0, MODES[mode])
    file = shared / "events.jsonl"
    place.plant(file, kind, OWNERS[owner])
    if kind == "file":
        file.chmod(0o666)
    before = file.lstat()
    linked = kind in ("link", "dangling link", "device") and owner != "stranger" and mode == "sticky"
    own = linked or (kind, owner) == ("file", "me")  # links lead to folders that nobody shares
    with acting_as(ME):
        if own:
            write(file, append)
        else:
            with pytest.raises(OSError, match=r"events\.jsonl"):
                write(file, append)
    if own and kind == "file":
        assert file.read_text().startswith(SECRET if append else '{"')
    if not own:
        assert place.unharmed()
        assert (file.lstat().st_size, file.lstat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("owner", OWNERS)
def test_new_file_is_private_wherever_it_is(place: Place, owner: str, mode: str) -> None:
    folder = place.make(place.folder / "f", OWNERS[owner], MODES[mode] | 0o011)
    writable = owner == "me" or mode in ("anybody", "sticky")
    with acting_as(ME):
        if not writable:
            with pytest.raises(PermissionError, match=r"events\.jsonl"):
                write(folder / "events.jsonl", True)
            return
        write(folder / "events.jsonl", True)
    made = (folder / "events.jsonl").stat()
    assert (stat.S_IMODE(made.st_mode), made.st_uid) == (0o600, ME)


def test_link_of_a_stranger_in_the_middle_of_the_path_is_refused(place: Place) -> None:
    shared = place.make(place.folder / "tmp", 0, 0o1777)
    (shared / "out").symlink_to(place.precious.parent)
    os.lchown(shared / "out", 7, 7)
    with acting_as(ME), pytest.raises(PermissionError, match="symbolic link that belongs to"):
        write(shared / "out" / "precious", False)
    assert place.unharmed()


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/null"), twice])
def test_in_a_folder_of_one_s_own_everything_goes(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "out")
    reader = os.open(tmp_path / "out", os.O_RDONLY | os.O_NONBLOCK)
    write(tmp_path / "out", False)
    os.close(reader)


def test_standard_output_by_its_path(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(Path("/dev/stdout"), True)
    assert '"written"' in capfd.readouterr().out
