/* generator.h - what is done around a call as a driver says it in Python, and calling its functions. */
#ifndef MEMWATCH_PYTHON_GENERATOR_H
#define MEMWATCH_PYTHON_GENERATOR_H
#include "sql/steps.h"

extern const mwpy_steps mwpy_generator_steps;

/* function(object, *args, **keywords); `object` may be NULL. */
PyObject *mwpy_call_with(PyObject *function, PyObject *object, PyObject *args, PyObject *keywords);

/* The same for a function of ours, which must not meet keywords whose class has an __eq__ of the program's. NULL
 * without an exception: it doesn't take such arguments, and the library will say what is wrong with them. */
PyObject *mwpy_call_ours(PyObject *function, PyObject *object, PyObject *args, PyObject *keywords);
#endif
