/* words.c - see words.h. */
#include "places/words.h"

#include <stdio.h>
#include <string.h>

#include "origins/utf8.h"

enum { INT_BITS = 256 };

void mwpy_say(mwpy_words *t, const char *bytes, size_t n) {
    if (n > t->most - t->n) {
        t->cut = true;
        n = 0; /* never half of a character */
        t->most = t->n;
    }
    memcpy(t->at + t->n, bytes, n);
    t->n += n;
}

void mwpy_say_string(mwpy_words *t, const char *string) { mwpy_say(t, string, strlen(string)); }

void mwpy_say_format(mwpy_words *t, const char *format, ...) {
    char made[96];
    va_list values;
    va_start(values, format);
    int n = vsnprintf(made, sizeof made, format, values);
    va_end(values);
    mwpy_say(t, made, n < 0 ? 0 : (size_t)n < sizeof made ? (size_t)n : sizeof made - 1);
}

void mwpy_say_character(mwpy_words *t, Py_UCS4 c) {
    char bytes[4];
    mwpy_say(t, bytes, mwpy_put_utf8(bytes, c));
}

void mwpy_say_escaped(mwpy_words *t, Py_UCS4 c, char quote) {
    if ((quote && c == (Py_UCS4)quote) || c == '\\')
        mwpy_say(t, (char[]){'\\', (char)c}, 2);
    else if (c == '\n')
        mwpy_say_string(t, "\\n");
    else if (c < 0x20 || c == 0x7F || (c >= 0xD800 && c < 0xE000))
        mwpy_say_format(t, c < 0x100 ? "\\x%02x" : "\\u%04x", (unsigned)c);
    else
        mwpy_say_character(t, c);
}

static void put_characters(mwpy_words *t, PyObject *s, char quote) {
    Py_ssize_t n = PyUnicode_GET_LENGTH(s);
    for (Py_ssize_t i = 0; i < n && !t->cut; i++) mwpy_say_escaped(t, PyUnicode_READ_CHAR(s, i), quote);
}

void mwpy_say_characters(mwpy_words *t, PyObject *s) { put_characters(t, s, '\''); }

void mwpy_say_str(mwpy_words *t, PyObject *s, char quote) {
    mwpy_say(t, &quote, 1);
    put_characters(t, s, quote);
    mwpy_say(t, &quote, 1);
}

void mwpy_say_bytes(mwpy_words *t, const char *bytes, Py_ssize_t n) {
    mwpy_say_string(t, "b'");
    for (Py_ssize_t i = 0; i < n && !t->cut; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if (c < 0x7F)
            mwpy_say_escaped(t, c, '\'');
        else
            mwpy_say_format(t, "\\x%02x", c);
    }
    mwpy_say_string(t, "'");
}

/* What the interpreter's own code makes of a number, as characters. */
static void put_digits(mwpy_words *t, PyObject *digits) {
    if (digits)
        mwpy_say(t, (const char *)PyUnicode_1BYTE_DATA(digits), (size_t)PyUnicode_GET_LENGTH(digits));
    else
        PyErr_Clear();
    Py_XDECREF(digits);
}

void mwpy_say_int(mwpy_words *t, PyObject *value) {
    size_t bits = _PyLong_NumBits(value);
    if (bits > INT_BITS)
        mwpy_say_format(t, "<int of %zu bits>", bits);
    else
        put_digits(t, PyLong_Type.tp_repr(value));
}

void mwpy_say_float(mwpy_words *t, PyObject *value) {
    char *digits = PyOS_double_to_string(PyFloat_AS_DOUBLE(value), 'r', 0, Py_DTSF_ADD_DOT_0, NULL);
    if (digits)
        mwpy_say_string(t, digits);
    else
        PyErr_Clear();
    PyMem_Free(digits);
}

void mwpy_say_type_name(mwpy_words *t, const PyTypeObject *type) {
    if (type->tp_flags & Py_TPFLAGS_HEAPTYPE) {
        put_characters(t, ((const PyHeapTypeObject *)type)->ht_name, 0);
    } else {
        const char *dot = strrchr(type->tp_name, '.');
        mwpy_say_string(t, dot ? dot + 1 : type->tp_name);
    }
}

void mwpy_say_other(mwpy_words *t, PyObject *value) {
    mwpy_say_string(t, "<");
    if (Py_TYPE(value)->tp_flags & Py_TPFLAGS_HEAPTYPE)
        mwpy_say_type_name(t, Py_TYPE(value));
    else
        mwpy_say_string(t, Py_TYPE(value)->tp_name);
    mwpy_say_format(t, " at %#zx>", (size_t)value);
}

void mwpy_say_items(mwpy_words *t, PyObject *const *items, Py_ssize_t n, const char *open, const char *close,
                    int level) {
    mwpy_say_string(t, open);
    for (Py_ssize_t i = 0; i < n && !t->cut; i++) {
        if (i) mwpy_say_string(t, ", ");
        if (items[i]) t->value(t, items[i], level + 1);
    }
    mwpy_say_string(t, close);
}
