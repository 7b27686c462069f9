/* swallowed_errors.c - see swallowed_errors.h. */
#include "sql/swallowed_errors.h"
#include "sql/tracer.h"

void mwpy_swallow_error(mwpy_tracer *self) {
    PyObject *kind, *error, *traceback;
    PyErr_Fetch(&kind, &error, &traceback);
    PyErr_NormalizeException(&kind, &error, &traceback);
    if (traceback && error) PyException_SetTraceback(error, traceback);
    if (!self->troubles++) Py_XSETREF(self->unreported, Py_XNewRef(error));
    Py_XDECREF(kind);
    Py_XDECREF(error);
    Py_XDECREF(traceback);
}
