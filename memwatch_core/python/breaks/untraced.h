/* untraced.h - a call that no trace function and no tool of sys.monitoring is told of. */
#ifndef MEMWATCH_PYTHON_UNTRACED_H
#define MEMWATCH_PYTHON_UNTRACED_H
#include "adapter.h"

/* call_untraced(function, *arguments): what a debugger runs in a thread that stands still must not stop there again. */
PyObject *mwpy_call_untraced(PyObject *module, PyObject *const *args, Py_ssize_t n);
#endif
