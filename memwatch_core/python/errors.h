/* errors.h - an error of the core, as the exception that Python gets. */
#ifndef MEMWATCH_PYTHON_ERRORS_H
#define MEMWATCH_PYTHON_ERRORS_H
#include "adapter.h"

int mwpy_take_errors(void); /* the classes of memwatch_core.errors; 0, or -1 with an exception */

/* Sets the exception for an error of the core; `name`, of the watched value, may be NULL. Returns -1. */
int mwpy_raise(int error, PyObject *name);
#endif
