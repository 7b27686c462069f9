/* statement_end.h - a statement has been run, or has failed. */
#ifndef MEMWATCH_PYTHON_STATEMENT_END_H
#define MEMWATCH_PYTHON_STATEMENT_END_H
#include "sql/statement.h"

/* `rows`: how many it changed, -1: not known; `error`: it has failed with it, or NULL; `known`: whether a transaction
 * is open now, -1: not known. */
int mwpy_statement_end(mwpy_statement *s, int64_t rows, PyObject *error, bool fetchable, int known, bool rolled_back);

/* A signal's handler has raised while a driver's own code began or ended a statement, so that nobody has its token: the
 * one that runs here runs no more. */
int mwpy_statement_interrupted(PyObject *error);
#endif
