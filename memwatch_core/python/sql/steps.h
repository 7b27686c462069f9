/* steps.h - what is done around a call of the library's. Three kinds of objects tell it, and the shell (shell.c) takes
 * them alike: Running and Fetching, in C, for what every statement and every row goes through; and any function that
 * returns a generator. */
#ifndef MEMWATCH_PYTHON_STEPS_H
#define MEMWATCH_PYTHON_STEPS_H
#include "adapter.h"

/* Functions return 0, or -1 with an exception, which the shell contains. `object`: whose method is called. */
typedef struct mwpy_steps {
    /* A new reference to what the others get as `token`. */
    PyObject *(*before)(PyObject *trace, PyObject *object, PyObject *args, PyObject *keywords);
    int (*after)(PyObject *trace, PyObject *object, PyObject *token, PyObject *result);
    int (*each)(PyObject *trace, PyObject *object, PyObject *token, PyObject *row); /* NULL: nothing is done */
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
