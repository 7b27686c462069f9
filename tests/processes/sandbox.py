"""Takes rights away from the process that calls it, as containers and service managers do: for good, no way back."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import struct
from collections.abc import Iterator
from typing import NamedTuple

_MMAP, _MPROTECT, _IOCTL, _MADVISE, _MEMFD_CREATE, _USERFAULTFD = 9, 10, 16, 28, 319, 323  # system calls of x86-64
_CLONE, _CLONE3, _CLONE_THREAD = 56, 435, 0x10000
_FSTATFS = 138
_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06  # linux/bpf_common.h
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000  # linux/seccomp.h
_PROT_EXEC, _MFD_EXEC, _MADV_REMOVE = 0x4, 0x10, 9
_ANONYMOUS, _MAP_FIXED = 0x4021, 0x10  # MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE
_USERFAULTFD_IOC_NEW = 0xAA00  # of /dev/userfaultfd
_NO_NEW_PRIVS, _SECCOMP, _CAPBSET_DROP = 38, 22, 24  # linux/prctl.h

_libc = ctypes.CDLL(None, use_errno=True)


class Rule(NamedTuple):
    """A system call that is refused with EPERM."""

    number: int
    argument: int | None = None
    """None: whatever its arguments are."""
    test: int = _ANY_BIT
    value: int = 0
    """What the argument is tested for."""


RULES: dict[str, tuple[Rule, ...]] = {
    "userfaultfd": (Rule(_USERFAULTFD), Rule(_IOCTL, 1, _EQUAL, _USERFAULTFD_IOC_NEW)),
    "memfd": (Rule(_MEMFD_CREATE),),
    "anonymous shared memory": (Rule(_MMAP, 3, _EQUAL, _ANONYMOUS), Rule(_MMAP, 3, _EQUAL, _ANONYMOUS | _MAP_FIXED)),
    "memfd with exec": (Rule(_MEMFD_CREATE, 1, _ANY_BIT, _MFD_EXEC),),
    "what a disk has left": (Rule(_FSTATFS),),
    "threads": (Rule(_CLONE3), Rule(_CLONE, 0, _ANY_BIT, _CLONE_THREAD)),
    "giving memory back": (Rule(_MADVISE, 2, _EQUAL, _MADV_REMOVE),),
    "executable memory": (Rule(_MMAP, 2, _ANY_BIT, _PROT_EXEC), Rule(_MPROTECT, 2, _ANY_BIT, _PROT_EXEC)),
}


def refuse(*names: str) -> None:
    """Installs a seccomp filter; needs no privilege, and sets no_new_privs. seccomp(2)."""
    program = [(_LOAD, 0, 0, 0), *(step for name in names for rule in RULES[name] for step in _steps(rule))]
    code = b"".join(struct.pack("HBBI", *step) for step in [*program, (_RETURN, 0, 0, _ALLOW)])
    buffer = ctypes.create_string_buffer(code, len(code))
    _check(_libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0))
    _check(_libc.prctl(_SECCOMP, 2, struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(buffer)), 0, 0))


def _steps(rule: Rule) -> Iterator[tuple[int, int, int, int]]:
    if rule.argument is None:
        yield (_EQUAL, 0, 1, rule.number)
    else:
        yield (_EQUAL, 0, 4, rule.number)
        yield (_LOAD, 0, 0, 16 + 8 * rule.argument)  # the low half of the argument in struct seccomp_data
        yield (rule.test, 0, 1, rule.value)
    yield (_RETURN, 0, 0, _ERRNO | errno.EPERM)
    if rule.argument is not None:
        yield (_LOAD, 0, 0, 0)


def drop_capabilities() -> None:
    """An ordinary user's rights, whoever the user is. capabilities(7)."""
    for capability in range(64):
        if _libc.prctl(_CAPBSET_DROP, capability, 0, 0, 0) and ctypes.get_errno() == errno.EINVAL:
            break
    _libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
    header, nothing = struct.pack("IiI", 0x20080522, 0, 0)[:8], bytes(24)  # version 3 of capset(2)
    _check(_libc.capset(header, nothing))


def limit(name: str, size: int) -> None:
    """``limit("AS", 512 << 20)``: as ``ulimit`` does. getrlimit(2)."""
    resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (size, size))


def shrink_shm() -> None:
    """A /dev/shm of 64 KiB, of this process only. Raises OSError where mounting isn't allowed."""
    small_folder("/dev/shm", 64 << 10)


def small_folder(path: str, size: int) -> None:
    """Mounts a file system of ``size`` bytes there, for this process and its children only. Raises OSError where
    mounting isn't allowed."""
    _check(_libc.unshare(0x00020000))  # CLONE_NEWNS
    _check(_libc.mount(b"none", b"/", None, 0x4000 | 0x40000, None))  # MS_REC | MS_PRIVATE
    _check(_libc.mount(b"tmpfs", path.encode(), b"tmpfs", 0, f"size={size}".encode()))


def _check(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
