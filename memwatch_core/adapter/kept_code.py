"""Code that announces its locals, kept beside the interpreter's compiled files: ``orders.cpython-313.memwatch-1.pyc``.

A file counts if it was made from the very source (time and size), by this version of ours and of the interpreter, and
if nobody else can have written it. Where the folder can't be written to, or others may write to it, none is kept.
"""

from __future__ import annotations

import importlib.util
import marshal
import os
import sys
import tempfile
from contextlib import suppress
from types import CodeType

from .. import __version__, trust

FORMAT = 2
"""Changes with what the code announces, and how."""
_LARGEST = 64 << 20
_MAGIC = f"memwatch {__version__} {FORMAT} ".encode() + importlib.util.MAGIC_NUMBER


def read(source: str, module: str) -> CodeType | None:
    """The code that was kept for a source file as the module of this name; None: there is none, or it is of no use."""
    head = _head(source, module)
    if head is None:
        return None
    try:
        with trust.Found(_path(source)) as found:
            if found.status is None or found.reason or found.planted:
                return None
            data = trust.read(found.folder, found.name, _LARGEST)
        code = marshal.loads(data[len(head) :]) if data.startswith(head) else None
    except (OSError, ValueError, TypeError, EOFError):
        return None
    return code if type(code) is CodeType else None


def write(source: str, module: str, code: CodeType) -> None:
    """Keeps code, unless the program was asked to write none (``python -B``). A file is there as a whole or not at
    all. Failing is no error."""
    head = _head(source, module)
    if head is None or sys.dont_write_bytecode:
        return
    path = _path(source)
    folder = os.path.dirname(path)
    with suppress(OSError, ValueError):
        if trust.distrust(folder):
            return
        descriptor, made = tempfile.mkstemp(".tmp", os.path.basename(path), folder)
        try:
            with open(descriptor, "wb") as file:
                file.write(head + marshal.dumps(code))
            os.replace(made, path)
        except BaseException:
            os.unlink(made)
            raise


def _head(source: str, module: str) -> bytes | None:
    try:
        status = os.stat(source)
    except OSError:
        return None
    parts = (_MAGIC, status.st_mtime_ns.to_bytes(8, "little"), status.st_size.to_bytes(8, "little"), module.encode())
    return b"".join(len(part).to_bytes(4, "little") + part for part in parts)


def _path(source: str) -> str:
    return f"{importlib.util.cache_from_source(source).removesuffix('.pyc')}.memwatch-{FORMAT}.pyc"
