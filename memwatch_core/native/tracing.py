"""The C types of python/sql/tracer.c, put into this module by a function that cffi hands out.

What is here is declared in tracing.pyi.
"""

from ._core import lib

if lib.mwpy_install_tracer(__name__.encode()) != 0:
    raise ImportError("the native part of MemWatch couldn't make its types; the reason is printed above")
