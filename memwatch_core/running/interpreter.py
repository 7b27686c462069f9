"""A CPython that runs already, seen from outside: which one it is, where its functions lie, whether it may be attached
to.

Nothing is stopped, and nothing of the program's is written to. What is read is in ``/proc`` (proc(5)) and in the files
that the process has mapped. Every refusal is one sentence with what to do about it.
"""

from __future__ import annotations

import os
import pwd
import struct
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..errors import SessionError
from ..host.elf import Elf, opened, reader_of

OLDEST, NEWEST = (3, 11), (3, 15)
"""Versions of CPython that a program can be attached to."""
ADD, RUN, READY, VERSION = b"Py_AddPendingCall", b"PyRun_SimpleString", b"Py_IsInitialized", b"Py_Version"
HAS, ENTER, LEAVE = b"PyGILState_Check", b"PyGILState_Ensure", b"PyGILState_Release"
_CALLED = (ADD, RUN, READY, HAS, ENTER, LEAVE)
_OF_LIBC = (b"poll", b"nanosleep", b"clock_nanosleep")
"""What waits in them may be restarted by the kernel under another number, that of restart_syscall."""
_WANTED = (*_CALLED, VERSION, *_OF_LIBC)
_PAGE = 4096
_PTRACE = 19
"""CAP_SYS_PTRACE."""
_YAMA = Path("/proc/sys/kernel/yama/ptrace_scope")
_LOAD, _WRITABLE = 1, 2
_CALLS = {
    0: "read",
    7: "poll",
    23: "select",
    34: "pause",
    35: "sleep",
    42: "connect",
    43: "accept",
    45: "recv",
    47: "recv",
    61: "wait",
    73: "flock",
    128: "sigwait",
    130: "sigsuspend",
    202: "a lock",
    230: "sleep",
    232: "epoll_wait",
    247: "wait",
    270: "select",
    271: "poll",
    281: "epoll_wait",
    288: "accept",
}
"""Those in which programs wait: man 2 syscalls."""


class Refused(SessionError):
    """The process can't be attached to; the message says why, and what to do. Nothing of it was touched."""


class Mapped(NamedTuple):
    """A line of ``/proc/PID/maps``."""

    start: int
    end: int
    flags: str
    device: str
    inode: int
    path: str


class Scratch(NamedTuple):
    """Zeros in the process that nobody uses: what a file's last writable page has behind its variables."""

    address: int
    size: int


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A running CPython."""

    pid: int
    version: tuple[int, int]
    number: int
    """What ``Py_Version`` holds, at its address in :attr:`functions`."""
    executable: str
    """Its path, in the file system that we share."""
    functions: dict[bytes, int]
    """Addresses in the process, by name: those that injections call."""
    waits: tuple[int, ...]
    """Addresses of functions of libc in which a thread waits, whatever the system call's number says."""
    scratches: tuple[Scratch, ...]

    @property
    def shown(self) -> str:
        """``CPython 3.13``."""
        return f"CPython {self.version[0]}.{self.version[1]}"


def interpreter_of(pid: int) -> Interpreter:
    """Looks at a process. Raises Refused: it isn't there, isn't this user's, isn't CPython 3.11 to 3.15, or can't be
    reached."""
    _check_alive(pid)
    _check_user(pid)
    _check_namespaces(pid)
    _check_state(pid)
    try:
        return _found(pid)
    except ProcessLookupError as error:
        raise Refused(f"process {pid} has ended") from error
    except OSError as error:
        raise Refused(f"process {pid}: {why_not_traceable(pid)}") from error


def has_ended(pid: int) -> bool:
    """Whether a process is gone, waited for or not. Raises nothing."""
    return _status(pid).get("State", "X").startswith(("Z", "X"))


def age(pid: int) -> float:
    """Seconds since a process began. Raises OSError, ValueError."""
    started = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started / os.sysconf("SC_CLK_TCK")


def command_of(pid: int) -> list[str]:
    """The process's command line, or its name. Raises nothing."""
    with suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
        return [os.fsdecode(word) for word in words]
    return []


