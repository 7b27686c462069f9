"""A session's folder: creates it, opens it, finds the journals in it.

``<base>/<when>-<part of the session's id>/`` (0700) holds ``session.json``, ``key`` and a journal for each process
(0600 each): docs/journal-format.md. Files are opened relative to the folder's descriptor, so that a folder that
replaces it isn't written to. A process takes part only in a session whose folder nobody but its user can write to.
"""

from __future__ import annotations

import fcntl
import json
import os
import struct
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from .. import __version__, trust
from ..errors import SessionError
from ..folders import FILE_MAX, open_base, open_folder, save, write_file
from ..records import SqlDriver

FORMAT = 1
ID_SIZE = 16
SECOND, SECOND_SIZE = "%Y%m%d-%H%M%S", len("20261123-150405")
"""Beginning of a folder's name: when the session began."""
DESCRIPTION = "session.json"
KEY = "key"
KEY_SIZE = 32
DRIVERS = "drivers.json"
JOURNAL_SUFFIX = ".mwj"
READER_FILE = "reader"
"""File in a session's folder, locked by the reader that frees what it has read (:mod:`memwatch_core.journal.claim`)."""


class Session(NamedTuple):
    """The description in a session's folder."""

    folder: Path
    id: bytes
    """16 bytes, the same in each of the session's journals."""
    started: datetime
    command: tuple[str, ...]
    version: str
    """MemWatch's version."""
    key: bytes = b""
    """Key of the hashes of SQL statements and parameters; empty if the folder has none."""


def create_session(base: str | os.PathLike[str], command: Sequence[str]) -> Path:
    """Creates the folder of a new session in ``base`` (created if missing). Returns its path.

    Raises SessionError: the folder can't be created or written to.
    """
    ident, now = os.urandom(ID_SIZE), datetime.now(UTC)
    folder = Path(base).absolute() / f"{now:{SECOND}}-{ident.hex()[:6]}"
    description = {
        "format": FORMAT,
        "session": ident.hex(),
        "started": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        # an argument may be any bytes: those that aren't UTF-8 are escaped
        "command": [argument.encode("utf-8", "backslashreplace").decode() for argument in command],
        "memwatch": __version__,
    }
    try:
        Path(base).mkdir(mode=0o700, parents=True, exist_ok=True)
        with open_base(base) as parent:
            os.mkdir(folder.name, mode=0o700, dir_fd=parent)
            with open_folder(folder.name, own=True, parent=parent) as made:
                write_file(made, KEY, os.urandom(KEY_SIZE))
                write_file(made, DESCRIPTION, _json(description))
    except OSError as error:
        raise SessionError(
            f"{base}: the session's folder can't be made there ({error.strerror}); "
            "set journal.folder (or --folder) to a folder of your own"
        ) from error
    return folder


def read_session(folder: str | os.PathLike[str], *, own: bool = False) -> Session:
    """The session in a folder. ``own``: for a process that takes part in it, see :func:`open_folder`.

    Raises SessionError: there is none, or its description or key can't be read.
    """
    folder = Path(folder)
    file, key = folder / DESCRIPTION, b""
    try:
        with open_folder(folder, own=own) as opened:
            text = trust.read(opened, DESCRIPTION, FILE_MAX)
            with suppress(FileNotFoundError):
                key = trust.read(opened, KEY, KEY_SIZE)
        number, ident, started, command, version = _parse(text)
    except FileNotFoundError as error:
        raise SessionError(
            f"{folder}: no session (it has no {DESCRIPTION}); `memwatch run` makes one, in the folder journal.folder"
        ) from error
    except OSError as error:
        where = folder / (error.filename or DESCRIPTION)
        raise SessionError(f"{where}: can't be read ({error.strerror}); check its owner and mode") from error
    except (ValueError, RecursionError) as error:
        raise SessionError(f"{file}: not the description of a session ({error})") from error
    if number != FORMAT or len(ident) != ID_SIZE:
        raise SessionError(f"{file}: a session of format {number}; this MemWatch reads format {FORMAT}")
    return Session(folder, ident, started, command, version, key)


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _parse(text: bytes) -> tuple[int, bytes, datetime, tuple[str, ...], str]:
    """Format, id, start, command and MemWatch's version. Raises ValueError, RecursionError."""
    said: Any = json.loads(text.decode())
    kinds = {"format": int, "session": str, "started": str, "command": list, "memwatch": str}
    for name, kind in kinds.items():
        if type(said) is not dict or type(said.get(name, "" if name == "memwatch" else None)) is not kind:
            raise ValueError(f"its {name!r} is no {kind.__name__}")
    if not all(type(word) is str for word in said["command"]):
        raise ValueError("its 'command' has other words than text")
    started = datetime.fromisoformat(said["started"])
    started = started if started.tzinfo else started.replace(tzinfo=UTC)
    return said["format"], bytes.fromhex(said["session"]), started, tuple(said["command"]), said.get("memwatch", "")


def is_read(folder: str | os.PathLike[str]) -> bool:
    """Whether the one reader that writers wait for lives; ``journal/claim.py`` has its lock."""
    try:
        with open_folder(folder, own=True) as opened:
            file = os.open(READER_FILE, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=opened)
    except OSError:
        return False
    try:
        asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)  # struct flock of the x86-64 ABI
        found: int = struct.unpack("hhqqi4x", fcntl.fcntl(file, fcntl.F_OFD_GETLK, asked))[0]
    except OSError:
        return True
    finally:
        os.close(file)
    return found != fcntl.F_UNLCK


def save_drivers(folder: str | os.PathLike[str], drivers: Iterable[SqlDriver]) -> None:
    """Writes the list of SQL drivers to trace, for programs in runtimes other than Python. Raises SessionError."""
    modules: dict[str, dict[str, str]] = {}
    for driver in drivers:
        if driver.runtime != "python":
            modules.setdefault(driver.runtime, {})[driver.target] = driver.module
    save(folder, DRIVERS, _json(modules))


def journals(folder: str | os.PathLike[str]) -> list[Path]:
    """The journals in a session's folder now, by name; call it again to find those of new processes.

    Raises SessionError if the folder can't be listed.
    """
    try:
        return listed(folder, folder)
    except OSError as error:
        raise SessionError(f"{folder}: can't be listed ({error.strerror}); give the folder of a session") from error


def listed(folder: str | os.PathLike[str], opened: int | str | os.PathLike[str]) -> list[Path]:
    """As :func:`journals`, for a folder that is already ``opened`` (its descriptor). Raises OSError."""
    return [Path(folder) / name for name in sorted(os.listdir(opened)) if name.endswith(JOURNAL_SUFFIX)]


def sessions(base: str | os.PathLike[str]) -> list[Path]:
    """The folders of sessions in ``base``, oldest first; none if ``base`` doesn't exist."""
    try:
        with os.scandir(base) as entries:
            folders = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
        found = [folder for folder in folders if (folder / DESCRIPTION).is_file()]
        # the name has whole seconds; within one, sort by the description's time
        return sorted(found, key=lambda folder: (folder.name[:SECOND_SIZE], (folder / DESCRIPTION).stat().st_mtime_ns))
    except OSError:
        return []


def latest_session(base: str | os.PathLike[str]) -> Path:
    """The newest session in ``base``. Raises SessionError if there is none."""
    found = sessions(base)
    if not found:
        raise SessionError(f"{base}: no session there yet; `memwatch run script.py` makes one")
    return found[-1]
