/* errors.h - the core's errors as Python exceptions. */
#ifndef MEMWATCH_PYTHON_ERRORS_H
#define MEMWATCH_PYTHON_ERRORS_H
#include "adapter.h"

int mwpy_take_errors(void); /* imports the exception classes; 0, or -1 with an exception */

/* Sets the exception for an error of the core. `name` is the watched value's, or NULL. Returns -1. */
int mwpy_raise(int error, PyObject *name);
#endif
