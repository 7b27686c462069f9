"""What native code is called that stored, or made a call: the function, and where in it.

A journal says which instruction of which file it was (docs/journal-format.md). The name is looked up in that very file,
or in its debug symbols, when the journal is read: what isn't certain to be the same file any more gives no names.
"""

from __future__ import annotations

import ctypes
import os
import re
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from ..records import Site
from .elf import Elf, Read, opened, reader_of
from .kept import cut

DEBUG = "/usr/lib/debug/.build-id"
VDSO = "[vdso]"
MANGLED_MOST = 1000
_WRONG = (ValueError, IndexError, struct.error, OSError)

_TEXT = re.compile(
    r"\+0x(?P<address>[0-9a-f]{1,16})(?P<returns> return)?(?: caller=0x(?P<caller>[0-9a-f]{1,8}))?"
    r"(?: build-id=(?P<build_id>[0-9a-f]{2,128})| file=(?P<file>\d+,\d+,\d+))?"
)


class Native(NamedTuple):
    """A place in native code."""

    file: str
    address: int
    """As it stands in the file."""
    returns: bool = False
    """A call returns to it."""
    caller: int = 0
    """Id of the site of its caller, if its function leaves the stack alone; 0: not known."""
    build_id: str = ""
    stamp: str = ""
    """Of a file without a build id: inode, size, time of its last change."""


def parsed(file: str, text: str) -> Native | None:
    """From the names of a site of native code; None: all that is known is the file. Raises ValueError."""
    if not text:
        return None
    found = _TEXT.fullmatch(text)
    if found is None:
        raise ValueError("it is no place in native code")
    return Native(
        file, int(found["address"], 16), found["returns"] is not None, int(found["caller"] or "0", 16),
        found["build_id"] or "", found["file"] or "",
    )  # fmt: skip


class Symbols:
    """The names in one file. ``why``: why there are none, in words; empty otherwise."""

    def __init__(self, file: str, build_id: str, stamp: str) -> None:
        self.why = ""
        self._files: list[Elf] = []
        self._descriptors: list[int] = []
        try:
            self._take(file, build_id, stamp)
        except FileNotFoundError:
            self.why = "isn't there any more"
        except _WRONG as error:
            self.why = f"can't be read ({error})"
        debug = f"{DEBUG}/{build_id[:2]}/{build_id[2:]}.debug"
        if build_id and os.path.exists(debug):
            try:
                self._take(debug, build_id, "")
                self.why = ""
            except _WRONG:
                pass  # those of the file itself

    def _take(self, file: str, build_id: str, stamp: str) -> None:
        if file == VDSO:
            elf = Elf(_own_vdso())
        else:
            descriptor = opened(os.fsencode(file))
            self._descriptors.append(descriptor)
            about = os.fstat(descriptor)
            elf = Elf(reader_of(descriptor))
            if not build_id and stamp != f"{about.st_ino},{about.st_size},{about.st_mtime_ns}":
                self.why = "has no build id, and has changed since" if stamp else "has no build id"
                return
        if build_id and elf.build_id() != build_id:
            self.why = "isn't the one that ran: its build id is another"
            return
        self._files.append(elf)

    def function_at(self, address: int) -> tuple[str, int] | None:
        """Name and beginning of the function at an address."""
        for elf in reversed(self._files):  # debug symbols know more
            try:
                found = elf.function_at(address)
            except _WRONG:
                continue
            if found is not None:
                return demangled(found[0]), found[1]
        return None

    def leaves_stack_alone(self, address: int) -> bool:
        """As :meth:`Elf.leaves_stack_alone`."""
        try:
            return bool(self._files) and self._files[0].leaves_stack_alone(address)
        except _WRONG:
            return False

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        for descriptor in self._descriptors:
            close(descriptor)


symbols_of = lru_cache(maxsize=64)(Symbols)


def site_of(place: Native, sites: Callable[[int], Site | None]) -> Site:
    """The site of a place in native code: of its caller, if that is known and the code is a part of libc that stores
    for others. ``sites``: those of the journal, by id."""
    symbols = symbols_of(place.file, place.build_id, place.stamp)
    caller = sites(place.caller) if place.caller else None
    if caller is not None and symbols.leaves_stack_alone(place.address):
        return caller
    found = symbols.function_at(place.address - place.returns)
    name, start = ("", 0) if found is None else (cut(found[0]), found[1])
    return Site(place.file, 0, f"{name}+0x{place.address - start:x}")


def function_of(site: Site) -> str:
    """The function of a site, without where in it the instruction lies."""
    head, plus, tail = site.function.rpartition("+0x")
    is_native = plus and not site.line and not site.column and tail.strip("0123456789abcdef") == ""
    return head if is_native else site.function


# ---- names of C++ ----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def demangled(name: bytes) -> str:
    """A name of C++ as its source has it, if its library is there."""
    text = name.decode("utf-8", "replace")
    demangle = _demangler() if text.startswith("_Z") and len(name) <= MANGLED_MOST else None
    if demangle is None:
        return text
    status = ctypes.c_int(-1)
    found = demangle(name, None, None, ctypes.byref(status))
    if status.value or not found:
        return text
    source = ctypes.string_at(found).decode("utf-8", "replace")
    ctypes.CDLL(None).free(ctypes.c_void_p(found))
    return source


@lru_cache(maxsize=1)
def _demangler() -> Callable[..., int | None] | None:
    try:
        demangle = ctypes.CDLL("libstdc++.so.6").__cxa_demangle
    except (OSError, AttributeError):
        return None
    demangle.argtypes = [ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
    demangle.restype = ctypes.c_void_p
    return demangle


# ---- the kernel's own ------------------------------------------------------------------------------------------------


def _own_vdso() -> Read:
    """That of this process: the same as any other's, or its build id is another."""
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as lines:
        where = next((line.split()[0] for line in lines if line.rstrip().endswith(VDSO)), "0-0")
    start, stop = (int(part, 16) for part in where.split("-"))
    image = ctypes.string_at(start, stop - start)

    def read(offset: int, size: int) -> bytes:
        if offset + size > len(image):
            raise ValueError("it is cut short")
        return image[offset : offset + size]

    return read
