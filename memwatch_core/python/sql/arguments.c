/* arguments.c - see arguments.h. */
#include "sql/arguments.h"

int mwpy_intern_names(mwpy_signature *s) {
    for (int i = 0; s->names[i]; i++)
        if (!(s->interned[i] = PyUnicode_InternFromString(s->names[i]))) return -1;
    return 0;
}

int mwpy_bind(const mwpy_signature *s, PyObject *const *args, Py_ssize_t n, PyObject *keywords, PyObject **out) {
    Py_ssize_t most = 0;
    while (s->names[most]) most++;
    if (n > most) goto wrong;
    for (Py_ssize_t i = 0; i < most; i++) out[i] = i < n ? args[i] : NULL;
    for (Py_ssize_t k = 0; keywords && k < PyTuple_GET_SIZE(keywords); k++) {
        PyObject *name = PyTuple_GET_ITEM(keywords, k);
        Py_ssize_t i = 0;
        while (i < most && s->interned[i] != name) i++;
        for (i = i < most ? i : 0; i < most && s->interned[i] != name; i++)
            if (!PyUnicode_Compare(s->interned[i], name)) break;
        if (i == most || out[i]) goto wrong;
        out[i] = args[n + k];
    }
    for (Py_ssize_t i = 0; i < s->required; i++)
        if (!out[i]) goto wrong;
    return 0;
wrong:
    PyErr_Format(PyExc_TypeError, "%s() was called with other arguments than it takes", s->method);
    return -1;
}

int mwpy_truth(PyObject *argument, int unknown) {
    if (!mwpy_is_given(argument)) return unknown;
    int yes = argument == Py_True ? 1 : argument == Py_False ? 0 : PyObject_IsTrue(argument);
    return yes < 0 ? -2 : yes;
}

int64_t mwpy_row_count(PyObject *argument) {
    if (!argument || !PyLong_Check(argument)) return -1;
    int overflow;
    long long rows = PyLong_AsLongLongAndOverflow(argument, &overflow);
    return overflow || rows < 0 ? -1 : rows;
}
