"""The C types of python/sql/tracer.c, which one C function adds to this module. Declared in tracing.pyi."""

from ._core import lib

if lib.mwpy_install_tracer(__name__.encode()) != 0:
    raise ImportError("the native part of MemWatch couldn't make its types; the reason is printed above")
