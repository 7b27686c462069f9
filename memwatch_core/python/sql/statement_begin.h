/* statement_begin.h - the beginning of a statement: writes its CONTEXT record, puts it in force. */
#ifndef MEMWATCH_PYTHON_STATEMENT_BEGIN_H
#define MEMWATCH_PYTHON_STATEMENT_BEGIN_H
#include "adapter.h"
#include "sql/connection.h"
#include "sql/statement.h"
#include "sql/tracer.h"

uint32_t mwpy_next_statement_id(void); /* of the next statement to begin */

/* Borrowed; created if the object isn't known yet. NULL: an exception. */
mwpy_connection *mwpy_connection_of(mwpy_tracer *tracer, PyObject *object);

/* Begins a statement while `current` (or NULL) is in force. `argument`: those of statement_begins. Returns its
 * token. */
PyObject *mwpy_statement_begin(mwpy_tracer *self, mwpy_statement *current, PyObject *const *argument);
#endif
