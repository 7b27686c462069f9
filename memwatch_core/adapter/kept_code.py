"""Code that announces its locals, kept beside the interpreter's compiled files: ``orders.cpython-313.memwatch-2.pyc``.

A file counts if it was made of the very code that a program's loader gives, whatever that has made of the source; by
this version of ours and of the interpreter; and if nobody else can have written it. Where the folder can't be written
to, or others may write to it, none is kept.
"""

from __future__ import annotations

import importlib.util
import marshal
import os
import sys
import tempfile
from contextlib import suppress
from types import CodeType, GetSetDescriptorType, MemberDescriptorType
from typing import Any

from .. import __version__, trust

FORMAT = 2
"""Changes with what the code announces, and how."""
_LARGEST = 64 << 20
_DESCRIPTORS = (MemberDescriptorType, GetSetDescriptorType)
_PARTS = [name for name in dir(CodeType) if name.startswith("co_") and isinstance(vars(CodeType)[name], _DESCRIPTORS)]
_MAGIC = f"memwatch {__version__} {FORMAT} ".encode() + importlib.util.MAGIC_NUMBER


class Kept:
    """The place for what is made of a code object: the body of the module of this name, with this source file."""

    def __init__(self, code: CodeType, source: str, module: str) -> None:
        parts = (_MAGIC, module.encode(), _digest(code))
        self._head = b"".join(len(part).to_bytes(4, "little") + part for part in parts)
        self._path = f"{importlib.util.cache_from_source(source).removesuffix('.pyc')}.memwatch-{FORMAT}.pyc"

    def read(self) -> CodeType | None:
        """What was made of it; None: that wasn't kept, or is of no use."""
        try:
            with trust.Found(self._path) as found:
                if found.status is None or found.reason or found.planted:
                    return None
                data = trust.read(found.folder, found.name, _LARGEST)
            code = marshal.loads(data[len(self._head) :]) if data.startswith(self._head) else None
        except (OSError, ValueError, TypeError, EOFError):
            return None
        return code if type(code) is CodeType else None

    def write(self, made: CodeType) -> None:
        """Keeps it, unless the program was asked to write none (``python -B``). A file is there as a whole or not at
        all. Failing is no error."""
        if sys.dont_write_bytecode:
            return
        with suppress(OSError, ValueError):
            _write(self._path, self._head + marshal.dumps(made))


def _write(path: str, data: bytes) -> None:
    folder = os.path.dirname(path)
    if trust.distrust(folder):
        return
    descriptor, made = tempfile.mkstemp(".tmp", os.path.basename(path), folder)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
        os.replace(made, path)
    except BaseException:
        os.unlink(made)
        raise


def _digest(code: CodeType) -> bytes:
    """Of all that a code object is. The second form of marshal's says nothing of how often an object is referred to,
    which differs between code that was compiled and the same code read from a file."""
    try:
        data = marshal.dumps(code, 2)
    except ValueError:
        data = marshal.dumps(_plain(code), 2)
    return importlib.util.source_hash(data)


def _plain(value: Any) -> Any:
    """With slices, which are constants from CPython 3.14 on and not in that form."""
    if isinstance(value, slice):
        return "slice", value.start, value.stop, value.step
    if isinstance(value, tuple):
        return tuple(_plain(each) for each in value)
    if isinstance(value, CodeType):
        return tuple(_plain(getattr(value, name)) for name in _PARTS if name != "co_lnotab")
    return value
