/* attributes.h - where an object keeps its attributes. */
#ifndef MEMWATCH_PYTHON_ATTRIBUTES_H
#define MEMWATCH_PYTHON_ATTRIBUTES_H
#include "adapter.h"

/* Whether an object keeps its attributes in a dict or in slots, and all that the program changes of it there. Runs no
 * code of the program's. `why`, if it doesn't: a sentence of what to do, static storage. */
bool mwpy_has_attributes(PyObject *object, const char **why);
bool mwpy_has_dict(PyObject *object);
bool mwpy_has_slots(PyObject *object);

/* The dict in which an object, or the object that is a dict, is watched; a new reference. It is made so that every
 * change of it is told: it is the object's own, and of a shape that is not stored to behind its back. From now on,
 * assignments to `__dict__` of objects of its type are reported (reports.h). NULL with an exception,
 * or without one: it has slots only. */
PyObject *mwpy_dict_of(PyObject *object);

/* The dict that it has now, borrowed; NULL: none, or none has been made yet. */
PyObject *mwpy_attributes_now(PyObject *object);
#endif
