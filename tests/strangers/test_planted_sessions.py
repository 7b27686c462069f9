"""Sessions where somebody else has left a folder, or something in place of a file: nothing of the caller's suffers."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from others import KINDS, ME, MODES, OWNERS, Place, acting_as, python

from memwatch_core import config as configuration
from memwatch_core.adapter import process
from memwatch_core.config import Config
from memwatch_core.errors import CoreError, JournalError, MemWatchError, SessionError
from memwatch_core.host.merge import SessionDecoder
from memwatch_core.journal.claim import Claim
from memwatch_core.journal.reader import JournalReader
from memwatch_core.journal.session import create_session, read_session, save_drivers
from memwatch_core.native import core

WATCHES = "from memwatch_core import watch\nx = watch(0)\nx += 1\nprint('done', x)\n"


def begin(base: Path) -> Path:
    """All that is written when a session begins."""
    made = create_session(base, ["x"])
    configuration.save(Config(), made)
    save_drivers(made, [])
    Claim(made).close()
    return made


def begun(place: Place) -> Path:
    base = place.make(place.folder / "base", ME, 0o755)
    with acting_as(ME):
        return begin(base)


# ---- the folder that sessions are made in


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("owner", OWNERS)
def test_sessions_are_made_where_nobody_else_can_replace_them(place: Place, owner: str, mode: str) -> None:
    base = place.make(place.folder / ".memwatch", OWNERS[owner], MODES[mode] | 0o011)
    safe = owner != "stranger" and mode not in ("group", "anybody")
    possible = owner == "me" or mode == "sticky"
    with acting_as(ME):
        if safe and possible:
            made = begin(base)
            status = made.stat()
            assert (status.st_uid, status.st_mode & 0o777) == (ME, 0o700)
            assert read_session(made, own=True).folder == made
            return
        with pytest.raises(SessionError) as caught:
            begin(base)
    assert str(base) in str(caught.value)
    assert "journal.folder" in str(caught.value)
    unreadable = owner != "me" and mode == "private"
    assert ("belongs to" in str(caught.value)) == (owner == "stranger" and not unreadable)
    assert ("written to by" in str(caught.value)) == (owner != "stranger" and not safe)
    assert os.listdir(base) == []


@pytest.mark.parametrize("kind", [*KINDS, "link to a folder"])
@pytest.mark.parametrize("owner", OWNERS)
def test_what_is_no_folder_is_no_place_for_sessions(place: Place, owner: str, kind: str) -> None:
    base = place.folder / ".memwatch"
    if kind == "link to a folder":
        base.symlink_to(place.precious.parent)
        os.lchown(base, OWNERS[owner], 7)
    else:
        place.plant(base, kind, OWNERS[owner])
    with acting_as(ME):
        if (kind, owner) == ("folder", "me"):
            begin(base)
        else:
            with pytest.raises(SessionError, match=r"\.memwatch.*journal\.folder"):
                begin(base)
    assert place.unharmed()


@pytest.mark.parametrize("way", ["python", "run", "session()"])
def test_program_says_whose_the_folder_is_and_leaves_it_alone(root_place: Place, way: str) -> None:
    base = root_place.make(root_place.folder / ".memwatch", 7, 0o777)
    (root_place.folder / "program.py").write_text(WATCHES)
    (root_place.folder / "inside.py").write_text("import memwatch_core\nwith memwatch_core.session(sinks=[]): pass\n")
    arguments = {
        "python": ["program.py"],
        "run": ["-m", "memwatch_core.cli", "run", "program.py"],
        "session()": ["inside.py"],
    }
    done = python(*arguments[way], cwd=root_place.folder, status=None)
    assert done.returncode != 0
    assert "belongs to" in done.stderr
    assert "journal.folder" in done.stderr
    assert os.listdir(base) == []


# ---- a session's own folder


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("owner", OWNERS)
def test_process_takes_part_only_in_a_session_of_its_own_user(place: Place, owner: str, mode: str) -> None:
    made = begun(place)
    made.chmod(MODES[mode] | 0o011)
    os.chown(made, OWNERS[owner], 7)
    own = owner == "me" and mode in ("private", "readable")
    ways: list[tuple[Callable[[], object], type[MemWatchError]]] = [
        (lambda: read_session(made, own=True), SessionError),
        (lambda: configuration.of_session(made, own=True), MemWatchError),
        (lambda: configuration.save(Config(), made / "again" if own else made), SessionError),
        (lambda: process.open_journal(made, Config(), []), SessionError),
    ]
    core.start("auto")
    with acting_as(ME):
        for way, error in ways[:2] if own else ways:
            if own:
                way()
            else:
                with pytest.raises(error, match=made.name):
                    way()
        assert Claim(made).held == own
        if not own:
            with pytest.raises(CoreError, match=r"must be a folder.*journal\.folder|Permission denied"):
                core.open_journal(made / "1-python.mwj", bytes(16))
    assert not list(made.glob("*.mwj"))


@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe", "device", "folder"])
@pytest.mark.parametrize("name", ["session.json", "settings.json", "key"])
def test_what_is_no_ordinary_file_in_a_session_is_an_error_at_once(place: Place, name: str, kind: str) -> None:
    made = begun(place)
    (made / name).unlink()
    place.plant(made / name, kind, ME)
    read = configuration.of_session if name == "settings.json" else read_session
    for own in (True, False):
        with acting_as(ME), pytest.raises(MemWatchError, match=name):
            read(made, own=own)
    assert place.unharmed()


@pytest.mark.parametrize("name", ["session.json", "settings.json"])
def test_files_of_a_session_are_bounded(tmp_path: Path, name: str) -> None:
    made = begin(tmp_path / "base")
    with open(made / name, "ab") as file:
        file.truncate(1 << 40)
    with pytest.raises(MemWatchError, match=f"{name}.*longer than"):
        (configuration.of_session if name == "settings.json" else read_session)(made)


@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe", "device", "folder"])
def test_what_is_no_ordinary_file_is_neither_journal_nor_claim(place: Place, kind: str) -> None:
    made = begun(place)
    (made / "reader").unlink()
    place.plant(made / "reader", kind, ME)
    place.plant(made / "1-python.mwj", kind, ME)
    core.start("auto")
    with acting_as(ME):
        assert not Claim(made).held
        with pytest.raises(JournalError, match=r"1-python\.mwj"):
            JournalReader(made / "1-python.mwj")
        decoder = SessionDecoder(made, {}, final=True)
        notices = [record for batch in decoder.batches() for record in batch] + list(decoder.unreadable)
        decoder.close()
        assert "1-python.mwj" in str(notices)
        core.open_journal(made / "1-python.mwj", bytes(16))
        core.lib.mw_context_record(1, b"x", 1)  # the file comes with the first record
        core.close_journal()
        assert stat.S_ISREG((made / "1-python.1.mwj").lstat().st_mode), "beside what is there"
    assert place.unharmed()


def test_link_in_place_of_the_session_s_folder_leads_nowhere(place: Place) -> None:
    made = begun(place)
    with acting_as(ME):
        link = place.folder / "base" / "link"
        link.symlink_to(made)
        for read in (read_session, configuration.of_session):
            with pytest.raises(MemWatchError, match="symbolic link"):
                read(link, own=True)
        with pytest.raises(SessionError, match="symbolic link"):
            SessionDecoder(link, {})
        assert not Claim(link).held
        core.start("auto")
        with pytest.raises(CoreError, match="no symbolic link"):
            core.open_journal(link / "1-python.mwj", bytes(16))


# ---- reading


def test_log_reads_the_session_of_somebody_else_and_says_whose_it_is(root_place: Place) -> None:
    """What root is for; and nothing in a session is trusted by its reader."""
    (root_place.folder / "program.py").write_text(WATCHES)
    python("program.py", cwd=root_place.folder)
    (made,) = (root_place.folder / ".memwatch").iterdir()
    os.chown(made, 7, 7)
    log = ["-m", "memwatch_core.cli", "log"]
    (root_place.folder / "link").symlink_to(made)
    for named in ([], [made.name], [str(made)], ["link"], [str(next(made.glob("*.mwj")))]):
        done = python(*log, *named, cwd=root_place.folder)
        assert "0 -> 1" in done.stdout
        assert ("belongs to" in done.stderr) == (not named or ".mwj" not in named[0])
    os.chown(made, 0, 0)
    assert "belongs to" not in python(*log, cwd=root_place.folder).stderr


# ---- a folder that changes while it is used

SWAP = """\
import ctypes, os, time
libc = ctypes.CDLL(None)
end = time.monotonic() + 60
while time.monotonic() < end and os.path.isdir("theirs"):
    for other in (b"link", b"theirs", b"pipe"):
        for _ in range(2):  # there, and back
            libc.renameat2(-100, other, -100, b".memwatch", 2)  # RENAME_EXCHANGE
            time.sleep(0.0002)