def where_it_waits(pid: int) -> str:
    """What the main thread is in: ``its main thread is in epoll_wait``. Raises nothing."""
    with suppress(OSError, ValueError):
        number = Path(f"/proc/{pid}/syscall").read_text().split()[0]
        if number == "running":
            return "its main thread is in C code that runs"
        return f"its main thread waits in {_CALLS.get(int(number), f'system call {number}')}"
    return "its main thread is in C code"


def why_not_traceable(pid: int) -> str:
    """Why the kernel doesn't let us read or write another process of ours, as far as that can be known."""
    if not _has_capability(_PTRACE):
        with suppress(OSError, ValueError):
            scope = int(_YAMA.read_text())
            if scope == 3:
                return "this machine forbids to attach to processes until it is rebooted (kernel.yama.ptrace_scope=3)"
            if scope:
                return (
                    f"processes may attach to their own children only (kernel.yama.ptrace_scope={scope}); "
                    "allow it until the next boot: sudo sysctl kernel.yama.ptrace_scope=0"
                )
    status = _status(pid)
    if _capabilities(status) & ~_capabilities(_status(os.getpid())):
        return "it has capabilities that memwatch hasn't: start memwatch attach with the same ones"
    return (
        "the kernel doesn't let memwatch look into it: a container or sandbox forbids it (docker run "
        "--cap-add SYS_PTRACE), or the program has made itself undumpable (prctl PR_SET_DUMPABLE)"
    )


# ---- may it be attached to? -----------------------------------------------------------------------------------------


def _status(pid: int) -> dict[str, str]:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _capabilities(status: dict[str, str]) -> int:
    return int(status.get("CapEff", "0"), 16)


def _has_capability(number: int) -> bool:
    return bool(_capabilities(_status(os.getpid())) >> number & 1)


def _check_alive(pid: int) -> None:
    if pid == os.getpid():
        raise Refused(f"{pid} is memwatch itself: give the number of the program's process")
    status = _status(pid)
    if not status:
        raise Refused(f"there is no process {pid}: pgrep -af python lists those that there are")
    if status.get("State", "").startswith(("Z", "X")):
        raise Refused(f"process {pid} has ended")
    if "VmSize" not in status:
        raise Refused(f"process {pid} is a part of the kernel, not a program")
    if status.get("Tgid", str(pid)) != str(pid):
        raise Refused(f"{pid} is a thread of process {status['Tgid']}: memwatch attach {status['Tgid']}")


def _check_user(pid: int) -> None:
    users = {int(user) for user in _status(pid).get("Uid", "-1").split()}
    if users == {os.geteuid()} == {os.getuid()}:
        return
    others = users - {os.geteuid()}
    number = min(others) if others else os.geteuid()
    name = str(number)
    with suppress(KeyError):
        name = pwd.getpwuid(number).pw_name
    raise Refused(
        f"process {pid} belongs to {name} (user {number}); memwatch attaches only to its own user's: sudo -u {name} "
        f"memwatch attach {pid}"
    )


def _check_namespaces(pid: int) -> None:
    for kind, what in (("pid", "counts processes by itself"), ("mnt", "sees other files")):
        try:
            same = os.readlink(f"/proc/{pid}/ns/{kind}") == os.readlink(f"/proc/self/ns/{kind}")
        except OSError:
            continue  # what comes next says why
        if not same:
            raise Refused(
                f"process {pid} runs in a container, which {what}: install memwatch in it, and call memwatch attach "
                "there (docker exec, nsenter)"
            )
    with suppress(OSError):
        there, here = os.stat(f"/proc/{pid}/root"), os.stat("/")
        if (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino):
            raise Refused(f"process {pid} has another root folder (chroot): call memwatch attach within it")


def _check_state(pid: int) -> None:
    state = _status(pid).get("State", "")
    if state.startswith("T"):
        raise Refused(f"process {pid} is stopped, so it can't take part: kill -CONT {pid}")
    if state.startswith("t"):
        tracer = _status(pid).get("TracerPid", "0")
        raise Refused(f"process {pid} is stopped in a debugger (process {tracer}): let it go on, or detach")


# ---- what is it? ----------------------------------------------------------------------------------------------------


def _maps(pid: int) -> list[Mapped]:
    found = []
    with open(f"/proc/{pid}/maps", "rb") as lines:
        for line in lines:
            span, flags, _, device, inode, *path = line.split(maxsplit=5)
            start, _, end = span.partition(b"-")
            name = os.fsdecode(path[0].rstrip(b"\n")) if path else ""
            found.append(Mapped(int(start, 16), int(end, 16), flags.decode(), device.decode(), int(inode), name))
    return found


