"""Calls functions of a library (or, if its name is empty, of the program) in threads that run nothing of Python's:
``native_program.py LIBRARY FUNCTION...``."""

import ctypes
import os
import sys

from memwatch_core import watch

library = ctypes.CDLL(sys.argv[1] or None)
data = watch(bytearray(64), name="data")
at = ctypes.byref((ctypes.c_ubyte * 64).from_buffer(data))


def call(name: str) -> None:
    if name == "fork":
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            return
        call("exported")
        os._exit(0)
    elif name == "here":
        library.exported(at)
    elif name.endswith(".so"):  # in the place of the one before
        for path in name.split(","):
            other = ctypes.CDLL(path)
            print(ctypes.cast(other.other, ctypes.c_void_p).value)
            library.in_thread(other.other, at)
            ctypes.CDLL(None).dlclose(ctypes.c_void_p(other._handle))
    else:
        library.in_thread(getattr(library, name), at)


for name in sys.argv[2:]:
    call(name)
