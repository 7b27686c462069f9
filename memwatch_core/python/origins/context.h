/* context.h - which SQL context is in force where a store is made: the value of a contextvars.ContextVar. */
#ifndef MEMWATCH_PYTHON_CONTEXT_H
#define MEMWATCH_PYTHON_CONTEXT_H
#include "adapter.h"

/* Takes a ContextVar whose values are ints or statements (sql/statement.h), or None. -1 with TypeError for anything
 * else. Interpreter lock held. */
int mwpy_set_context_variable(PyObject *variable);

/* The context id that this variable has in the thread's current context, 0 if none. Async-signal-safe; only for the
 * calling thread's own state. */
uint32_t mwpy_context_of(PyThreadState *thread);

/* The value of a ContextVar in the thread's current context, borrowed; NULL: none. Async-signal-safe, as above. */
PyObject *mwpy_value_in(PyThreadState *thread, PyObject *variable);

/* Left by sql/: whether a value is a statement, and its id, or 0 if it is finished. Async-signal-safe. */
extern bool (*mwpy_statement_id)(PyObject *value, uint32_t *id);
#endif
