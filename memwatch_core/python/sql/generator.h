/* generator.h - traces written in Python, and calls of their functions. */
#ifndef MEMWATCH_PYTHON_GENERATOR_H
#define MEMWATCH_PYTHON_GENERATOR_H
#include "sql/steps.h"

extern const mwpy_steps mwpy_generator_steps;

/* function(object, *args, **keywords); `object` may be NULL. */
PyObject *mwpy_call_with(PyObject *function, PyObject *object, PyObject *args, PyObject *keywords);

/* The same for a function of ours, which must not get keywords whose class has an __eq__ of the program's. NULL without
 * an exception: the arguments don't fit, and the library will report it. */
PyObject *mwpy_call_ours(PyObject *function, PyObject *object, PyObject *args, PyObject *keywords);
#endif
