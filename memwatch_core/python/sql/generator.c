/* generator.c - traces written in Python: functions that get the call's arguments and return a generator
 * (memwatch_plugins/sql/around.py). The token of a call is its generator. */
#include "sql/generator.h"

/* ---- arguments of a call ----------------------------------------------------------------------------------------- */

PyObject *mwpy_call_with(PyObject *function, PyObject *object, PyObject *args, PyObject *keywords) {
    if (!object) return PyObject_Call(function, args, keywords);
    enum { FEW = 8 };
    PyObject *few[FEW + 2], **all = few + 1; /* one in front, for the callee's use */
    Py_ssize_t n = PyTuple_GET_SIZE(args);
    if (n + 2 > FEW + 2) {
        PyObject **many = PyMem_Malloc((size_t)(n + 2) * sizeof *many);
        if (!many) return PyErr_NoMemory();
        all = many + 1;
    }
    all[0] = object;
    for (Py_ssize_t i = 0; i < n; i++) all[i + 1] = PyTuple_GET_ITEM(args, i);
    PyObject *result =
        PyObject_VectorcallDict(function, all, (size_t)(n + 1) | PY_VECTORCALL_ARGUMENTS_OFFSET, keywords);
    if (all != few + 1) PyMem_Free(all - 1);
    return result;
}

/* A dict whose names are exact strs; a new reference. */
static PyObject *plainly_named(PyObject *keywords) {
    PyObject *name, *value;
    bool plain = true;
    for (Py_ssize_t at = 0; plain && PyDict_Next(keywords, &at, &name, &value);) plain = PyUnicode_CheckExact(name);
    if (plain) return Py_NewRef(keywords);
    PyObject *copy = PyDict_New();
    for (Py_ssize_t at = 0; copy && PyDict_Next(keywords, &at, &name, &value);) {
        PyObject *text = PyUnicode_FromObject(name);
        if (!text || PyDict_SetItem(copy, text, value)) Py_CLEAR(copy);
        Py_XDECREF(text);
    }
    return copy;
}

PyObject *mwpy_call_ours(PyObject *function, PyObject *object, PyObject *args, PyObject *keywords) {
    PyObject *named = plainly_named(keywords);
    PyObject *result = named ? mwpy_call_with(function, object, args, named) : NULL;
    Py_XDECREF(named);
    if (result || !PyErr_ExceptionMatches(PyExc_TypeError)) return result;
    mwpy_raised r = mwpy_take();
    bool entered = r.traceback; /* otherwise no line of it ran: the arguments don't fit */
    if (entered)
        PyErr_Restore(r.kind, r.error, r.traceback);
    else
        mwpy_drop(r);
    return NULL;
}

/* ---- the generator ----------------------------------------------------------------------------------------------- */

/* Resumes the generator. 1: it yielded; 0: it returned. */
static int resume(PyObject *generator, PyObject *with) {
    PyObject *result;
    PySendResult what = PyIter_Send(generator, with, &result);
    if (what == PYGEN_ERROR) return -1;
    Py_DECREF(result);
    return what == PYGEN_NEXT;
}

static PyObject *generator_before(PyObject *trace, PyObject *object, PyObject *args, PyObject *keywords) {
    PyObject *generator = mwpy_call_ours(trace, object, args, keywords);
    if (!generator && !PyErr_Occurred()) return Py_NewRef(Py_None);
    if (!generator || generator == Py_None) return generator;
    int yielded = resume(generator, Py_None);
    if (yielded > 0) return generator;
    Py_DECREF(generator);
    return yielded ? NULL : Py_NewRef(Py_None);
}

static int too_many(PyObject *generator) {
    PyObject *closed = PyObject_CallMethod(generator, "close", NULL);
    if (!closed) return -1;
    Py_DECREF(closed);
    PyErr_Format(PyExc_RuntimeError, "%R has yielded again: the call is over", generator);
    return -1;
}

static int generator_after(PyObject *trace, PyObject *object, PyObject *token, PyObject *result) {
    (void)trace, (void)object;
    int yielded = token == Py_None ? 0 : resume(token, result);
    return yielded > 0 ? too_many(token) : yielded;
}

static int generator_each(PyObject *trace, PyObject *object, PyObject *token, PyObject *row) {
    (void)trace, (void)object;
    return token != Py_None && resume(token, row) < 0 ? -1 : 0;
}

/* Whether the generator's exception is the one thrown into it, or its return. */
static bool is_passed_on(PyObject *error) {
    if (PyErr_ExceptionMatches(PyExc_StopIteration)) return true;
    mwpy_raised r = mwpy_take();
    PyObject *cause = r.error ? PyException_GetCause(r.error) : NULL; /* set if a StopIteration was converted */
    bool passed = r.error == error || cause == error;
    Py_XDECREF(cause);
    PyErr_Restore(r.kind, r.error, r.traceback);
    return passed;
}

static int generator_failed(PyObject *trace, PyObject *object, PyObject *token, PyObject *error) {
    (void)trace, (void)object;
    if (token == Py_None) return 0;
    PyObject *result = PyObject_CallMethod(token, "throw", "O", error);
    if (result) {
        Py_DECREF(result);
        return too_many(token);
    }
    if (!is_passed_on(error)) return -1;
    PyErr_Clear();
    return 0;
}

const mwpy_steps mwpy_generator_steps = {generator_before, generator_after, generator_each, generator_failed};
