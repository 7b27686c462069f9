/* tracer.h - the type that SQL drivers publish to: what they tell is given its meaning here, statements of connections,
 * in force in execution flows, written to the journal.
 *
 * A flow is what Python's contextvars tell apart: a thread, an asyncio task. The statement in force is the value of one
 * ContextVar, mwpy_flow, which origins/context.c reads from the writing thread at the moment of each store. Nothing
 * else connects a statement with a store.
 *
 * Lifetimes do the rest: a statement is held by its cursor (as the driver's token) and by the flows that it is in force
 * in, never the other way round. When nobody can bring it into force any more, it ends (it is deallocated).
 *
 * All of it with the interpreter lock held. Functions that return int: 0, or -1 with an exception, which tracer.c
 * swallows: nothing here raises into the program. */
#ifndef MEMWATCH_PYTHON_TRACER_H
#define MEMWATCH_PYTHON_TRACER_H
#include "adapter.h"
#include "sql/connection.h"

/* sql.window: how long a statement that succeeded stays in force. */
typedef enum mwpy_window {
    MWPY_STATEMENT,   /* while it is run */
    MWPY_FETCH,       /* until its last row was fetched */
    MWPY_UNTIL_NEXT,  /* until the next one, or the closing of its cursor while rows are left */
    MWPY_TRANSACTION, /* likewise, but closing the cursor doesn't end it as long as its transaction is open */
} mwpy_window;

typedef struct mwpy_tracer {
    PyObject_HEAD PyObject
        *parameters;             /* a ParameterHash, another callable with the same signature, or NULL: none are kept */
    PyObject *context, *outcome; /* callables that write the records, (id, bytes); NULL: the core does */
    PyObject *heads;             /* dict: (driver, dialect) -> dict: statement -> head */
    PyObject *connections;       /* dict: address -> connection */
    mwpy_connection *latest;     /* that was asked for; may be NULL */
    mwpy_connection *nowhere;    /* of statements that named none */
    PyObject *unreported;        /* the first error that was swallowed, until it is told of; or NULL */
    mwpy_window window;
    bool closed;
    uint32_t numbers;      /* of connections */
    Py_ssize_t troubles;   /* errors that were swallowed */
    Py_ssize_t unfinished; /* statements without an OUTCOME record */
} mwpy_tracer;

extern PyTypeObject *mwpy_tracer_type;
extern PyType_Spec mwpy_tracer_spec;

/* Makes the types and puts them into the module of that name. 0, or -1 after printing the exception. */
int mwpy_install_tracer(const char *module);
#endif
