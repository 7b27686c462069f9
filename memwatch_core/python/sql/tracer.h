/* tracer.h - the type that SQL drivers publish to. It maps their calls to statements of connections, in force in
 * execution flows, and writes them to the journal.
 *
 * A flow is what Python's contextvars distinguish: a thread, an asyncio task. The statement in force is the value of
 * one ContextVar, mwpy_flow, which origins/context.c reads from the writing thread at each store. Nothing else connects
 * a statement with a store.
 *
 * Lifetimes do the rest: a statement is held by its cursor (as the driver's token) and by the flows in which it is in
 * force, never the other way round. When nothing can put it in force any more, it is deallocated, which ends it.
 *
 * All functions need the GIL. Those that return int: 0, or -1 with an exception, which tracer.c swallows: nothing here
 * raises into the program. */
#ifndef MEMWATCH_PYTHON_TRACER_H
#define MEMWATCH_PYTHON_TRACER_H
#include "adapter.h"
#include "sql/connection.h"

/* sql.window: how long a successful statement stays in force. */
typedef enum mwpy_window {
    MWPY_STATEMENT,   /* while it runs */
    MWPY_FETCH,       /* until its last row was fetched */
    MWPY_UNTIL_NEXT,  /* until the next one, or until its cursor is closed with rows left */
    MWPY_TRANSACTION, /* likewise, but closing the cursor doesn't end it while its transaction is open */
} mwpy_window;

typedef struct mwpy_tracer {
    PyObject_HEAD PyObject
        *parameters;             /* a ParameterHash, another callable with the same signature, or NULL: not recorded */
    PyObject *context, *outcome; /* callables that write the records, (id, bytes); NULL: the core */
    PyObject *heads;             /* dict: (driver, dialect) -> dict: statement -> head */
    PyObject *connections;       /* dict: address -> connection */
    mwpy_connection *latest;     /* looked up last; may be NULL */
    mwpy_connection *nowhere;    /* for statements without one */
    PyObject *unreported;        /* the first swallowed error, until it is reported; or NULL */
    mwpy_window window;
    bool closed;
    uint32_t numbers;      /* of connections */
    Py_ssize_t troubles;   /* errors swallowed */
    Py_ssize_t unfinished; /* statements without an OUTCOME record */
} mwpy_tracer;

extern PyTypeObject *mwpy_tracer_type;
extern PyType_Spec mwpy_tracer_spec;

/* Creates the types in the module of that name. 0, or -1 after printing the exception. */
int mwpy_install_tracer(const char *module);
#endif
