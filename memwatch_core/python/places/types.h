/* types.h - what is read of types without asking them. */
#ifndef MEMWATCH_PYTHON_TYPES_H
#define MEMWATCH_PYTHON_TYPES_H
#include <string.h>

#include "places/words.h"

/* Writes a value. `with`: what was found out of its type. false: the value isn't as it should be; whatever was written
 * is taken back. */
typedef bool (*mwpy_putter)(mwpy_words *t, PyObject *value, PyObject *with, int level);

/* Stands for a version of a type: one of another number may be another one, at the same address. 0: it has none, and
 * nothing may be remembered of it. */
unsigned mwpy_version_of(PyTypeObject *type);

/* What a dict has under a str. Borrowed; NULL: nothing, or its keys aren't all str, and may have code of their own. */
PyObject *mwpy_entry(PyObject *dict, PyObject *name);

/* A type made in C, which a program can't change, of this name and size. */
static inline bool mwpy_is_c_type(const PyTypeObject *type, const char *name, size_t size) {
    return type->tp_flags & Py_TPFLAGS_IMMUTABLETYPE && type->tp_basicsize == (Py_ssize_t)size &&
           !strcmp(type->tp_name, name);
}
#endif
