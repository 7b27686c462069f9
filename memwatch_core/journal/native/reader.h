/* reader.h - shared by reader.c and lines.c, the two parts of memwatch_core.journal._reader. */
#ifndef MEMWATCH_READER_H
#define MEMWATCH_READER_H
#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* Adds the type Lines to the module. 0, or -1 with an exception. */
int lines_add(PyObject *module);

#endif
