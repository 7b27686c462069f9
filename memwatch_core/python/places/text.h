/* text.h - values in words, bounded: what doesn't fit is left out, and said to be.
 *
 * Everything here reads in place: no code of the program's runs, no exception is set. Interpreter lock held. */
#ifndef MEMWATCH_PYTHON_TEXT_H
#define MEMWATCH_PYTHON_TEXT_H
#include "adapter.h"

enum { MWPY_TEXT = 240, MWPY_LEVELS = 3 };

typedef struct mwpy_text {
    char at[MWPY_TEXT];
    size_t n;
    size_t most;
    bool cut;
} mwpy_text;

/* A piece is put as a whole or not at all: never half of a character. After one that was left out, none is taken. */
void mwpy_put(mwpy_text *t, const char *bytes, size_t n);
void mwpy_put_string(mwpy_text *t, const char *string);
__attribute__((format(printf, 2, 3))) void mwpy_put_format(mwpy_text *t, const char *format, ...);
void mwpy_put_character(mwpy_text *t, Py_UCS4 c);
/* As it stands between such quotes; 0: no quote is escaped. */
void mwpy_put_escaped(mwpy_text *t, Py_UCS4 c, char quote);
/* A str or a subclass's, between quotes; without them: its characters, as if there were single ones. */
void mwpy_put_str(mwpy_text *t, PyObject *s, char quote);
void mwpy_put_characters(mwpy_text *t, PyObject *s);
void mwpy_put_bytes(mwpy_text *t, const char *bytes, Py_ssize_t n);
void mwpy_put_int(mwpy_text *t, PyObject *value);
void mwpy_put_float(mwpy_text *t, PyObject *value);

/* Any value, as the program would write it. level: how deep it is nested. */
void mwpy_put_value(mwpy_text *t, PyObject *value, int level);
void mwpy_put_items(mwpy_text *t, PyObject *const *items, Py_ssize_t n, const char *open, const char *close, int level);
/* Its type and its address. */
void mwpy_put_other(mwpy_text *t, PyObject *value);
/* The type's name as its class statement says it. */
void mwpy_put_type_name(mwpy_text *t, const PyTypeObject *type);
#endif
