/* reader.c - reads a library's objects even if the program's subclasses override members: an attribute (Reader), and
 * whether a transaction is open (Status). */
#include "sql/reader.h"
#include "sql/introspection.h"
#include <stddef.h>
#include <structmember.h>

PyTypeObject *mwpy_reader_type, *mwpy_status_type;

/* ---- Reader ------------------------------------------------------------------------------------------------------ */

typedef struct mwpy_reader {
    PyObject_HEAD PyObject *steps; /* tuple: descriptors and methods of the library's classes; names, for mwpy_peek */
} mwpy_reader;

/* A new reference; None if the object lacks it. */
static PyObject *step(PyObject *how, PyObject *of) {
    if (PyUnicode_CheckExact(how)) {
        PyObject *args[] = {of, how};
        return mwpy_peek(NULL, args, 2);
    }
    PyTypeObject *type = Py_TYPE(how);
    if (type->tp_descr_get && type->tp_descr_set) return type->tp_descr_get(how, of, (PyObject *)Py_TYPE(of));
    return PyObject_CallOneArg(how, of);
}

PyObject *mwpy_read(PyObject *read, PyObject *of) {
    if (!Py_IS_TYPE(read, mwpy_reader_type)) return PyObject_CallOneArg(read, of);
    PyObject *steps = ((mwpy_reader *)read)->steps, *found = Py_NewRef(of);
    for (Py_ssize_t i = 0; found && i < PyTuple_GET_SIZE(steps); i++) {
        if (found == Py_None) break;
        Py_SETREF(found, step(PyTuple_GET_ITEM(steps, i), found));
    }
    return found;
}

static PyObject *only_argument(PyObject *args, PyObject *keywords, const char *what) {
    if (PyTuple_GET_SIZE(args) == 1 && !keywords) return PyTuple_GET_ITEM(args, 0);
    PyErr_Format(PyExc_TypeError, "%s takes one object", what);
    return NULL;
}

static PyObject *call_reader(PyObject *self, PyObject *args, PyObject *keywords) {
    PyObject *of = only_argument(args, keywords, "a Reader");
    return of ? mwpy_read(self, of) : NULL;
}

static PyObject *make_reader(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    if (keywords) return PyErr_Format(PyExc_TypeError, "Reader() takes no keywords");
    mwpy_reader *self = (mwpy_reader *)type->tp_alloc(type, 0);
    if (self) self->steps = Py_NewRef(args);
    return (PyObject *)self;
}

static int traverse_reader(PyObject *object, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(((mwpy_reader *)object)->steps);
    return 0;
}

static int clear_reader(PyObject *object) {
    Py_CLEAR(((mwpy_reader *)object)->steps);
    return 0;
}

/* ---- Status ------------------------------------------------------------------------------------------------------ */

enum { VALUES = 64 };

typedef struct mwpy_status {
    PyObject_HEAD PyObject *read;
    uint64_t open, unknown; /* bit n: the meaning of value n */
    long mask;              /* 0: none; otherwise a transaction is open if the value has one of these bits */
} mwpy_status;

static PyObject *meaning(const mwpy_status *self, PyObject *value) {
    if (value == Py_None) return Py_None;
    long n = PyLong_AsLong(value);
    if (n == -1 && PyErr_Occurred()) return NULL;
    if (self->mask) return n & self->mask ? Py_True : Py_False;
    uint64_t bit = n >= 0 && n < VALUES ? (uint64_t)1 << n : 0;
    return self->open & bit ? Py_True : self->unknown & bit ? Py_None : Py_False;
}

PyObject *mwpy_status_of(PyObject *status, PyObject *connection) {
    const mwpy_status *self = (mwpy_status *)status;
    PyObject *value = mwpy_read(self->read, connection), *means = value ? meaning(self, value) : NULL;
    Py_XDECREF(value);
    return Py_XNewRef(means);
}

static PyObject *call_status(PyObject *self, PyObject *args, PyObject *keywords) {
    PyObject *of = only_argument(args, keywords, "a Status");
    return of ? mwpy_status_of(self, of) : NULL;
}

static int bits_of(PyObject *values, uint64_t *bits) {
    *bits = 0;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(values); i++) {
        long n = PyLong_AsLong(PyTuple_GET_ITEM(values, i));
        if (n == -1 && PyErr_Occurred()) return -1;
        if (n < 0 || n >= VALUES) {
            PyErr_Format(PyExc_ValueError, "a status is a number from 0 to %d, or has a mask", VALUES - 1);
            return -1;
        }
        *bits |= (uint64_t)1 << n;
    }
    return 0;
}

static PyObject *make_status(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    static char *known[] = {"read", "open", "unknown", "mask", NULL};
    PyObject *read, *open, *unknown;
    uint64_t open_bits, unknown_bits;
    long mask;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OO!O!l", known, &read, &PyTuple_Type, &open, &PyTuple_Type,
                                     &unknown, &mask) ||
        bits_of(open, &open_bits) || bits_of(unknown, &unknown_bits))
        return NULL;
    mwpy_status *self = (mwpy_status *)type->tp_alloc(type, 0);
    if (!self) return NULL;
    self->read = Py_NewRef(read);
    self->open = open_bits;
    self->unknown = unknown_bits;
    self->mask = mask;
    return (PyObject *)self;
}

static int traverse_status(PyObject *object, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(((mwpy_status *)object)->read);
    return 0;
}

static int clear_status(PyObject *object) {
    Py_CLEAR(((mwpy_status *)object)->read);
    return 0;
}

/* ---- the types --------------------------------------------------------------------------------------------------- */

static PyType_Slot reader_slots[] = {
    {Py_tp_doc, "Reads an attribute of a library's object."},
    {Py_tp_new, make_reader},
    {Py_tp_call, call_reader},
    {Py_tp_traverse, traverse_reader},
    {Py_tp_clear, clear_reader},
    {Py_tp_dealloc, mwpy_plain_dealloc},
    {0, NULL},
};
static PyType_Slot status_slots[] = {
    {Py_tp_doc, "Whether a transaction is open, as a function of the connection."},
    {Py_tp_new, make_status},
    {Py_tp_call, call_status},
    {Py_tp_traverse, traverse_status},
    {Py_tp_clear, clear_status},
    {Py_tp_dealloc, mwpy_plain_dealloc},
    {0, NULL},
};

enum { FLAGS = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE };
PyType_Spec mwpy_reader_spec = {"memwatch_core.native.tracing.Reader", sizeof(mwpy_reader), 0, FLAGS, reader_slots};
PyType_Spec mwpy_status_spec = {"memwatch_core.native.tracing.Status", sizeof(mwpy_status), 0, FLAGS, status_slots};
