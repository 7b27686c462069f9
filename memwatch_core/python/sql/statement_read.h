/* statement_read.h - the core's reading of a statement's text (core/text/statement.h), for Python. */
#ifndef MEMWATCH_PYTHON_STATEMENT_READ_H
#define MEMWATCH_PYTHON_STATEMENT_READ_H
#include "adapter.h"

/* read_statement(statement: str, dialect: str) -> (text: str, action: int, savepoint: str) */
PyObject *mwpy_statement_read(PyObject *module, PyObject *const *args, Py_ssize_t n);
#endif
