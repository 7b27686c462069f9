/* text.c - see text.h. */
#include "places/text.h"

#include <stdio.h>
#include <string.h>

#include "origins/utf8.h"
#include "places/known_types.h"

enum { INT_BITS = 256 };

void mwpy_put(mwpy_text *t, const char *bytes, size_t n) {
    if (n > t->most - t->n) {
        t->cut = true;
        n = 0; /* never half of a character */
        t->most = t->n;
    }
    memcpy(t->at + t->n, bytes, n);
    t->n += n;
}

void mwpy_put_string(mwpy_text *t, const char *string) { mwpy_put(t, string, strlen(string)); }

void mwpy_put_format(mwpy_text *t, const char *format, ...) {
    char made[96];
    va_list values;
    va_start(values, format);
    int n = vsnprintf(made, sizeof made, format, values);
    va_end(values);
    mwpy_put(t, made, n < 0 ? 0 : (size_t)n < sizeof made ? (size_t)n : sizeof made - 1);
}

void mwpy_put_character(mwpy_text *t, Py_UCS4 c) {
    char bytes[4];
    mwpy_put(t, bytes, mwpy_put_utf8(bytes, c));
}

void mwpy_put_escaped(mwpy_text *t, Py_UCS4 c, char quote) {
    if ((quote && c == (Py_UCS4)quote) || c == '\\')
        mwpy_put(t, (char[]){'\\', (char)c}, 2);
    else if (c == '\n')
        mwpy_put_string(t, "\\n");
    else if (c < 0x20 || c == 0x7F || (c >= 0xD800 && c < 0xE000))
        mwpy_put_format(t, c < 0x100 ? "\\x%02x" : "\\u%04x", (unsigned)c);
    else
        mwpy_put_character(t, c);
}

static void put_characters(mwpy_text *t, PyObject *s, char quote) {
    Py_ssize_t n = PyUnicode_GET_LENGTH(s);
    for (Py_ssize_t i = 0; i < n && !t->cut; i++) mwpy_put_escaped(t, PyUnicode_READ_CHAR(s, i), quote);
}

void mwpy_put_characters(mwpy_text *t, PyObject *s) { put_characters(t, s, '\''); }

void mwpy_put_str(mwpy_text *t, PyObject *s, char quote) {
    mwpy_put(t, &quote, 1);
    put_characters(t, s, quote);
    mwpy_put(t, &quote, 1);
}

void mwpy_put_bytes(mwpy_text *t, const char *bytes, Py_ssize_t n) {
    mwpy_put_string(t, "b'");
    for (Py_ssize_t i = 0; i < n && !t->cut; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if (c < 0x7F)
            mwpy_put_escaped(t, c, '\'');
        else
            mwpy_put_format(t, "\\x%02x", c);
    }
    mwpy_put_string(t, "'");
}

/* What the interpreter's own code makes of a number, as characters. */
static void put_digits(mwpy_text *t, PyObject *digits) {
    if (digits)
        mwpy_put(t, (const char *)PyUnicode_1BYTE_DATA(digits), (size_t)PyUnicode_GET_LENGTH(digits));
    else
        PyErr_Clear();
    Py_XDECREF(digits);
}

void mwpy_put_int(mwpy_text *t, PyObject *value) {
    size_t bits = _PyLong_NumBits(value);
    if (bits > INT_BITS)
        mwpy_put_format(t, "<int of %zu bits>", bits);
    else
        put_digits(t, PyLong_Type.tp_repr(value));
}

void mwpy_put_float(mwpy_text *t, PyObject *value) {
    char *digits = PyOS_double_to_string(PyFloat_AS_DOUBLE(value), 'r', 0, Py_DTSF_ADD_DOT_0, NULL);
    if (digits)
        mwpy_put_string(t, digits);
    else
        PyErr_Clear();
    PyMem_Free(digits);
}

void mwpy_put_type_name(mwpy_text *t, const PyTypeObject *type) {
    if (type->tp_flags & Py_TPFLAGS_HEAPTYPE) {
        put_characters(t, ((const PyHeapTypeObject *)type)->ht_name, 0);
    } else {
        const char *dot = strrchr(type->tp_name, '.');
        mwpy_put_string(t, dot ? dot + 1 : type->tp_name);
    }
}

