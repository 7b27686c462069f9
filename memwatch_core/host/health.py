"""The checks of ``memwatch doctor``: whether this machine can do what MemWatch needs, and what to do if it can't."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import platform
import resource
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ..config import Config
from ..errors import MemWatchError
from ..loading.discovery import load

State = Literal["ok", "note", "warning", "problem"]
"""``warning``: something works less well than it could; ``problem``: MemWatch, or a configured plugin, can't work."""

TRACKERS: tuple[Literal["uffd-sigbus", "readonly", "uffd-queue"], ...] = ("uffd-sigbus", "readonly", "uffd-queue")
_NEEDED = {"uffd-sigbus": "readonly sees the same", "uffd-queue": 'only core.kernel_writes = "all" takes it'}
_NEEDS = {
    "uffd-sigbus": 'allow userfaultfd in the seccomp profile of the container, or set core.tracker to "auto"',
    "uffd-queue": "it needs CAP_SYS_PTRACE, access to /dev/userfaultfd, or the sysctl vm.unprivileged_userfaultfd = 1",
}
_AT_HWCAP2, _FSGSBASE = 26, 1 << 1
_SYS_USERFAULTFD, _USER_MODE_ONLY = 323, 1
_ROOM = 256 << 20


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check."""

    name: str
    state: State
    found: str
    remedy: str = ""


def checks(config: Config) -> Iterator[Check]:
    """Runs all checks, in order of how much depends on them. Leaves no lasting change."""
    yield from _platform()
    yield from _memory()
    yield from _userfaultfd()
    yield from _trackers(config)
    yield _folder(config)
    yield from _plugins(config)


def _platform() -> Iterator[Check]:
    system = f"{platform.system()} {platform.release()} on {platform.machine()}"
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        yield Check("system", "problem", system, "MemWatch needs Linux on x86-64")
        return
    numbers = [int("".join(c for c in part if c.isdigit()) or 0) for part in platform.release().split(".")[:2]]
    old = tuple(numbers) < (5, 9)
    yield Check("system", "problem" if old else "ok", system, "needs Linux 5.9 or later" if old else "")
    fsgsbase = bool(ctypes.CDLL(None).getauxval(_AT_HWCAP2) & _FSGSBASE)
    yield Check(
        "cpu",
        "ok" if fsgsbase else "problem",
        "FSGSBASE enabled" if fsgsbase else "no FSGSBASE",
        "" if fsgsbase else "needs a CPU from 2013 or later, and a kernel booted without nofsgsbase",
    )
    python = f"{platform.python_implementation()} {platform.python_version()} ({sys.executable})"
    good = platform.python_implementation() == "CPython" and (3, 11) <= sys.version_info[:2] <= (3, 15)
    yield Check("python", "ok" if good else "problem", python, "" if good else "needs CPython 3.11 to 3.15")


def _memfd_serves(prot: int) -> bool:
    try:
        with open(os.memfd_create("memwatch-doctor", os.MFD_CLOEXEC), "wb", buffering=0) as file:
            file.truncate(mmap.PAGESIZE)
            mmap.mmap(file.fileno(), mmap.PAGESIZE, flags=mmap.MAP_SHARED, prot=prot).close()
    except OSError:
        return False
    return True


def _memory() -> Iterator[Check]:
    prot = mmap.PROT_READ | mmap.PROT_EXEC
    found = "anonymous memory can be shared, and executable"
    try:
        mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS, prot=prot).close()
    except OSError as error:
        if not _memfd_serves(prot):
            remedy = "SELinux or a sandbox refuses executable mappings: allow execmem for this program"
            yield Check("memory", "problem", f"executable mapping: {error.strerror}", remedy)
            return
        found = f"executable anonymous memory: {error.strerror}; a memfd serves as well"
    yield Check("memory", "ok", found)
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        remedy = "room for fewer variables; raise it (ulimit -v) if watching says that there are too many"
        yield Check("address space", "note", f"RLIMIT_AS allows {limit / 2**20:,.0f} MiB", remedy)


def _userfaultfd() -> Iterator[Check]:
    ways = {"/dev/userfaultfd": _device(), "system call": _system_call()}
    if works := [way for way, reason in ways.items() if not reason]:
        yield Check("userfaultfd", "ok", f"works ({works[0]})")
        return
    found = ", ".join(f"{way}: {reason}" for way, reason in ways.items())
    yield Check("userfaultfd", "note", f"not needed, and not available: {found}")


def _device() -> str:
    """Why the device can't be opened; empty if it can."""
    try:
        os.close(os.open("/dev/userfaultfd", os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return ""


def _system_call() -> str:
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.syscall(ctypes.c_long(_SYS_USERFAULTFD), ctypes.c_long(os.O_CLOEXEC | os.O_NONBLOCK | _USER_MODE_ONLY))
    if fd < 0:
        number = ctypes.get_errno()
        return {errno.ENOSYS: "not in this kernel, or hidden by a sandbox"}.get(number, os.strerror(number).lower())
    os.close(fd)
    return ""


def _trackers(config: Config) -> Iterator[Check]:
    try:
        from ..native import core
    except ImportError as error:
        yield Check("core", "problem", f"the native core can't be loaded: {error}", "reinstall: pip install memwatch")
        return
    wanted = config.core.wanted
    key = "core.tracker" if wanted == config.core.tracker else "core.kernel_writes"
    source = config.source(key).where
    refused = False
    for name in TRACKERS:
        reason = core.probe_tracker(name)
        if reason is None:
            yield Check(f"tracker {name}", "ok", "works: it was tried on a page of its own")
        elif name == wanted:
            refused = True
            found = f"doesn't work here: {reason}; asked for by {key}, which was set by {source}"
            yield Check(f"tracker {name}", "problem", found, _NEEDS.get(name, 'set core.tracker to "auto"'))
        elif name in _NEEDED:
            yield Check(f"tracker {name}", "note", f"not needed, and not available: {reason}; {_NEEDED[name]}")
        else:
            yield Check(f"tracker {name}", "warning", f"doesn't work here: {reason}")
    if refused:
        return  # the core can't start, for this reason
    try:
        chosen = core.start(wanted)
    except MemWatchError as error:
        remedy = 'set core.tracker to "auto"' if wanted != "auto" else "see above what each of them needs"
        yield Check("core", "problem", f"{error}; {key} = {getattr(config.core, key[5:])!r}, set by {source}", remedy)
        return
    why = f"set by {source}" if wanted != "auto" else core.tracker_reason() or "the first choice of core.tracker = auto"
    yield Check("core", "ok", f"starts, with tracker {chosen}: {why}")


def _folder(config: Config) -> Check:
    folder = config.journal.folder
    there = next(path for path in (folder, *folder.parents) if path.exists())
    remedy = "choose another with --folder, MEMWATCH_JOURNAL_FOLDER or [journal] folder"
    if not there.is_dir():
        return Check("journal folder", "problem", f"{folder}: {there} is not a folder", remedy)
    try:
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        return Check("journal folder", "problem", f"{folder}: {there} can't be written to: {error.strerror}", remedy)
    free = shutil.disk_usage(there).free
    found = f"{folder}: {'writable' if there == folder else 'can be made'}, {free / 2**30:.1f} GiB free"
    return Check("journal folder", *(("ok", found) if free > _ROOM else ("warning", found, "free some space")))


def _plugins(config: Config) -> Iterator[Check]:
    report = load(config, strict=False).report
    loaded = [plugin for plugin in report.plugins if plugin.state == "loaded"]
    names = ", ".join(f"{plugin.name}" for plugin in loaded)
    if not any(plugin.kind == "serializers" for plugin in loaded):
        remedy = "pip install memwatch, or name one in [plugins] serializers"
        yield Check("plugins", "problem", "no serializer is loaded: no value can be watched", remedy)
    else:
        yield Check("plugins", "ok", f"loaded: {names}")
    for plugin in report.plugins:
        if plugin.state in ("missing", "broken", "duplicate"):
            yield Check("plugins", "problem", f"{plugin}: {plugin.state}: {plugin.reason}")
        elif plugin.state == "target absent":
            yield Check("plugins", "note", f"{plugin}: {plugin.reason}; nothing to trace")
