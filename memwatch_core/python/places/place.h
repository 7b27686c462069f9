/* place.h - which attribute or key can be watched alone. */
#ifndef MEMWATCH_PYTHON_PLACE_H
#define MEMWATCH_PYTHON_PLACE_H
#include "adapter.h"

typedef struct mwpy_place {
    PyObject *text; /* as a path says it: `.qty`, `["db"]`; a new reference */
    PyObject *why;  /* a sentence: it can't be watched; a new reference, or NULL: it can */
    PyObject *key;  /* as mwpy_node.place; a new reference, or NULL: it can't be watched */
    PyObject *held; /* what lies there now, borrowed; NULL: nothing */
} mwpy_place;

/* The place of an owner under a key. 0, or -1 with an exception, and then no references. Runs no code of the
 * program's. */
int mwpy_place_find(PyObject *owner, PyObject *key, mwpy_place *place);
#endif
