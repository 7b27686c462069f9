/* reader.h - shared by reader.c, lines.c and strip.c, the parts of memwatch_core.journal._reader. */
#ifndef MEMWATCH_READER_H
#define MEMWATCH_READER_H
#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* Adds the type Lines to the module. 0, or -1 with an exception. */
int lines_add(PyObject *module);
/* The functions of strip.c. */
int strip_add(PyObject *module);

#endif
