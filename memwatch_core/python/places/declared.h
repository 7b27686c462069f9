/* declared.h - types written in Python, whose parts lie in slots or in the dict of their instances, as plugins say. */
#ifndef MEMWATCH_PYTHON_DECLARED_H
#define MEMWATCH_PYTHON_DECLARED_H
#include "places/types.h"

/* What is declared: a tuple of (module, name, with subclasses, templates), as memwatch_core.type_formats makes it of
 * exact tuples, str, int and bool. NULL: nothing. */
void mwpy_declare(PyObject *all);

/* What is declared of a type. Borrowed, NULL: nothing. */
PyObject *mwpy_declared(PyTypeObject *type);
bool mwpy_say_declared(mwpy_words *t, PyObject *value, PyObject *declared, int level);
#endif
