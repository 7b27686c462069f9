/* swallowed_errors.h - what goes wrong in tracing is counted, and goes no further. */
#ifndef MEMWATCH_PYTHON_SWALLOWED_ERRORS_H
#define MEMWATCH_PYTHON_SWALLOWED_ERRORS_H
#include "adapter.h"

struct mwpy_tracer;

/* Clears the exception and counts it. The first is told of, at the next occasion at which code in Python may run. */
void mwpy_swallow_error(struct mwpy_tracer *tracer);
#endif
