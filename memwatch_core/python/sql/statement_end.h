/* statement_end.h - the end of a statement's run. */
#ifndef MEMWATCH_PYTHON_STATEMENT_END_H
#define MEMWATCH_PYTHON_STATEMENT_END_H
#include "sql/statement.h"

/* `rows`: number changed, -1: unknown; `error`: the exception, or NULL; `known`: whether a transaction is open now, -1:
 * unknown. */
int mwpy_statement_end(mwpy_statement *s, int64_t rows, PyObject *error, bool fetchable, int known, bool rolled_back);

/* A signal handler raised while a driver's own code began or ended a statement, so its token is lost: ends the
 * statement that runs in this flow. */
int mwpy_statement_interrupted(PyObject *error);
#endif
