/* locals.h - names of functions that are watched: what the adapter in Python calls. */
#ifndef MEMWATCH_PYTHON_LOCALS_H
#define MEMWATCH_PYTHON_LOCALS_H
#include "adapter.h"

extern PyMethodDef mwpy_locals_functions[];
/* 0, or -1 with an exception. */
int mwpy_add_types_of_locals(PyObject *module);
#endif
