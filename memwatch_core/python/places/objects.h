/* objects.h - the objects that the collector knows, and the classes that are derived from one. */
#ifndef MEMWATCH_PYTHON_OBJECTS_H
#define MEMWATCH_PYTHON_OBJECTS_H
#include "adapter.h"

/* Calls `look` for each of them, until it returns 0. It must make no objects. */
void mwpy_visit_objects(int (*look)(PyObject *object, void *argument), void *argument);

/* Those that are such ones: borrowed, to be freed with PyMem_RawFree(). NULL: there are none, or no memory. */
PyObject **mwpy_find_objects(bool (*is)(PyObject *object, void *argument), void *argument, size_t *count);

/* A new list of the classes that a class is a base of; NULL with an exception. Runs no code of the program's. */
PyObject *mwpy_subclasses(PyTypeObject *type);
#endif