def _files(pid: int) -> dict[str, int]:
    """Where each file of code begins, in the order of addresses."""
    bases: dict[str, int] = {}
    for part in _maps(pid):
        if part.path.startswith("/") and part.inode:
            bases.setdefault(part.path, part.start)
    return bases


class _File(NamedTuple):
    """What a file of code says of itself; addresses are its own."""

    lowest: int
    """Where it begins."""
    functions: dict[bytes, int]
    behind: Scratch
    """Behind its variables, up to the end of their last page."""


def _read(pid: int, path: str) -> _File | None:
    """None: it is no file of code, or isn't there any more."""
    try:
        # what runs, even if another file has its name by now
        here = f"/proc/{pid}/exe" if path == os.readlink(f"/proc/{pid}/exe") else path
        descriptor = opened(here)
    except (OSError, ValueError):
        return None
    try:
        elf = Elf(reader_of(descriptor))
        lowest = min((one.address for one in elf.segments if one.kind == _LOAD), default=0) & -_PAGE
        ends = [one.address + one.in_memory for one in elf.segments if one.kind == _LOAD and one.flags & _WRITABLE]
        end = (max(ends, default=0) + 15) & ~15
        return _File(lowest, elf.exported(_WANTED), Scratch(end, -end % _PAGE))
    except (ValueError, struct.error, IndexError):
        return None
    finally:
        os.close(descriptor)


def _found(pid: int) -> Interpreter:
    bases, parts = _files(pid), _maps(pid)
    executable = os.readlink(f"/proc/{pid}/exe")
    if any("/ld-musl-" in path for path in bases):
        raise Refused(f"process {pid} runs on musl (Alpine), where MemWatch doesn't: it takes glibc")
    ours = sorted(bases, key=lambda path: (path != executable, "libpython" not in os.path.basename(path)))
    core, base = None, 0
    scratches, waits = [], []
    for path in ours:
        if not (path == executable or ".so" in os.path.basename(path)) or "/ld-linux" in path:
            continue  # the loader uses what is left of its page
        if path != executable and core is not None and len(scratches) >= 4 and waits:
            break
        file = _read(pid, path)
        if file is None:
            continue
        if os.path.basename(path).startswith("libc."):
            waits = [bases[path] - file.lowest + file.functions[name] for name in _OF_LIBC if name in file.functions]
        if core is None and file.functions.keys() >= {*_CALLED, VERSION}:
            core, base = file, bases[path] - file.lowest
        start = bases[path] - file.lowest + file.behind.address
        if path != executable and any(part.start <= start < part.end and part.flags == "rw-p" for part in parts):
            scratches.append(Scratch(start, file.behind.size))
    if core is None:
        raise Refused(
            f"process {pid} ({os.path.basename(executable)}) is no CPython {OLDEST[0]}.{OLDEST[1]} to "
            f"{NEWEST[0]}.{NEWEST[1]} whose functions can be found: give the number of the program's own process, not "
            "of a shell or supervisor"
        )
    packed = read_memory(pid, base + core.functions[VERSION], 8)
    number = int.from_bytes(packed, "little")
    version = number >> 24 & 255, number >> 16 & 255
    if not OLDEST <= version <= NEWEST:
        raise Refused(f"process {pid} is a CPython {version[0]}.{version[1]}; MemWatch takes 3.11 to 3.15")
    functions = {name: base + core.functions[name] for name in (*_CALLED, VERSION)}
    return Interpreter(pid, version, number, executable, functions, tuple(waits), tuple(scratches))


# ---- its memory -----------------------------------------------------------------------------------------------------


def read_memory(pid: int, address: int, size: int) -> bytes:
    """Raises OSError (PermissionError: see :func:`why_not_traceable`)."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        return os.pread(memory.fileno(), size, address)


def write_memory(pid: int, address: int, data: bytes) -> None:
    """For a scratch: nothing that the program uses. Raises OSError."""
    with open(f"/proc/{pid}/mem", "rb+", buffering=0) as memory:
        os.pwrite(memory.fileno(), data, address)
