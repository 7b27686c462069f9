/* parameters.c - keyed hashes of a statement's parameters: they only show that two parameters are equal.
 *
 * A value's canonical form is hashed, which is the same for equal values. adapter/parameters.py defines it, and
 * computes it for the rarer types. No code of the program is called: types are compared by ob_type and must be exactly
 * the builtin ones, items are read in place, iterators aren't consumed. For any other type only the type's name is
 * recorded, as <type>. */
#include "sql/parameters.h"
#include "sql/shell.h"
#include "sql/text.h"
#include "values/proxy.h"
#include <datetime.h>
#include "text/parameter.h"

enum { MOST = 64, MOST_ROWS = 8, MOST_NAME = 200 };

typedef struct hasher {
    PyObject_HEAD uint64_t key[2];
    PyObject *canonical; /* canonical(value): bytes, or None for an unknown type */
} hasher;

PyTypeObject *mwpy_hasher_type;

static void put_hash(const hasher *self, mwpy_text *t, char kind, const void *bytes, size_t n) {
    mwpy_put_hex(t, sql_hash(self->key, kind, bytes, n));
}

static void put_integer(const hasher *self, mwpy_text *t, long long number) {
    mwpy_put_hex(t, sql_hash_integer(self->key, number));
}

static int put_type(mwpy_text *t, PyObject *value) {
    PyObject *name = PyType_GetName(Py_TYPE(value));
    MWPY_PUT(t, "<");
    int error = name ? mwpy_put_json(t, name, MOST_NAME) : -1;
    MWPY_PUT(t, ">");
    Py_XDECREF(name);
    return error;
}

static int put_other(const hasher *self, mwpy_text *t, PyObject *value) {
    PyObject *plain = PyObject_CallOneArg(self->canonical, value);
    if (!plain) { /* another thread has modified it meanwhile */
        if (!mwpy_is_ours()) return -1;
        PyErr_Clear();
    }
    int error = 0;
    if (plain && PyBytes_Check(plain))
        mwpy_put_hex(t, siphash(self->key, (unsigned char *)PyBytes_AS_STRING(plain), (size_t)PyBytes_GET_SIZE(plain)));
    else
        error = put_type(t, value);
    Py_XDECREF(plain);
    return error;
}

static int put_float(const hasher *self, mwpy_text *t, PyObject *value) {
    uint64_t hash;
    if (!sql_hash_double(self->key, PyFloat_AS_DOUBLE(value), &hash)) return put_other(self, t, value);
    mwpy_put_hex(t, hash);
    return 0;
}

static int put_str(const hasher *self, mwpy_text *t, PyObject *value) {
    Py_ssize_t n = PyUnicode_GET_LENGTH(value);
    if (n + 1 >= SQL_FORM_MAX) return put_other(self, t, value);
    if (PyUnicode_IS_ASCII(value)) {
        put_hash(self, t, 's', PyUnicode_DATA(value), (size_t)n);
        return 0;
    }
    PyObject *utf8 = PyUnicode_AsUTF8String(value);
    if (!utf8) PyErr_Clear(); /* lone surrogates */
    if (!utf8 || PyBytes_GET_SIZE(utf8) + 1 >= SQL_FORM_MAX) {
        Py_XDECREF(utf8);
        return put_other(self, t, value);
    }
    put_hash(self, t, 's', PyBytes_AS_STRING(utf8), (size_t)PyBytes_GET_SIZE(utf8));
    Py_DECREF(utf8);
    return 0;
}

/* A watched number or text counts as its value; reading any other watched value might run a serializer. */
static bool is_plain_proxy(PyObject *value) {
    if (!mwpy_check(value)) return false;
    const mwpy_kind *kind = ((mwpy_proxy *)value)->kind;
    return kind == &mwpy_int || kind == &mwpy_float || kind == &mwpy_bytes || kind == &mwpy_bytearray;
}

