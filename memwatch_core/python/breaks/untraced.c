/* untraced.c - see untraced.h. */
#include "breaks/untraced.h"

PyObject *mwpy_call_untraced(PyObject *module, PyObject *const *args, Py_ssize_t n) {
    (void)module;
    if (n < 1) {
        PyErr_SetString(PyExc_TypeError, "call_untraced() takes a function, and its arguments");
        return NULL;
    }
    PyThreadState *thread = PyThreadState_Get();
    PyThreadState_EnterTracing(thread);
    PyObject *result = PyObject_Vectorcall(args[0], args + 1, (size_t)(n - 1), NULL);
    PyThreadState_LeaveTracing(thread);
    return result;
}
