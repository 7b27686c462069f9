/* context.h - the SQL context in force at a store: the value of a contextvars.ContextVar. */
#ifndef MEMWATCH_PYTHON_CONTEXT_H
#define MEMWATCH_PYTHON_CONTEXT_H
#include "adapter.h"

/* Sets the ContextVar whose values are ints or statements (sql/statement.h), or None. -1 with TypeError for anything
 * else. Needs the GIL. */
int mwpy_set_context_variable(PyObject *variable);

/* The context id in the thread's current context, 0 if none. Async-signal-safe; only for the calling thread's state. */
uint32_t mwpy_context_of(PyThreadState *thread);

/* The value of a ContextVar in the thread's current context, borrowed; NULL: none. Async-signal-safe, as above. */
PyObject *mwpy_value_in(PyThreadState *thread, PyObject *variable);

/* Maps of variables that were freed. A map is never changed: where it lies at the same address, and none that was kept
 * was freed, it is the same. */
extern struct mwpy_freed mwpy_maps;

/* Before a map is kept, in the present generation, to be compared with another. Wants the GIL; async-signal-safe with
 * it. */
void mwpy_keep_map(PyObject *map);

/* Sets a ContextVar of ours in the current context; 0, or -1 with an exception. What was there before may be released.
 */
int mwpy_set_in_context(PyObject *variable, PyObject *value);

/* Set by sql/: whether a value is a statement, and its id, or 0 if finished. Async-signal-safe. */
extern bool (*mwpy_statement_id)(PyObject *value, uint32_t *id);
#endif