static int put_word(const hasher *self, mwpy_text *t, PyObject *value) {
    if (PyLong_CheckExact(value)) {
        int overflow;
        long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
        if (overflow) return put_other(self, t, value);
        put_integer(self, t, number);
        return 0;
    }
    if (PyUnicode_CheckExact(value)) return put_str(self, t, value);
    if (value == Py_None) {
        put_hash(self, t, '0', "", 0);
        return 0;
    }
    if (PyFloat_CheckExact(value)) return put_float(self, t, value);
    if (PyBool_Check(value)) {
        put_integer(self, t, value == Py_True);
        return 0;
    }
    if (PyBytes_CheckExact(value) && PyBytes_GET_SIZE(value) + 1 < SQL_FORM_MAX) {
        put_hash(self, t, 'b', PyBytes_AS_STRING(value), (size_t)PyBytes_GET_SIZE(value));
        return 0;
    }
    if (is_plain_proxy(value)) {
        PyObject *plain = mwpy_plain(value);
        int error = plain ? put_word(self, t, plain) : -1;
        Py_XDECREF(plain);
        return error;
    }
    return put_other(self, t, value);
}

static int put_name(mwpy_text *t, PyObject *name) {
    int error = PyUnicode_CheckExact(name) ? mwpy_put_json(t, name, MOST_NAME) : put_type(t, name);
    MWPY_PUT(t, "=");
    return error;
}

static void put_more(mwpy_text *t, const char *between, Py_ssize_t more, const char *what) {
    if (more <= 0) return;
    mwpy_put(t, between, strlen(between));
    MWPY_PUT(t, "… ");
    mwpy_put_number(t, (uint64_t)more);
    mwpy_put(t, what, strlen(what));
}

static inline bool is_sequence(PyObject *object) { return PyTuple_CheckExact(object) || PyList_CheckExact(object); }

static inline Py_ssize_t size_of(PyObject *sequence) {
    return PyTuple_CheckExact(sequence) ? PyTuple_GET_SIZE(sequence) : PyList_GET_SIZE(sequence);
}

/* A new reference: while Python code computes a canonical form, another thread may modify a list. */
static inline PyObject *item_of(PyObject *sequence, Py_ssize_t i) {
    return Py_NewRef(PyTuple_CheckExact(sequence) ? PyTuple_GET_ITEM(sequence, i) : PyList_GET_ITEM(sequence, i));
}

static int put_row(const hasher *self, mwpy_text *t, PyObject *row, const char *between) {
    size_t gap = strlen(between);
    int error = 0;
    if (is_sequence(row)) {
        for (Py_ssize_t i = 0; !error && i < size_of(row) && i < MOST; i++) {
            if (i) mwpy_put(t, between, gap);
            PyObject *value = item_of(row, i);
            error = put_word(self, t, value);
            Py_DECREF(value);
        }
        put_more(t, between, size_of(row) - MOST, " more");
    } else if (PyDict_CheckExact(row)) {
        PyObject *name, *value;
        Py_ssize_t at = 0;
        for (int i = 0; !error && i < MOST && PyDict_Next(row, &at, &name, &value); i++) {
            Py_INCREF(name), Py_INCREF(value);
            if (i) mwpy_put(t, between, gap);
            error = put_name(t, name) || put_word(self, t, value) ? -1 : 0;
            Py_DECREF(name), Py_DECREF(value);
        }
        put_more(t, between, PyDict_GET_SIZE(row) - MOST, " more");
    } else if (row != Py_None) {
        error = put_type(t, row);
    }
    return error;
}

static int put_rows(const hasher *self, mwpy_text *t, PyObject *rows) {
    if (!is_sequence(rows)) return put_type(t, rows); /* inspecting an iterator would consume it */
    int error = 0;
    for (Py_ssize_t i = 0; !error && i < size_of(rows) && i < MOST_ROWS; i++) {
        if (i) MWPY_PUT(t, "\",\"");
        PyObject *row = item_of(rows, i);
        error = put_row(self, t, row, " ");
        Py_DECREF(row);
    }
    put_more(t, "\",\"", size_of(rows) - MOST_ROWS, " more rows");
    return error;
}