void mwpy_put_other(mwpy_text *t, PyObject *value) {
    mwpy_put_string(t, "<");
    if (Py_TYPE(value)->tp_flags & Py_TPFLAGS_HEAPTYPE)
        mwpy_put_type_name(t, Py_TYPE(value));
    else
        mwpy_put_string(t, Py_TYPE(value)->tp_name);
    mwpy_put_format(t, " at %#zx>", (size_t)value);
}

static void put_separator(mwpy_text *t, Py_ssize_t i) {
    if (i) mwpy_put_string(t, ", ");
}

void mwpy_put_items(mwpy_text *t, PyObject *const *items, Py_ssize_t n, const char *open, const char *close,
                    int level) {
    mwpy_put_string(t, open);
    for (Py_ssize_t i = 0; i < n && !t->cut; i++) {
        put_separator(t, i);
        if (items[i]) mwpy_put_value(t, items[i], level + 1);
    }
    mwpy_put_string(t, close);
}

static void put_dict(mwpy_text *t, PyObject *dict, int level) {
    Py_ssize_t at = 0;
    PyObject *key, *value;
    mwpy_put_string(t, "{");
    for (Py_ssize_t i = 0; !t->cut && PyDict_Next(dict, &at, &key, &value); i++) {
        put_separator(t, i);
        mwpy_put_value(t, key, level + 1);
        mwpy_put_string(t, ": ");
        mwpy_put_value(t, value, level + 1);
    }
    mwpy_put_string(t, "}");
}

/* An entry that was taken out has the hash -1, which no object has. */
static void put_set(mwpy_text *t, PyObject *set, int level) {
    const PySetObject *s = (PySetObject *)set;
    bool frozen = PyFrozenSet_CheckExact(set);
    Py_ssize_t shown = 0;
    if (!PySet_GET_SIZE(set)) {
        mwpy_put_string(t, frozen ? "frozenset()" : "set()");
        return;
    }
    mwpy_put_string(t, frozen ? "frozenset({" : "{");
    for (Py_ssize_t i = 0; i <= s->mask && !t->cut; i++) {
        if (!s->table[i].key || s->table[i].hash == -1) continue;
        put_separator(t, shown++);
        mwpy_put_value(t, s->table[i].key, level + 1);
    }
    mwpy_put_string(t, frozen ? "})" : "}");
}

static bool is_container(PyObject *value) {
    return PyList_CheckExact(value) || PyTuple_CheckExact(value) || PyDict_CheckExact(value) ||
           PyAnySet_CheckExact(value);
}

void mwpy_put_value(mwpy_text *t, PyObject *value, int level) {
    if (value == Py_None || value == Py_True || value == Py_False)
        mwpy_put_string(t, value == Py_None ? "None" : value == Py_True ? "True" : "False");
    else if (PyUnicode_CheckExact(value))
        mwpy_put_str(t, value, '\'');
    else if (PyLong_CheckExact(value))
        mwpy_put_int(t, value);
    else if (PyFloat_CheckExact(value))
        mwpy_put_float(t, value);
    else if (PyBytes_CheckExact(value))
        mwpy_put_bytes(t, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value));
    else if (level >= MWPY_LEVELS && is_container(value))
        mwpy_put_string(t, "...");
    else if (PyList_CheckExact(value))
        mwpy_put_items(t, ((PyListObject *)value)->ob_item, PyList_GET_SIZE(value), "[", "]", level);
    else if (PyTuple_CheckExact(value))
        mwpy_put_items(t, ((PyTupleObject *)value)->ob_item, PyTuple_GET_SIZE(value), "(",
                       PyTuple_GET_SIZE(value) == 1 ? ",)" : ")", level);
    else if (PyDict_CheckExact(value))
        put_dict(t, value, level);
    else if (PyAnySet_CheckExact(value))
        put_set(t, value, level);
    else if (!mwpy_put_known(t, value, level))
        mwpy_put_other(t, value);
}
