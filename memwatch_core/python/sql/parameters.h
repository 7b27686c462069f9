/* parameters.h - keyed hashes of a statement's parameters. */
#ifndef MEMWATCH_PYTHON_PARAMETERS_H
#define MEMWATCH_PYTHON_PARAMETERS_H
#include "adapter.h"
#include "sql/text.h"

extern PyTypeObject *mwpy_hasher_type;
extern PyType_Spec mwpy_hasher_spec;

/* Writes ,"parameters":[...] or nothing; one string for each parameter, or for each row if `many`. */
int mwpy_put_hashes(mwpy_text *t, PyObject *hasher, PyObject *parameters, bool many);

PyObject *mwpy_clock_types(PyObject *module, PyObject *unused);
PyObject *mwpy_ends_of(PyObject *module, PyObject *args);
#endif
