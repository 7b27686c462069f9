/* reader.h - reads a library's objects: an attribute, whether a transaction is open. */
#ifndef MEMWATCH_PYTHON_READER_H
#define MEMWATCH_PYTHON_READER_H
#include "adapter.h"

extern PyTypeObject *mwpy_reader_type, *mwpy_status_type;
extern PyType_Spec mwpy_reader_spec, mwpy_status_spec;

/* `read`: a Reader, or any other callable. A new reference. */
PyObject *mwpy_read(PyObject *read, PyObject *of);

/* A Status's answer: True, False, or None (unknown). A new reference. */
PyObject *mwpy_status_of(PyObject *status, PyObject *connection);
#endif
