/* cell.c - see cell.h. A description is bounded: of long values their beginning, length and a hash, of nested ones
 * three levels, so that what an assignment costs doesn't depend on what is assigned. */
#include "places/cell.h"

#include <string.h>

#include "base/hash.h"
#include "origins/utf8.h"
#include "places/slot_keys.h"
#include "places/value.h"
#include "places/words.h"

/* ---- cells ------------------------------------------------------------------------------------------------------- */

enum { CUT_HEAD = 12 }; /* u64 hash, u32 length */

static void fill(mwpy_cell *cell, enum mwpy_cell_kind kind, const void *bytes, size_t n) {
    mwpy_cell_begin(cell, kind, (uint32_t)n, 0);
    memcpy(cell->payload, bytes, n);
}

/* Up to 8 bytes as one number, the first the least. */
static inline uint64_t word_of(const char *bytes, size_t n) {
    const uint8_t *at = (const uint8_t *)bytes;
    if (n >= 4) {
        uint32_t first, last;
        memcpy(&first, at, sizeof first);
        memcpy(&last, at + n - 4, sizeof last);
        return first | (uint64_t)last << 8 * (n - 4);
    }
    return n ? at[0] | (uint64_t)at[n / 2] << 8 * (n / 2) | (uint64_t)at[n - 1] << 8 * (n - 1) : 0;
}

/* Short ones are written at once, as mwpy_cell_begin() says. */
static inline void fill_text(mwpy_cell *cell, enum mwpy_cell_kind kind, const char *bytes, size_t n) {
    if (n > 8) {
        fill(cell, kind, bytes, n);
        return;
    }
    uint64_t word = word_of(bytes, n);
    mwpy_cell_begin(cell, kind, (uint32_t)n, 0);
    memcpy(cell->payload, &word, sizeof word);
}

static void fill_cut(mwpy_cell *cell, enum mwpy_cell_kind kind, uint64_t hash, size_t length, const char *beginning,
                     size_t n) {
    uint32_t shown = length < UINT32_MAX ? (uint32_t)length : UINT32_MAX;
    mwpy_cell_begin(cell, kind, (uint32_t)(CUT_HEAD + n), MWPY_CELL_CUT);
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
        fill_text(cell, MWPY_STR, (const char *)PyUnicode_1BYTE_DATA(s), length);
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
        fill_text(cell, MWPY_BYTES, PyBytes_AS_STRING(b), n);
    else
        fill_cut(cell, MWPY_BYTES, hash_of_object(b), n, PyBytes_AS_STRING(b), MWPY_CELL_ROOM - CUT_HEAD);
}

static size_t whole_characters(const char *bytes, size_t n) {
    while (n && ((uint8_t)bytes[n] & 0xC0) == 0x80) n--;
    return n;
}

/* Of a container that changed behind the end of what is shown of it. */
static uint64_t length_of(PyObject *value) {
    if (PyAnySet_CheckExact(value)) return (uint64_t)PySet_GET_SIZE(value);
    if (PyDict_CheckExact(value)) return (uint64_t)PyDict_GET_SIZE(value);
    return PyList_CheckExact(value) || PyTuple_CheckExact(value) ? (uint64_t)Py_SIZE(value) : 0;
}

static void fill_words(mwpy_cell *cell, const mwpy_words *t, uint64_t length) {
    static const char more[] = "…";
    if (t->n <= MWPY_CELL_ROOM && !t->cut) {
        fill(cell, MWPY_SHOWN, t->at, t->n);
        return;
    }
    uint64_t hash = hash_of(t->at, t->n) ^ length * HASH_FACTOR;
    size_t room = MWPY_CELL_ROOM - CUT_HEAD - (sizeof more - 1), n = whole_characters(t->at, t->n < room ? t->n : room);
    char bytes[MWPY_CELL_ROOM];
    memcpy(bytes, t->at, n);
    memcpy(bytes + n, more, sizeof more - 1);
    fill_cut(cell, MWPY_SHOWN, hash, 0, bytes, n + sizeof more - 1);
}

/* ---- secrets ---- */

struct mwpy_secrets mwpy_secrets;

bool mwpy_cell_hide_as(mwpy_cell *cell, mw_variable_id id) {
    if (!cell->kind || mwpy_cell_is_secret(cell)) return false;
    uint16_t how = cell->flags & (uint16_t)~MWPY_CELL_CUT;
    cell->flags &= MWPY_CELL_CUT;
    uint64_t hash = mw_hash_secret(id, cell, mwpy_cell_size(cell));
    memset(cell->payload, 0, sizeof cell->payload);
    *cell = (mwpy_cell){.kind = cell->kind == MWPY_SHOWN ? MWPY_SECRET_SHOWN : MWPY_SECRET, .used = 8, .flags = how};
    memcpy(cell->payload, &hash, sizeof hash);
    return true;
}

/* A text that says what a value holds says only how it begins and ends: "[…]", "Fraction(…)". A part of it may be a
 * secret, by whatever name. */
