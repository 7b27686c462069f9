/* trouble.c - what goes wrong in tracing is counted, and goes no further. */
#include "sql/tracer.h"

void mwpy_trouble(mwpy_tracer *self) {
    PyObject *kind, *error, *traceback;
    PyErr_Fetch(&kind, &error, &traceback);
    PyErr_NormalizeException(&kind, &error, &traceback);
    if (traceback && error) PyException_SetTraceback(error, traceback);
    if (!self->troubles++) Py_XSETREF(self->unreported, Py_XNewRef(error));
    Py_XDECREF(kind);
    Py_XDECREF(error);
    Py_XDECREF(traceback);
}
