/* known_types.h - types whose values are written as the program would write them, beside the plainest ones (text.h).
 *
 * Builtin and C types are read by their C layout, others by where a plugin says that their parts lie (declared.h). What
 * a type is, is found out once, and remembered for this version of it. */
#ifndef MEMWATCH_PYTHON_KNOWN_TYPES_H
#define MEMWATCH_PYTHON_KNOWN_TYPES_H
#include <string.h>

#include "places/text.h"

/* Writes a value. `with`: what was found out of its type. false: the value isn't as it should be; whatever was written
 * is taken back. */
typedef bool (*mwpy_putter)(mwpy_text *t, PyObject *value, PyObject *with, int level);

/* false: nothing is known of its type, and nothing was written. */
bool mwpy_put_known(mwpy_text *t, PyObject *value, int level);

/* Whether it is a value by what a plugin says of its type, though it has attributes. */
bool mwpy_is_declared(PyObject *value);

/* Forgets what is remembered of types. */
void mwpy_forget_types(void);

/* Stands for a version of a type: one of another number may be another one, at the same address. 0: it has none, and
 * nothing may be remembered of it. */
unsigned mwpy_version_of(PyTypeObject *type);

/* What a dict has under a str. Borrowed; NULL: nothing, or its keys aren't all str, and may have code of their own. */
PyObject *mwpy_entry(PyObject *dict, PyObject *name);

/* Left by dates.c and decimals.c; NULL: the type is none of theirs. */
mwpy_putter mwpy_date_putter(const PyTypeObject *type);
mwpy_putter mwpy_decimal_putter(PyTypeObject *type);

/* A type made in C, which a program can't change, of this name and size. */
static inline bool mwpy_is_c_type(const PyTypeObject *type, const char *name, size_t size) {
    return type->tp_flags & Py_TPFLAGS_IMMUTABLETYPE && type->tp_basicsize == (Py_ssize_t)size &&
           !strcmp(type->tp_name, name);
}
#endif