static void leave_out_held(mwpy_words *t) {
    static const char open[] = "[({", close[] = "])}", more[] = "…";
    size_t n = 0, said = t->has_part && t->part < t->n ? t->part : t->n;
    while (n < said && !strchr(open, t->at[n])) n++;
    const char *bracket = n < said ? strchr(open, t->at[n]) : NULL;
    if (n > MWPY_CELL_ROOM / 3) n = 0, bracket = NULL;
    t->n = bracket ? n + 1 : 0;
    memcpy(t->at + t->n, more, sizeof more - 1);
    t->n += sizeof more - 1;
    if (bracket) t->at[t->n++] = close[bracket - open];
}

/* Two texts that are left out are still told apart. */
static void fill_held(mwpy_cell *cell, mwpy_words *t, uint64_t length) {
    uint64_t hash = mw_hash_secret(0, t->at, t->n) ^ length * HASH_FACTOR;
    leave_out_held(t);
    fill_cut(cell, MWPY_SHOWN, hash, 0, t->at, t->n);
}

void mwpy_say_described(mwpy_words *t, PyObject *value) {
    static const char more[] = "…";
    size_t most = t->most;
    t->most -= sizeof more - 1;
    mwpy_say_value(t, value, 0);
    t->most = most;
    if (unlikely(mwpy_secrets.on && t->nested)) {
        leave_out_held(t);
    } else if (t->cut) {
        memcpy(t->at + t->n, more, sizeof more - 1);
        t->n += sizeof more - 1;
    }
}

static void describe_shown(mwpy_cell *cell, PyObject *value) {
    mwpy_words t = mwpy_no_words(MWPY_WORDS);
    mwpy_say_value(&t, value, 0);
    if (unlikely(mwpy_secrets.on && t.nested))
        fill_held(cell, &t, length_of(value));
    else
        fill_words(cell, &t, length_of(value));
}

void mwpy_cell_describe_items(mwpy_cell *cell, PyObject *const *items, Py_ssize_t n) {
    mwpy_words t = mwpy_no_words(MWPY_WORDS);
    mwpy_say_items(&t, items, n, "[", "]", 0);
    if (unlikely(mwpy_secrets.on && t.nested))
        fill_held(cell, &t, (uint64_t)n);
    else
        fill_words(cell, &t, (uint64_t)n);
}

void mwpy_cell_describe(mwpy_cell *cell, PyObject *value) {
    if (!value) {
        fill(cell, MWPY_ABSENT, "", 0);
    } else if (likely(mwpy_is_small(value))) {
        mwpy_cell_say_number(cell, mwpy_small(value));
    } else if (PyLong_CheckExact(value)) {
        int overflow = 0;
        int64_t number = PyLong_AsLongLongAndOverflow(value, &overflow);
        if (overflow)
            describe_shown(cell, value);
        else
            mwpy_cell_say_number(cell, number);
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

void mwpy_cell_describe_growing(mwpy_cell *cell, PyObject *value) {
    enum { END = 64 };
    if (!value || likely(!PyUnicode_CheckExact(value)) || PyUnicode_GET_LENGTH(value) <= MWPY_CELL_ROOM) {
        mwpy_cell_describe(cell, value);
        return;
    }
    char bytes[MWPY_CELL_ROOM];
    bool whole;
    Py_UCS4 end[END];
    Py_ssize_t length = PyUnicode_GET_LENGTH(value), from = length > END ? length - END : 0;
    for (Py_ssize_t i = from; i < length; i++) end[i - from] = PyUnicode_READ_CHAR(value, i);
    uint64_t hash = hash_of((const char *)end, (size_t)(length - from) * sizeof *end);
    size_t n = utf8_beginning(value, bytes, sizeof bytes - CUT_HEAD, &whole);
    fill_cut(cell, MWPY_STR, hash, (size_t)length, bytes, n);
}

/* ---- keys -------------------------------------------------------------------------------------------------------- */

static bool is_plain(PyObject *key, int level) {
    if (PyUnicode_CheckExact(key) || PyLong_CheckExact(key) || PyBytes_CheckExact(key) || PyFloat_CheckExact(key) ||
        PyBool_Check(key) || key == Py_None || PyComplex_CheckExact(key))
        return true;
    if (!PyTuple_CheckExact(key) || level >= MWPY_LEVELS) return false;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(key); i++)
        if (!is_plain(PyTuple_GET_ITEM(key, i), level + 1)) return false;
    return true;
}

bool mwpy_key_is_plain_too(PyObject *key) { return is_plain(key, 0) || mwpy_slot_key_name(key); }

/* The builtin scalar that an object of a subclass is compared as. */
static PyTypeObject *compared_as(PyObject *key) {
    PyTypeObject *bases[] = {&PyUnicode_Type, &PyLong_Type, &PyFloat_Type, &PyBytes_Type}, *type = Py_TYPE(key);
    for (size_t i = 0; i < Py_ARRAY_LENGTH(bases); i++)
        if (PyType_IsSubtype(type, bases[i]))
            return type->tp_richcompare == bases[i]->tp_richcompare && type->tp_hash == bases[i]->tp_hash ? bases[i]
                                                                                                          : NULL;
    return NULL;
}

PyObject *mwpy_key_plain(PyObject *key) {
    if (mwpy_key_is_plain(key)) return Py_NewRef(key);
    PyTypeObject *base = compared_as(key);
    if (base == &PyUnicode_Type) return PyUnicode_FromObject(key);
    if (base == &PyLong_Type) return base->tp_as_number->nb_positive(key); /* that of int, not of the subclass */
    if (base == &PyFloat_Type) return PyFloat_FromDouble(PyFloat_AS_DOUBLE(key));
    return base ? PyBytes_FromStringAndSize(PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key)) : NULL;
}

