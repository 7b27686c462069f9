"""The C types and functions of python/values/, which one C function adds to this module. Declared in proxy.pyi."""

from ._core import lib

if lib.mwpy_install(__name__.encode()) != 0:
    raise ImportError("the native part of MemWatch couldn't make its types; the reason is printed above")
