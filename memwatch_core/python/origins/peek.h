/* peek.h - objects of the interpreter, read in place: no references, no code of the program's, no allocation. For files
 * that define Py_BUILD_CORE_MODULE.
 *
 * Whoever holds the interpreter's lock reads what is there (`held`). Without it, another thread may change or free what
 * isn't this thread's own: then it is read by a system call, which fails where memory is gone; and what is found has to
 * be looked at like something that may be anything. */
#ifndef MEMWATCH_PYTHON_PEEK_H
#define MEMWATCH_PYTHON_PEEK_H
#include "interpreter.h"

enum { MWPY_TRIES = 4 }; /* without the lock, what was moved meanwhile is found at the next try */

bool mwpy_get_unheld(void *to, const void *from, size_t n);

static inline bool mwpy_get(bool held, void *to, const void *from, size_t n) {
    if (__builtin_expect(!held, 0)) return mwpy_get_unheld(to, from, n);
    __builtin_memcpy(to, from, n);
    return true;
}

/* The word at an address, or NULL. */
static inline void *mwpy_word(bool held, const void *from) {
    void *word;
    return mwpy_get(held, &word, from, sizeof word) ? word : NULL;
}

/* The value of a key, which is this very object, in a dict; borrowed, NULL: there is none. *hint: where it was found the
 * last time. */
PyObject *mwpy_find(bool held, const PyObject *dict, const PyObject *key, size_t *hint);

/* An attribute of an instance, of this very name, wherever the instance keeps it; likewise. */
PyObject *mwpy_attribute(bool held, PyObject *object, const PyObject *name, size_t *hint);
#endif
