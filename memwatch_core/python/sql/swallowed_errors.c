/* swallowed_errors.c - see swallowed_errors.h. */
#include "sql/swallowed_errors.h"
#include <frameobject.h>
#include "sql/tracer.h"

mwpy_raised mwpy_take_raised(void) {
    mwpy_raised r;
    PyErr_Fetch(&r.kind, &r.error, &r.traceback);
    PyErr_NormalizeException(&r.kind, &r.error, &r.traceback);
    if (r.traceback && r.error) PyException_SetTraceback(r.error, r.traceback);
    return r;
}

void mwpy_drop_raised(mwpy_raised r) {
    Py_XDECREF(r.kind);
    Py_XDECREF(r.error);
    Py_XDECREF(r.traceback);
}

/* Whether `what`, a variable of a function, is `frame`, or a tuple (of *args) that has it. */
static bool holds(PyObject *what, PyObject *frame) {
    if (!PyTuple_CheckExact(what)) return what == frame;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(what); i++)
        if (PyTuple_GET_ITEM(what, i) == frame) return true;
    return false;
}

/* Nobody but the interpreter calls a function with the frame that is interrupted: the one below. */
static bool handles_signal(PyFrameObject *frame) {
    PyCodeObject *code = PyFrame_GetCode(frame);
    bool is_function = code->co_flags & CO_OPTIMIZED; /* of others the variables may be an object of the program's */
    Py_DECREF(code);
    if (!is_function) return false;
    PyObject *below = (PyObject *)PyFrame_GetBack(frame);
    PyObject *locals = below ? PyFrame_GetLocals(frame) : NULL;
    PyObject *values = locals ? PyMapping_Values(locals) : NULL;
    bool found = false;
    for (Py_ssize_t i = 0; values && !found && i < PyList_GET_SIZE(values); i++)
        found = holds(PyList_GET_ITEM(values, i), below);
    PyErr_Clear();
    Py_XDECREF(values);
    Py_XDECREF(locals);
    Py_XDECREF(below);
    return found;
}

bool mwpy_is_ours(void) {
    if (!PyErr_ExceptionMatches(PyExc_Exception)) return false;
    mwpy_raised r = mwpy_take_raised();
    bool ours = true;
    for (PyTracebackObject *at = (PyTracebackObject *)r.traceback; at && ours; at = at->tb_next)
        ours = !handles_signal(at->tb_frame);
    PyErr_Restore(r.kind, r.error, r.traceback);
    return ours;
}

PyObject *mwpy_raise_unless_ours(PyObject *module, PyObject *error) {
    (void)module;
    if (!PyExceptionInstance_Check(error)) return PyErr_Format(PyExc_TypeError, "an exception is wanted");
    PyErr_Restore(Py_NewRef((PyObject *)Py_TYPE(error)), Py_NewRef(error), PyException_GetTraceback(error));
    if (!mwpy_is_ours()) return NULL;
    PyErr_Clear();
    Py_RETURN_NONE;
}

void mwpy_swallow_error(mwpy_tracer *tracer) {
    mwpy_raised r = mwpy_take_raised();
    if (!tracer->troubles++) Py_XSETREF(tracer->unreported, Py_XNewRef(r.error));
    mwpy_drop_raised(r);
}
