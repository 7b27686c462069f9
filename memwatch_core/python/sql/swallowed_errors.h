/* swallowed_errors.h - counts and contains errors of tracing. */
#ifndef MEMWATCH_PYTHON_SWALLOWED_ERRORS_H
#define MEMWATCH_PYTHON_SWALLOWED_ERRORS_H
#include "adapter.h"

struct mwpy_tracer;

/* Clears the exception and counts it. The first one is reported as soon as Python code may run. */
void mwpy_swallow_error(struct mwpy_tracer *tracer);
#endif
