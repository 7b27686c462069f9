/* cell.c - see cell.h. A description is bounded: of long values their beginning, length and a hash, of nested ones
 * three levels, so that what an assignment costs doesn't depend on what is assigned. */
#include "places/cell.h"

#include <string.h>

#include "base/hash.h"
#include "origins/utf8.h"

enum { TEXT = 240, LEVELS = 3, INT_BITS = 256 };

typedef struct text {
    char at[TEXT];
    size_t n;
    size_t most;
    bool cut;
} text;

static void put(text *t, const char *bytes, size_t n) {
    if (n > t->most - t->n) {
        t->cut = true;
        n = 0; /* never half of a character */
        t->most = t->n;
    }
    memcpy(t->at + t->n, bytes, n);
    t->n += n;
}

static void put_string(text *t, const char *string) { put(t, string, strlen(string)); }

static void put_character(text *t, Py_UCS4 c) {
    char bytes[4];
    put(t, bytes, mwpy_put_utf8(bytes, c));
}

static void put_escaped(text *t, Py_UCS4 c, char quote) {
    char escape[12];
    if (c == (Py_UCS4)quote || c == '\\') {
        put(t, (char[]){'\\', (char)c}, 2);
    } else if (c == '\n') {
        put_string(t, "\\n");
    } else if (c < 0x20 || c == 0x7F || (c >= 0xD800 && c < 0xE000)) {
        PyOS_snprintf(escape, sizeof escape, c < 0x100 ? "\\x%02x" : "\\u%04x", (unsigned)c);
        put_string(t, escape);
    } else {
        put_character(t, c);
    }
}

static void put_str(text *t, PyObject *s, char quote) {
    put(t, &quote, 1);
    Py_ssize_t n = PyUnicode_GET_LENGTH(s);
    for (Py_ssize_t i = 0; i < n && !t->cut; i++) put_escaped(t, PyUnicode_READ_CHAR(s, i), quote);
    put(t, &quote, 1);
}

static void put_bytes(text *t, PyObject *b) {
    put_string(t, "b'");
    for (Py_ssize_t i = 0; i < PyBytes_GET_SIZE(b) && !t->cut; i++) {
        unsigned char c = (unsigned char)PyBytes_AS_STRING(b)[i];
        if (c < 0x7F) {
            put_escaped(t, c, '\'');
        } else {
            char escape[8];
            PyOS_snprintf(escape, sizeof escape, "\\x%02x", c);
            put_string(t, escape);
        }
    }
    put_string(t, "'");
}

static void put_int(text *t, PyObject *value) {
    char shown[48];
    size_t bits = _PyLong_NumBits(value);
    if (bits > INT_BITS) {
        PyOS_snprintf(shown, sizeof shown, "<int of %zu bits>", bits);
        put_string(t, shown);
        return;
    }
    PyObject *digits = PyLong_Type.tp_repr(value);
    if (digits)
        put(t, (const char *)PyUnicode_1BYTE_DATA(digits), (size_t)PyUnicode_GET_LENGTH(digits));
    else
        PyErr_Clear();
    Py_XDECREF(digits);
}

static void put_float(text *t, PyObject *value) {
    char *digits = PyOS_double_to_string(PyFloat_AS_DOUBLE(value), 'r', 0, Py_DTSF_ADD_DOT_0, NULL);
    if (digits)
        put_string(t, digits);
    else
        PyErr_Clear();
    PyMem_Free(digits);
}

/* The type's name as its class statement says it, and the address: which of its objects it is. */
static void put_other(text *t, PyObject *value) {
    PyTypeObject *type = Py_TYPE(value);
    char address[24];
    put_string(t, "<");
    if (type->tp_flags & Py_TPFLAGS_HEAPTYPE) {
        PyObject *name = ((PyHeapTypeObject *)type)->ht_name;
        for (Py_ssize_t i = 0; i < PyUnicode_GET_LENGTH(name) && !t->cut; i++)
            put_escaped(t, PyUnicode_READ_CHAR(name, i), 0);
    } else {
        put_string(t, type->tp_name);
    }
    PyOS_snprintf(address, sizeof address, " at %#zx>", (size_t)value);
    put_string(t, address);
}

static void put_value(text *t, PyObject *value, int level);

static void put_separator(text *t, Py_ssize_t i) {
    if (i) put_string(t, ", ");
}

static void put_items(text *t, PyObject *const *items, Py_ssize_t n, const char *open, const char *close, int level) {
    put_string(t, open);
    for (Py_ssize_t i = 0; i < n && !t->cut; i++) {
        put_separator(t, i);
        if (items[i]) put_value(t, items[i], level + 1);
    }
    put_string(t, close);
}

