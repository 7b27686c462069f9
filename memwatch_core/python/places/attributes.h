/* attributes.h - where an object keeps its attributes. */
#ifndef MEMWATCH_PYTHON_ATTRIBUTES_H
#define MEMWATCH_PYTHON_ATTRIBUTES_H
#include "adapter.h"

/* Whether an object keeps its attributes in a dict or in slots, and all that the program changes of it there. Runs no
 * code of the program's. `why`, if it doesn't: a sentence of what to do, static storage. */
bool mwpy_has_attributes(PyObject *object, const char **why);
bool mwpy_has_dict(PyObject *object);
bool mwpy_has_slots(PyObject *object);

/* The dict of such an object, a new reference, made so that every change of it is told: it is the object's own, and of
 * a shape that is not stored to behind its back. NULL with an exception. */
PyObject *mwpy_attributes(PyObject *object);

/* The dict that it has now, borrowed; NULL: none, or none has been made yet. */
PyObject *mwpy_attributes_now(PyObject *object);

/* Has every assignment to `__dict__` of objects of this type reported to mwpy_attributes_replaced(). */
void mwpy_attributes_guard(PyTypeObject *type);
/* Left by dicts.c: an object has another dict now, or none. */
void mwpy_attributes_replaced(PyObject *owner, PyObject *before);
#endif
