/* steps.h - traces around a call of the library's. There are three kinds, which the shell (shell.c) treats alike:
 * Running and Fetching, in C, for every statement and row; and any function that returns a generator. */
#ifndef MEMWATCH_PYTHON_STEPS_H
#define MEMWATCH_PYTHON_STEPS_H
#include "adapter.h"

/* Functions return 0, or -1 with an exception, which the shell contains. `object` is the self of the traced method. */
typedef struct mwpy_steps {
    /* Returns the token for the others, a new reference. */
    PyObject *(*before)(PyObject *trace, PyObject *object, PyObject *args, PyObject *keywords);
    int (*after)(PyObject *trace, PyObject *object, PyObject *token, PyObject *result);
    int (*each)(PyObject *trace, PyObject *object, PyObject *token, PyObject *row); /* NULL: no-op */
    int (*failed)(PyObject *trace, PyObject *object, PyObject *token, PyObject *error);
} mwpy_steps;

/* ---- the exception that is set ----------------------------------------------------------------------------------- */

typedef struct mwpy_raised {
    PyObject *kind, *error, *traceback;
} mwpy_raised;

static inline mwpy_raised mwpy_take(void) {
    mwpy_raised r;
    PyErr_Fetch(&r.kind, &r.error, &r.traceback);
    PyErr_NormalizeException(&r.kind, &r.error, &r.traceback);
    if (r.traceback && r.error) PyException_SetTraceback(r.error, r.traceback);
    return r;
}

static inline void mwpy_drop(mwpy_raised r) {
    Py_XDECREF(r.kind);
    Py_XDECREF(r.error);
    Py_XDECREF(r.traceback);
}
#endif
