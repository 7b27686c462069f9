"""What a path must be to be trusted: every owner, every mode, every kind of file, at every part of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from others import KINDS, ME, MODES, OWNERS, SECRET, STRANGER, Place, acting_as

from memwatch_core import trust
from memwatch_core.trust import Found, distrust


def is_safe(owner: str, mode: str) -> bool:
    return owner != "stranger" and mode not in ("group", "anybody")


@pytest.mark.parametrize("part", ["folder", "its parent", "where a link leads"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("owner", OWNERS)
def test_folder_on_the_way_is_root_s_or_the_caller_s_and_nobody_else_s_to_write(
    place: Place, owner: str, mode: str, part: str
) -> None:
    folder = place.folder / "a"
    inner = folder / "b" if part == "its parent" else folder
    place.make(inner, ME, 0o755)
    place.make(folder, OWNERS[owner], MODES[mode] | 0o011)
    place.plant(inner / "file", "file", ME)
    asked = inner / "file"
    if part == "where a link leads":
        asked = place.folder / "link"
        asked.symlink_to(inner / "file")
    with acting_as(ME):
        reason = distrust(asked)
    assert (reason == "") == is_safe(owner, mode)
    if reason:
        assert str(folder) in reason
        assert f"user {STRANGER}" in reason or f"{MODES[mode] | 0o011:04o}" in reason


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o664, 0o666])
@pytest.mark.parametrize("owner", OWNERS)
def test_file_is_root_s_or_the_caller_s_and_nobody_else_s_to_write(place: Place, owner: str, mode: int) -> None:
    file = place.folder / "file"
    file.write_text("")
    os.chown(file, OWNERS[owner], STRANGER)
    file.chmod(mode)
    with acting_as(ME):
        assert (distrust(file) == "") == (owner != "stranger" and not mode & 0o022)


@pytest.mark.parametrize("owner", OWNERS)
def test_link_in_a_folder_that_all_share_is_followed_if_it_is_root_s_or_the_caller_s(place: Place, owner: str) -> None:
    shared = place.make(place.folder / "tmp", 0, 0o1777)
    place.plant(shared / "link", "link", OWNERS[owner])
    with acting_as(ME), Found(shared / "link") as found:
        assert (found.reason == "") == (owner != "stranger")
        assert bool(found.planted) == (owner == "stranger")
        assert found.name == "precious"


def test_group_without_another_member_may_write(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """With umask 002 everything is writable by the user's own group, which has no other member."""
    import grp
    import pwd

    file = place.folder / "file"
    file.write_text("")
    os.chown(file, ME, STRANGER)
    file.chmod(0o664)
    users = {"me": ME, "root": 0, "stranger": 7}
    people = {name: pwd.struct_passwd((name, "", uid, uid, "", "", "")) for name, uid in users.items()}
    primary: list[str] = []
    monkeypatch.setattr(pwd, "getpwnam", people.__getitem__)
    monkeypatch.setattr(
        pwd, "getpwall", lambda: [pwd.struct_passwd((n, "", users[n], STRANGER, "", "", "")) for n in primary]
    )
    for members, primaries, trusted in (
        ([], [], True),
        (["me"], ["me"], True),
        (["root"], [], True),
        (["stranger"], [], False),
        (["me", "stranger"], [], False),
        ([], ["stranger"], False),
        (["gone"], [], False),
    ):
        primary[:] = primaries
        monkeypatch.setattr(grp, "getgrgid", lambda gid, m=members: grp.struct_group(("own", "", gid, m)))
        with acting_as(ME):
            assert (distrust(file) == "") == trusted, (members, primaries)


def test_path_is_gone_to_as_the_kernel_does(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "file").write_text("")
    (tmp_path / "relative").symlink_to("a/b/../file")
    (tmp_path / "absolute").symlink_to(tmp_path / "relative")
    (tmp_path / "folder").symlink_to("a/b/")
    (tmp_path / "up").symlink_to("a/b/..")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("relative", "absolute", "folder", "up", "a/./b/../file", "a//file", "up/file", "folder/../file"):
        with Found(tmp_path / name) as found:
            assert found.status is not None
            there = os.stat(found.name, dir_fd=found.folder)
            assert os.path.samestat(there, os.stat(tmp_path / name)), name
            assert os.path.samestat(there, found.status)
    with Found(tmp_path / "absent") as found:
        assert (found.name, found.status) == ("absent", None)
    for name, error in (("absent/x", FileNotFoundError), ("a/file/x", NotADirectoryError), ("loop", OSError)):
        with pytest.raises(error):
            Found(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        distrust(tmp_path / "absent")
    open_files = len(os.listdir("/proc/self/fd"))
    distrust(tmp_path / "absolute")
    assert len(os.listdir("/proc/self/fd")) == open_files


@pytest.mark.parametrize("kind", KINDS)
def test_reading_never_waits_and_takes_an_ordinary_file_only(place: Place, kind: str) -> None:
    place.plant(place.folder / "x", kind, ME)
    folder = os.open(place.folder, os.O_PATH)
    try:
        if kind in ("file", "hard link"):
            assert trust.read(folder, "x", 100) == SECRET.encode()
            with pytest.raises(OSError, match="longer than 3 bytes"):
                trust.read(folder, "x", 3)
        else:
            with pytest.raises(OSError, match=r"not a regular file|Is a directory|symbolic links"):
                trust.read(folder, "x", 100)
    finally:
        os.close(folder)