bool mwpy_key_is(PyObject *key, PyObject *plain) {
    if (key == plain) return true;
    if (PyUnicode_CheckExact(key) && PyUnicode_CheckExact(plain)) {
        if (PyUnicode_CHECK_INTERNED(key) && PyUnicode_CHECK_INTERNED(plain)) return false;
        return !PyUnicode_Compare(key, plain);
    }
    if (PyUnicode_Check(key) != PyUnicode_Check(plain) || PyBytes_Check(key) != PyBytes_Check(plain)) return false;
    if (!mwpy_key_is_plain(key) && !compared_as(key)) return false;
    int same = PyObject_RichCompareBool(key, plain, Py_EQ);
    if (same < 0) PyErr_Clear();
    return same > 0;
}

static bool is_identifier(PyObject *key) { return PyUnicode_CheckExact(key) && PyUnicode_IsIdentifier(key) == 1; }

static mwpy_words words_of_key(size_t room, PyObject *key, bool attribute) {
    mwpy_words t = mwpy_no_words(room);
    if (mwpy_slot_key_name(key)) key = mwpy_slot_key_name(key);
    if (attribute && is_identifier(key)) {
        mwpy_say_string(&t, ".");
        for (Py_ssize_t i = 0; i < PyUnicode_GET_LENGTH(key) && !t.cut; i++)
            mwpy_say_character(&t, PyUnicode_READ_CHAR(key, i));
    } else {
        mwpy_say_string(&t, "[");
        if (PyUnicode_CheckExact(key))
            mwpy_say_str(&t, key, '"');
        else
            mwpy_say_value(&t, key, 1);
        mwpy_say_string(&t, "]");
    }
    return t;
}

size_t mwpy_key_text(char *out, size_t room, PyObject *key, bool attribute) {
    mwpy_words t = words_of_key(room, key, attribute);
    memcpy(out, t.at, t.n);
    return t.n;
}

bool mwpy_key_text_is_cut(PyObject *key, bool attribute) { return words_of_key(MWPY_WORDS, key, attribute).cut; }

/* The value of a cell that holds it whole; NULL: of another kind, or no memory. */
static PyObject *value_in(const mwpy_cell *cell) {
    int64_t number;
    double real;
    if (cell->flags & MWPY_CELL_CUT) return NULL;
    switch (cell->kind) {
    case MWPY_INT: memcpy(&number, cell->payload, sizeof number); return PyLong_FromLongLong(number);
    case MWPY_FLOAT: memcpy(&real, cell->payload, sizeof real); return PyFloat_FromDouble(real);
    case MWPY_STR: return PyUnicode_DecodeUTF8((const char *)cell->payload, cell->used, "surrogatepass");
    case MWPY_BYTES: return PyBytes_FromStringAndSize((const char *)cell->payload, cell->used);
    case MWPY_NONE: return Py_NewRef(Py_None);
    case MWPY_TRUE: return Py_NewRef(Py_True);
    case MWPY_FALSE: return Py_NewRef(Py_False);
    default: return NULL;
    }
}

size_t mwpy_member_text(char *out, size_t room, const mwpy_cell *cell) {
    mwpy_words t = mwpy_no_words(room);
    PyObject *value = value_in(cell);
    size_t head = cell->flags & MWPY_CELL_CUT ? CUT_HEAD : 0;
    mwpy_say_string(&t, "{");
    if (value && PyUnicode_Check(value))
        mwpy_say_str(&t, value, '"');
    else if (value)
        mwpy_say_value(&t, value, 1);
    else if (mwpy_cell_is_secret(cell))
        mwpy_say_format(&t, "<secret %02x%02x%02x%02x%02x%02x>", cell->payload[0], cell->payload[1], cell->payload[2],
                        cell->payload[3], cell->payload[4], cell->payload[5]);
    else
        mwpy_say(&t, (const char *)cell->payload + head, cell->used - head);
    mwpy_say_string(&t, head && cell->kind != MWPY_SHOWN ? "…}" : "}");
    Py_XDECREF(value);
    PyErr_Clear();
    memcpy(out, t.at, t.n);
    return t.n;
}
