/* announcing.c - see announcing.h. */
#define Py_BUILD_CORE_MODULE 1
#include "locals/announcing.h"

/* Its repr(), without the brackets. */
static PyObject *written(PyObject *self) {
    PyObject *shown = PyObject_Repr(self);
    Py_ssize_t n = 0;
    const char *text = shown ? PyUnicode_AsUTF8AndSize(shown, &n) : NULL;
    PyObject *bytes = text ? PyBytes_FromStringAndSize(text + 1, n - 2) : NULL;
    Py_XDECREF(shown);
    return bytes;
}

int mwpy_announcing_buffer(PyObject *self, Py_buffer *view, int flags) {
    PyObject *bytes = written(self);
    int failed = bytes ? PyObject_GetBuffer(bytes, view, flags) : -1; /* which the view holds then */
    if (!bytes) view->obj = NULL;
    Py_XDECREF(bytes);
    return failed;
}

static PyObject *reduce(PyObject *self, PyObject *none) {
    (void)none;
    PyObject *bytes = written(self);
    return bytes ? Py_BuildValue("O(N)", &PyBytes_Type, bytes) : NULL;
}

PyMethodDef mwpy_announcing_methods[] = {
    {"__reduce__", reduce, METH_NOARGS, "Bytes that do nothing in its place."},
    {NULL, NULL, 0, NULL},
};