static void put_dict(text *t, PyObject *dict, int level) {
    Py_ssize_t at = 0;
    PyObject *key, *value;
    put_string(t, "{");
    for (Py_ssize_t i = 0; !t->cut && PyDict_Next(dict, &at, &key, &value); i++) {
        put_separator(t, i);
        put_value(t, key, level + 1);
        put_string(t, ": ");
        put_value(t, value, level + 1);
    }
    put_string(t, "}");
}

/* An entry that was taken out has the hash -1, which no object has. */
static void put_set(text *t, PyObject *set, int level) {
    const PySetObject *s = (PySetObject *)set;
    bool frozen = PyFrozenSet_CheckExact(set);
    Py_ssize_t shown = 0;
    put_string(t, frozen ? "frozenset({" : "{");
    for (Py_ssize_t i = 0; i <= s->mask && !t->cut; i++) {
        if (!s->table[i].key || s->table[i].hash == -1) continue;
        put_separator(t, shown++);
        put_value(t, s->table[i].key, level + 1);
    }
    put_string(t, frozen ? "})" : "}");
}

static bool is_container(PyObject *value) {
    return PyList_CheckExact(value) || PyTuple_CheckExact(value) || PyDict_CheckExact(value) ||
           PyAnySet_CheckExact(value);
}

static void put_value(text *t, PyObject *value, int level) {
    if (value == Py_None || value == Py_True || value == Py_False)
        put_string(t, value == Py_None ? "None" : value == Py_True ? "True" : "False");
    else if (PyUnicode_CheckExact(value))
        put_str(t, value, '\'');
    else if (PyLong_CheckExact(value))
        put_int(t, value);
    else if (PyFloat_CheckExact(value))
        put_float(t, value);
    else if (PyBytes_CheckExact(value))
        put_bytes(t, value);
    else if (level >= LEVELS && is_container(value))
        put_string(t, "...");
    else if (PyList_CheckExact(value))
        put_items(t, ((PyListObject *)value)->ob_item, PyList_GET_SIZE(value), "[", "]", level);
    else if (PyTuple_CheckExact(value))
        put_items(t, ((PyTupleObject *)value)->ob_item, PyTuple_GET_SIZE(value), "(",
                  PyTuple_GET_SIZE(value) == 1 ? ",)" : ")", level);
    else if (PyDict_CheckExact(value))
        put_dict(t, value, level);
    else if (PyAnySet_CheckExact(value) && PySet_GET_SIZE(value))
        put_set(t, value, level);
    else if (PyAnySet_CheckExact(value))
        put_string(t, PyFrozenSet_CheckExact(value) ? "frozenset()" : "set()");
    else
        put_other(t, value);
}

/* ---- cells ------------------------------------------------------------------------------------------------------- */

enum { CUT_HEAD = 12 }; /* u64 hash, u32 length */

static void fill(mwpy_cell *cell, enum mwpy_cell_kind kind, const void *bytes, size_t n) {
    cell->kind = (uint8_t)kind;
    cell->used = (uint8_t)n;
    cell->flags = 0;
    memcpy(cell->payload, bytes, n);
}

static void fill_cut(mwpy_cell *cell, enum mwpy_cell_kind kind, uint64_t hash, size_t length, const char *beginning,
                     size_t n) {
    uint32_t shown = length < UINT32_MAX ? (uint32_t)length : UINT32_MAX;
    cell->kind = (uint8_t)kind;
    cell->used = (uint8_t)(CUT_HEAD + n);
    cell->flags = MWPY_CELL_CUT;
    memcpy(cell->payload, &hash, 8);
    memcpy(cell->payload + 8, &shown, 4);
    memcpy(cell->payload + CUT_HEAD, beginning, n);
}

static uint64_t hash_of(const char *bytes, size_t n) {
    uint64_t hash = n;
    for (size_t i = 0; i < n; i++) hash = (hash ^ (uint8_t)bytes[i]) * HASH_FACTOR;
    return hash ^ hash >> 29;
}

/* The hash of an exact str or bytes: it is computed once for each object, and runs no code of the program's. */
static uint64_t hash_of_object(PyObject *value) {
    Py_hash_t hash = PyObject_Hash(value);
    return (uint64_t)hash;
}

static size_t utf8_beginning(PyObject *s, char *out, size_t room, bool *whole) {
    size_t n = 0;
    Py_ssize_t i = 0, length = PyUnicode_GET_LENGTH(s);
    for (char c[4]; i < length; i++) {
        size_t more = mwpy_put_utf8(c, PyUnicode_READ_CHAR(s, i));
        if (n + more > room) break;
        memcpy(out + n, c, more);
        n += more;
    }
    *whole = i == length;
    return n;
}

