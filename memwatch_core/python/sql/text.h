/* text.h - a text buffer, for the JSON of a record. On the stack, unless it grows too long. */
#ifndef MEMWATCH_PYTHON_TEXT_H
#define MEMWATCH_PYTHON_TEXT_H
#include "adapter.h"
#include <string.h>

typedef struct mwpy_text {
    char *at;
    size_t n, room;
    bool failed; /* no memory: the rest is missing */
    char own[2048];
} mwpy_text;

static inline void mwpy_text_open(mwpy_text *t) {
    t->at = t->own;
    t->n = 0;
    t->room = sizeof t->own;
    t->failed = false;
}

static inline void mwpy_text_close(mwpy_text *t) {
    if (t->at != t->own) PyMem_Free(t->at);
}

/* Makes room for n more bytes. False if out of memory. */
bool mwpy_text_grow(mwpy_text *t, size_t n);

static inline void mwpy_put(mwpy_text *t, const char *bytes, size_t n) {
    if (t->room - t->n < n && !mwpy_text_grow(t, n)) return;
    memcpy(t->at + t->n, bytes, n);
    t->n += n;
}
#define MWPY_PUT(t, literal) mwpy_put(t, literal, sizeof literal - 1)

static inline void mwpy_put_bytes(mwpy_text *t, PyObject *bytes) {
    mwpy_put(t, PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes));
}

void mwpy_put_number(mwpy_text *t, uint64_t number);
void mwpy_put_hex(mwpy_text *t, uint64_t number); /* 16 digits */

/* Appends a str as the inside of a JSON string, at most `most` characters; lone surrogates become "?". -1: an
 * exception. */
int mwpy_put_json(mwpy_text *t, PyObject *str, Py_ssize_t most);

#endif
