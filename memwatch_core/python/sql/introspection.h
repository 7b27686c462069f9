/* introspection.h - reads the program's objects without calling its code; classes that look like their base. */
#ifndef MEMWATCH_PYTHON_INTROSPECTION_H
#define MEMWATCH_PYTHON_INTROSPECTION_H
#include "adapter.h"

PyObject *mwpy_peek(PyObject *module, PyObject *const *args, Py_ssize_t n);
PyObject *mwpy_disguise(PyObject *module, PyObject *const *args, Py_ssize_t n);
#endif
