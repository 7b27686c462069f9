/* words.h - values in words, bounded: what doesn't fit is left out, and said to be.
 *
 * Everything here reads in place: no code of the program's runs, no exception is set. Interpreter lock held. */
#ifndef MEMWATCH_PYTHON_WORDS_H
#define MEMWATCH_PYTHON_WORDS_H
#include "adapter.h"

enum { MWPY_WORDS = 240, MWPY_LEVELS = 3 };

typedef struct mwpy_words {
    char at[MWPY_WORDS];
    size_t n;
    size_t most;
    bool cut;
    bool nested;                                                     /* it says what a value holds */
    bool has_part;                                                   /* of one that is said by its parts */
    size_t part;                                                     /* where the first of them begins */
    void (*value)(struct mwpy_words *t, PyObject *value, int level); /* says what is nested */
} mwpy_words;

/* A part of a value is said from here on. */
static inline void mwpy_say_part(mwpy_words *t) {
    if (!t->has_part) t->part = t->n;
    t->has_part = true;
}

/* A piece is put as a whole or not at all: never half of a character. After one that was left out, none is taken. */
void mwpy_say(mwpy_words *t, const char *bytes, size_t n);
void mwpy_say_string(mwpy_words *t, const char *string);
__attribute__((format(printf, 2, 3))) void mwpy_say_format(mwpy_words *t, const char *format, ...);
void mwpy_say_character(mwpy_words *t, Py_UCS4 c);
/* As it stands between such quotes; 0: no quote is escaped. */
void mwpy_say_escaped(mwpy_words *t, Py_UCS4 c, char quote);
/* A str or a subclass's, between quotes; without them: its characters, as if there were single ones. */
void mwpy_say_str(mwpy_words *t, PyObject *s, char quote);
void mwpy_say_characters(mwpy_words *t, PyObject *s);
void mwpy_say_bytes(mwpy_words *t, const char *bytes, Py_ssize_t n);
void mwpy_say_int(mwpy_words *t, PyObject *value);
void mwpy_say_float(mwpy_words *t, PyObject *value);

/* Items, by t->value. level: how deep they are nested. */
void mwpy_say_items(mwpy_words *t, PyObject *const *items, Py_ssize_t n, const char *open, const char *close,
                    int level);
/* Its type and its address. */
void mwpy_say_other(mwpy_words *t, PyObject *value);
/* The type's name as its class statement says it. */
void mwpy_say_type_name(mwpy_words *t, const PyTypeObject *type);
#endif