int mwpy_put_hashes(mwpy_text *t, PyObject *object, PyObject *parameters, bool many) {
    if (parameters == Py_None || (is_sequence(parameters) && !size_of(parameters)) ||
        (!many && PyDict_CheckExact(parameters) && !PyDict_GET_SIZE(parameters)))
        return 0;
    const hasher *self = (hasher *)object;
    MWPY_PUT(t, ",\"parameters\":[\"");
    int error = many ? put_rows(self, t, parameters) : put_row(self, t, parameters, "\",\"");
    MWPY_PUT(t, "\"]");
    return error;
}

/* ---- for parameters.py ------------------------------------------------------------------------------------------- */

/* The interpreter's own types, whatever was put into the module datetime: (date, datetime, time, timedelta, timezone,
 * UTC). */
PyObject *mwpy_clock_types(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    PyDateTime_IMPORT;
    if (!PyDateTimeAPI) return NULL;
    PyObject *utc = PyDateTimeAPI->TimeZone_UTC;
    return PyTuple_Pack(6, PyDateTimeAPI->DateType, PyDateTimeAPI->DateTimeType, PyDateTimeAPI->TimeType,
                        PyDateTimeAPI->DeltaType, Py_TYPE(utc), utc);
}

/* ends_of(buffer, most): (its bytes, or `most` from each end; its length). Exports the buffer only briefly, in one
 * step: another thread that met the export would get an error. */
PyObject *mwpy_ends_of(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *object;
    Py_ssize_t most;
    Py_buffer view;
    if (!PyArg_ParseTuple(args, "On", &object, &most) || PyObject_GetBuffer(object, &view, PyBUF_SIMPLE)) return NULL;
    bool whole = view.len <= 2 * most;
    PyObject *data = PyBytes_FromStringAndSize(NULL, whole ? view.len : 2 * most), *result = NULL;
    if (data) {
        memcpy(PyBytes_AS_STRING(data), view.buf, (size_t)(whole ? view.len : most));
        if (!whole) memcpy(PyBytes_AS_STRING(data) + most, (char *)view.buf + view.len - most, (size_t)most);
        result = Py_BuildValue("Nn", data, view.len);
    }
    PyBuffer_Release(&view);
    return result;
}

/* ---- the type ---------------------------------------------------------------------------------------------------- */

static PyObject *make(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    const char *key;
    Py_ssize_t n;
    PyObject *canonical;
    if (keywords || !PyArg_ParseTuple(args, "y#O", &key, &n, &canonical)) {
        if (!PyErr_Occurred()) PyErr_SetString(PyExc_TypeError, "ParameterHash() takes no keywords");
        return NULL;
    }
    if (n != sizeof((hasher *)0)->key) {
        PyErr_Format(PyExc_ValueError, "the key of a ParameterHash has 16 bytes, not %zd", n);
        return NULL;
    }
    hasher *self = (hasher *)type->tp_alloc(type, 0);
    if (!self) return NULL;
    memcpy(self->key, key, sizeof self->key);
    self->canonical = Py_NewRef(canonical);
    return (PyObject *)self;
}

static void dealloc(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    Py_XDECREF(((hasher *)object)->canonical);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyObject *call(PyObject *self, PyObject *args, PyObject *keywords) {
    PyObject *parameters;
    int many = 0;
    if (keywords || !PyArg_ParseTuple(args, "O|p", &parameters, &many)) {
        if (!PyErr_Occurred()) PyErr_SetString(PyExc_TypeError, "a ParameterHash takes no keywords");
        return NULL;
    }
    mwpy_text t;
    mwpy_text_open(&t);
    PyObject *result = NULL;
    if (!mwpy_put_hashes(&t, self, parameters, many))
        result = t.failed ? PyErr_NoMemory() : PyUnicode_DecodeUTF8(t.at, (Py_ssize_t)t.n, NULL);
    mwpy_text_close(&t);
    return result;
}

static PyType_Slot slots[] = {
    {Py_tp_doc, "ParameterHash(key, canonical)\n--\n\n"
                "hash(parameters, many): the member of a CONTEXT record, ',\"parameters\":[...]', or ''."},
    {Py_tp_new, make},
    {Py_tp_dealloc, dealloc},
    {Py_tp_call, call},
    {0, NULL},
};

PyType_Spec mwpy_hasher_spec = {"memwatch_core.native.tracing.ParameterHash", sizeof(hasher), 0,
                                Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE, slots};
