/* known_types.h - types whose values are written as the program would write them, beside the plainest ones (text.h).
 *
 * Builtin and C types are read by their C layout, others by where a plugin says that their parts lie (declared.h). What
 * a type is, is found out once, and remembered for this version of it. */
#ifndef MEMWATCH_PYTHON_KNOWN_TYPES_H
#define MEMWATCH_PYTHON_KNOWN_TYPES_H
#include "places/types.h"

/* false: nothing is known of its type, and nothing was written. */
bool mwpy_say_known(mwpy_words *t, PyObject *value, int level);

/* Whether it is a value by what a plugin says of its type, though it has attributes. */
bool mwpy_is_declared(PyObject *value);

/* Forgets what is remembered of types. */
void mwpy_forget_types(void);

/* Left by dates.c and decimals.c; NULL: the type is none of theirs. */
mwpy_putter mwpy_date_putter(const PyTypeObject *type);
mwpy_putter mwpy_decimal_putter(PyTypeObject *type);
#endif