static void describe_str(mwpy_cell *cell, PyObject *s) {
    size_t length = (size_t)PyUnicode_GET_LENGTH(s);
    if (PyUnicode_IS_ASCII(s) && length <= MWPY_CELL_ROOM) {
        fill(cell, MWPY_STR, PyUnicode_1BYTE_DATA(s), length);
        return;
    }
    char bytes[MWPY_CELL_ROOM];
    bool whole;
    size_t n = utf8_beginning(s, bytes, sizeof bytes, &whole);
    if (whole) {
        fill(cell, MWPY_STR, bytes, n);
        return;
    }
    n = utf8_beginning(s, bytes, sizeof bytes - CUT_HEAD, &whole);
    fill_cut(cell, MWPY_STR, hash_of_object(s), length, bytes, n);
}

static void describe_bytes(mwpy_cell *cell, PyObject *b) {
    size_t n = (size_t)PyBytes_GET_SIZE(b);
    if (n <= MWPY_CELL_ROOM)
        fill(cell, MWPY_BYTES, PyBytes_AS_STRING(b), n);
    else
        fill_cut(cell, MWPY_BYTES, hash_of_object(b), n, PyBytes_AS_STRING(b), MWPY_CELL_ROOM - CUT_HEAD);
}

static size_t whole_characters(const char *bytes, size_t n) {
    while (n && ((uint8_t)bytes[n] & 0xC0) == 0x80) n--;
    return n;
}

static void describe_shown(mwpy_cell *cell, PyObject *value) {
    static const char more[] = "…";
    text t = {.n = 0, .most = TEXT, .cut = false};
    put_value(&t, value, 0);
    if (t.n <= MWPY_CELL_ROOM && !t.cut) {
        fill(cell, MWPY_SHOWN, t.at, t.n);
        return;
    }
    uint64_t length = is_container(value) ? (uint64_t)(PyAnySet_CheckExact(value) ? PySet_GET_SIZE(value)
                                                       : PyDict_CheckExact(value) ? PyDict_GET_SIZE(value)
                                                                                  : Py_SIZE(value))
                                          : 0;
    uint64_t hash = hash_of(t.at, t.n) ^ length * HASH_FACTOR;
    size_t room = MWPY_CELL_ROOM - CUT_HEAD - (sizeof more - 1), n = whole_characters(t.at, t.n < room ? t.n : room);
    char bytes[MWPY_CELL_ROOM];
    memcpy(bytes, t.at, n);
    memcpy(bytes + n, more, sizeof more - 1);
    fill_cut(cell, MWPY_SHOWN, hash, 0, bytes, n + sizeof more - 1);
}

void mwpy_cell_describe(mwpy_cell *cell, PyObject *value) {
    if (!value) {
        fill(cell, MWPY_ABSENT, "", 0);
    } else if (PyLong_CheckExact(value)) {
        int overflow;
        int64_t number = PyLong_AsLongLongAndOverflow(value, &overflow);
        if (overflow)
            describe_shown(cell, value);
        else
            fill(cell, MWPY_INT, &number, sizeof number);
    } else if (PyUnicode_CheckExact(value)) {
        describe_str(cell, value);
    } else if (PyFloat_CheckExact(value)) {
        double number = PyFloat_AS_DOUBLE(value);
        fill(cell, MWPY_FLOAT, &number, sizeof number);
    } else if (value == Py_None || value == Py_True || value == Py_False) {
        fill(cell, value == Py_None ? MWPY_NONE : value == Py_True ? MWPY_TRUE : MWPY_FALSE, "", 0);
    } else if (PyBytes_CheckExact(value)) {
        describe_bytes(cell, value);
    } else {
        describe_shown(cell, value);
    }
}

/* ---- keys -------------------------------------------------------------------------------------------------------- */

static bool is_plain(PyObject *key, int level) {
    if (PyUnicode_CheckExact(key) || PyLong_CheckExact(key) || PyBytes_CheckExact(key) || PyFloat_CheckExact(key) ||
        PyBool_Check(key) || key == Py_None || PyComplex_CheckExact(key))
        return true;
    if (!PyTuple_CheckExact(key) || level >= LEVELS) return false;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(key); i++)
        if (!is_plain(PyTuple_GET_ITEM(key, i), level + 1)) return false;
    return true;
}

bool mwpy_key_is_plain(PyObject *key) { return is_plain(key, 0); }

static bool is_identifier(PyObject *key) { return PyUnicode_CheckExact(key) && PyUnicode_IsIdentifier(key) == 1; }

size_t mwpy_key_text(char *out, size_t room, PyObject *key, bool attribute) {
    text t = {.n = 0, .most = room < TEXT ? room : TEXT, .cut = false};
    if (attribute && is_identifier(key)) {
        put_string(&t, ".");
        for (Py_ssize_t i = 0; i < PyUnicode_GET_LENGTH(key) && !t.cut; i++)
            put_character(&t, PyUnicode_READ_CHAR(key, i));
    } else {
        put_string(&t, "[");
        if (PyUnicode_CheckExact(key))
            put_str(&t, key, '"');
        else
            put_value(&t, key, 1);
        put_string(&t, "]");
    }
    memcpy(out, t.at, t.n);
    return t.n;
}
