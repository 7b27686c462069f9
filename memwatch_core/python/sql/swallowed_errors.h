/* swallowed_errors.h - what goes wrong in tracing is counted, and goes no further. */
#ifndef MEMWATCH_PYTHON_SWALLOWED_ERRORS_H
#define MEMWATCH_PYTHON_SWALLOWED_ERRORS_H
#include "adapter.h"

struct mwpy_tracer;

/* An exception that was set; each of them may be NULL. */
typedef struct mwpy_raised {
    PyObject *kind, *error, *traceback;
} mwpy_raised;

mwpy_raised mwpy_take_raised(void); /* normalised; none is set afterwards */
void mwpy_drop_raised(mwpy_raised raised);

/* Whether the exception that is set is ours to swallow: an Exception that no handler of a signal has raised. */
bool mwpy_is_ours(void);
PyObject *mwpy_raise_unless_ours(PyObject *module, PyObject *error);

/* Clears the exception and counts it. The first is told of, at the next occasion at which code in Python may run. */
void mwpy_swallow_error(struct mwpy_tracer *tracer);

/* In between, the program's trace and profile functions aren't called. */
static inline void mwpy_pause_profilers(void) { PyThreadState_EnterTracing(PyThreadState_Get()); }
static inline void mwpy_resume_profilers(void) { PyThreadState_LeaveTracing(PyThreadState_Get()); }
#endif