"""
TIMES = 100 if "MEMWATCH_SOAK" not in os.environ else 10_000


@pytest.mark.parametrize("base", ["the stranger's", "in the stranger's folder", "sticky"])
def test_folder_that_is_swapped_meanwhile_brings_nothing_into_another(place: Place, base: str) -> None:
    """A link to the caller's own folder, a folder of the stranger's and a pipe take turns with the sessions' folder,
    and with the session's: what is begun there fails, or is where it should be."""
    around = place.make(place.folder / "around", 7, 0o777 if base != "sticky" else 0o1777)
    traps = place.make(around / "theirs", 7, 0o777)
    for name in ("session.json", "settings.json", "drivers.json", "key", "reader"):
        (traps / name).symlink_to(place.precious)
    theirs = os.open(traps, os.O_RDONLY)  # by whatever name it goes in the end
    (around / "link").symlink_to(place.precious.parent)
    os.lchown(around / "link", 7, 7)
    os.mkfifo(around / "pipe")
    os.chown(around / "pipe", 7, 7)
    if base == "the stranger's":
        place.make(around / ".memwatch", 7, 0o777)
    stranger = subprocess.Popen(
        ["setpriv", "--reuid=7", "--regid=7", "--clear-groups", sys.executable, "-I", "-c", SWAP], cwd=around
    )
    begun, failed = 0, set()
    core.start("auto")
    try:
        with acting_as(ME):
            for _ in range(TIMES):
                try:
                    made = begin(around / ".memwatch")
                    core.open_journal(made / f"{os.getpid()}-python.mwj", read_session(made, own=True).id)
                    core.close_journal()
                    begun += 1
                except (MemWatchError, OSError) as error:
                    failed.add(type(error).__name__)
        assert stranger.poll() is None, "the stranger can't run this interpreter"
    finally:
        stranger.kill()
        stranger.wait()
    assert place.unharmed()
    found = sorted(os.listdir(theirs))
    os.close(theirs)
    assert found == ["drivers.json", "key", "reader", "session.json", "settings.json"]
    assert failed <= {"SessionError", "ConfigError", "CoreError"}
    assert failed or begun == TIMES
