/* cell.h - what a place (an attribute, a key) holds, in 64 bytes of a watched page: docs/journal-format.md. */
#ifndef MEMWATCH_PYTHON_CELL_H
#define MEMWATCH_PYTHON_CELL_H
#include "adapter.h"
#include "places/words.h"

#include <assert.h>
#include <string.h>

enum mwpy_cell_kind {
    MWPY_ABSENT = 0,
    MWPY_NONE = 1,
    MWPY_FALSE = 2,
    MWPY_TRUE = 3,
    MWPY_INT = 4,
    MWPY_FLOAT = 5,
    MWPY_STR = 6,
    MWPY_BYTES = 7,
    MWPY_SHOWN = 8,
    MWPY_SECRET = 9,        /* a keyed hash */
    MWPY_SECRET_SHOWN = 10, /* the same, of a value of kind SHOWN */
};
/* Added to a kind, of a name of a function: what the cell held before is what the name held in another call; so it held
 * nothing in this one, or, with the second, that is there now without an event. */
enum { MWPY_CELL_BEGINS = 0x80, MWPY_CELL_TURNS = 0x40 };
enum { MWPY_CELL = 64, MWPY_CELL_ROOM = 60 };
/* Flags. The last two say how the value came there: with all others, at once. */
enum { MWPY_CELL_CUT = 1, MWPY_CELL_MOVED = 2, MWPY_CELL_CLEARED = 4, MWPY_CELL_REPLACED = 8 };

typedef struct mwpy_cell {
    uint8_t kind, used; /* used: bytes of payload */
    uint16_t flags;
    uint8_t payload[MWPY_CELL_ROOM];
} mwpy_cell;
static_assert(sizeof(mwpy_cell) == MWPY_CELL, "cells fill a page");

/* Bytes of a cell that say something. */
static inline size_t mwpy_cell_size(const mwpy_cell *cell) { return offsetof(mwpy_cell, payload) + cell->used; }

/* What a value is, NULL for none. Exact builtin types are read in place, anything else is its type and its address: no
 * code of the program's runs, no exception is set, nothing is kept. Bytes behind the payload are left as they were.
 * Interpreter lock held. */
void mwpy_cell_describe(mwpy_cell *cell, PyObject *value);

/* The same; but what tells a long str apart is its end, not a hash of all of it: that would be kept in the str, which
 * could no longer grow where it is. */
void mwpy_cell_describe_growing(mwpy_cell *cell, PyObject *value);

/* An int of one digit, which most are. */
static inline bool mwpy_is_small(PyObject *value) {
#if PY_VERSION_HEX >= 0x030C0000
    return PyLong_CheckExact(value) && PyUnstable_Long_IsCompact((PyLongObject *)value);
#else
    return PyLong_CheckExact(value) && Py_SIZE(value) >= -1 && Py_SIZE(value) <= 1;
#endif
}
static inline int64_t mwpy_small(PyObject *value) {
#if PY_VERSION_HEX >= 0x030C0000
    return PyUnstable_Long_CompactValue((PyLongObject *)value);
#else
    return Py_SIZE(value) * (int64_t)((PyLongObject *)value)->ob_digit[0];
#endif
}

/* What comes before the payload, written at once: bytes that were written one by one can't be read at once before they
 * have left the processor's store buffer. */
static inline void mwpy_cell_begin(mwpy_cell *cell, uint32_t kind, uint32_t used, uint32_t flags) {
    uint32_t head = kind | used << 8 | flags << 16; /* little-endian, as all that we run on */
    memcpy(cell, &head, sizeof head);
}
static inline void mwpy_cell_add(mwpy_cell *cell, uint32_t to_kind) {
    uint32_t head;
    memcpy(&head, cell, sizeof head);
    head |= to_kind;
    memcpy(cell, &head, sizeof head);
}
static inline void mwpy_cell_say_number(mwpy_cell *cell, int64_t number) {
    mwpy_cell_begin(cell, MWPY_INT, sizeof number, 0);
    memcpy(cell->payload, &number, sizeof number);
}

/* A list of these items, whatever its type. */
void mwpy_cell_describe_items(mwpy_cell *cell, PyObject *const *items, Py_ssize_t n);

/* What must be known of secrets wherever a value is described: node_secrets.h. on: there may be some, so what a value
 * holds isn't told by its text. */
extern struct mwpy_secrets {
    bool on;
} mwpy_secrets;
static inline bool mwpy_cell_is_secret(const mwpy_cell *cell) {
    return cell->kind == MWPY_SECRET || cell->kind == MWPY_SECRET_SHOWN;
}
/* Says a hash instead, keyed for this variable. false: it says one already, or that there is nothing. */
bool mwpy_cell_hide_as(mwpy_cell *cell, mw_variable_id id);
/* A value in words, as mwpy_cell_describe() would say it in as much room as there is in `t`. */
void mwpy_say_described(mwpy_words *t, PyObject *value);

/* Whether keys of this one's kind are compared without code of the program's: exact builtin scalars, tuples of them,
 * keys of slots (slot_keys.h). */
bool mwpy_key_is_plain_too(PyObject *key); /* which isn't a str */
static inline bool mwpy_key_is_plain(PyObject *key) { return PyUnicode_CheckExact(key) || mwpy_key_is_plain_too(key); }
/* The plain key that is equal to this one, a new reference: itself, or what a subclass's object holds that is compared
 * as its base is. NULL without an exception: it is compared by code of its own, or by identity. */
PyObject *mwpy_key_plain(PyObject *key);
/* Whether a key is the same one, to a dict, as a plain key. Only what mwpy_key_plain() takes is compared. */
bool mwpy_key_is(PyObject *key, PyObject *plain);

/* How a member of a set is written behind the set, by the cell that says what it is: {"x"}, {3}. Returns how many
 * bytes, at most room. */
size_t mwpy_member_text(char *out, size_t room, const mwpy_cell *cell);

/* How a key is written behind its owner: ".qty", ["db"], [3]. Returns how many bytes, at most room. */
size_t mwpy_key_text(char *out, size_t room, PyObject *key, bool attribute);
/* Whether that is only how it begins, however much room there is. */
bool mwpy_key_text_is_cut(PyObject *key, bool attribute);

#endif
