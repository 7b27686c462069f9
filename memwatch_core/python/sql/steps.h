/* steps.h - what is done around a call of the library's. Three kinds of objects tell it, and the shell (shell.c) takes
 * them alike: Running and Fetching, in C, for what every statement and every row goes through; and any function that
 * returns a generator. */
#ifndef MEMWATCH_PYTHON_STEPS_H
#define MEMWATCH_PYTHON_STEPS_H
#include "sql/tracer.h"

/* Functions return 0, or -1 with an exception, which the shell contains. `object`: whose method is called. */
typedef struct mwpy_steps {
    /* A new reference to what the others get as `token`. */
    PyObject *(*before)(PyObject *trace, PyObject *object, PyObject *args, PyObject *keywords);
    int (*after)(PyObject *trace, PyObject *object, PyObject *token, PyObject *result);
    int (*each)(PyObject *trace, PyObject *object, PyObject *token, PyObject *row); /* NULL: nothing is done */
    int (*failed)(PyObject *trace, PyObject *object, PyObject *token, PyObject *error);
} mwpy_steps;

extern const mwpy_steps mwpy_running_steps, mwpy_fetching_steps, mwpy_generator_steps;

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

/* ---- reader.c: what a library keeps in its objects --------------------------------------------------------------- */

/* `read`: a Reader, or any other callable. A new reference. */
PyObject *mwpy_read(PyObject *read, PyObject *of);

/* Of a Status: True, False, or None: not known. A new reference. */
PyObject *mwpy_status_of(PyObject *status, PyObject *connection);

extern PyTypeObject *mwpy_reader_type, *mwpy_status_type, *mwpy_fetching_type;
extern PyType_Spec mwpy_reader_spec, mwpy_status_spec, mwpy_fetching_spec;

/* ---- arguments of a call ----------------------------------------------------------------------------------------- */

/* function(object, *args, **keywords); `object` may be NULL. */
PyObject *mwpy_call_with(PyObject *function, PyObject *object, PyObject *args, PyObject *keywords);

/* The same for a function of ours, which must not meet keywords whose class has an __eq__ of the program's. NULL
 * without an exception: it doesn't take such arguments, and the library will say what is wrong with them. */
PyObject *mwpy_call_ours(PyObject *function, PyObject *object, PyObject *args, PyObject *keywords);

#endif
