/* tracer.h - what SQL drivers publish (tracer.c), given its meaning: statements (beginning.c, statement.c) of
 * connections (connection.c), in force in execution flows, written to the journal.
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
#include "text/statement.h"
#include "sql/text.h"

typedef struct mwpy_tracer mwpy_tracer;
typedef struct mwpy_connection mwpy_connection;
typedef struct mwpy_statement mwpy_statement;

/* sql.window: how long a statement that succeeded stays in force. */
typedef enum mwpy_window {
    MWPY_STATEMENT,   /* while it is run */
    MWPY_FETCH,       /* until its last row was fetched */
    MWPY_UNTIL_NEXT,  /* until the next one, or the closing of its cursor while rows are left */
    MWPY_TRANSACTION, /* likewise, but closing the cursor doesn't end it as long as its transaction is open */
} mwpy_window;

/* The last word about a statement: what is told of it whenever it goes out of force again. */
typedef enum mwpy_word { MWPY_NO_WORD, MWPY_FAILED, MWPY_COMMITTED, MWPY_ROLLED_BACK } mwpy_word;

typedef struct mwpy_savepoint {
    PyObject *name;
    uint32_t since; /* contexts of the transaction with this id or a later one came after it was set */
    bool begins;    /* it began the transaction, so its release commits: SQLite only */
} mwpy_savepoint;

struct mwpy_tracer {
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
};

struct mwpy_connection {
    PyObject_HEAD mwpy_tracer *tracer; /* borrowed; NULL once it is gone */
    PyObject *address;                 /* int: key in tracer->connections */
    PyObject *ref;  /* weak reference; NULL: of an object that allows none, and is known by its address alone */
    PyObject *json; /* bytes: its members of a CONTEXT record; NULL until its first statement */
    PyObject *driver, *dialect;
    PyObject *heads;      /* dict: statement -> (json: bytes, action: int, savepoint's name: str); of the tracer's */
    uint32_t number;      /* 0: nowhere */
    uint32_t transaction; /* id of its first context, 0: none open */
    bool told;            /* a statement of the open transaction has its OUTCOME record already */
    mwpy_statement *first, *last; /* without an OUTCOME record; borrowed, each leaves as it is deallocated */
    mwpy_savepoint *savepoints;
    Py_ssize_t depth, room;
};

struct mwpy_statement {
    PyObject_HEAD mwpy_tracer *tracer;
    mwpy_connection *where;
    mwpy_statement *previous, *next; /* in `where`'s list */
    mwpy_statement *outer;           /* the running statement that this one interrupts */
    PyObject *head;
    PyObject *place; /* weak reference to the contextvars.Context in which it is in force, NULL: in none. Tells the flow
                        that put it there from one that inherited a copy. */
    uint64_t ended;  /* ns since 1970: it had been run; 0: not yet */
    int64_t fetched, changed; /* rows; -1: not known */
    uint32_t id, transaction;
    uint8_t word;          /* mwpy_word */
    int8_t in_transaction; /* as a driver below an ORM said; -1: it didn't */
    bool running, fetchable /* rows may still be fetched */, finished /* the OUTCOME record is written */;
    bool autocommit, rolled_back;
};

/* Token of a statement that runs inside another one, and is a part of it. */
typedef struct mwpy_part {
    PyObject_HEAD mwpy_statement *whole;
} mwpy_part;

/* Where the tokens of objects are held, each in a list, whose first item it is. In the slot `_memwatch` of a composed
 * class; otherwise in `beside`, by address, with a weak reference as second item that tells whether the object is still
 * the same. Objects need to have the slot or allow weak references; nothing is kept of one that is gone. */
typedef struct mwpy_tokens {
    PyObject_HEAD PyObject *beside;
} mwpy_tokens;

/* What is in the slot of an object of a composed class, past whatever attributes the program has. */
int mwpy_intern_slot(void);
PyObject *mwpy_slot(PyObject *module, PyObject *of);
PyObject *mwpy_set_slot(PyObject *module, PyObject *const *args, Py_ssize_t n);

/* Its name: no identifier, so that no attribute of the program's is called so. */
#define MWPY_SLOT "_memwatch.slot"

/* ---- unseen.c ---------------------------------------------------------------------------------------------------- */

PyObject *mwpy_peek(PyObject *module, PyObject *const *args, Py_ssize_t n);
PyObject *mwpy_disguise(PyObject *module, PyObject *const *args, Py_ssize_t n);

extern PyTypeObject *mwpy_tracer_type, *mwpy_connection_type, *mwpy_statement_type, *mwpy_part_type, *mwpy_hasher_type,
    *mwpy_tokens_type, *mwpy_running_type, *mwpy_shell_type;
extern PyType_Spec mwpy_tracer_spec, mwpy_connection_spec, mwpy_statement_spec, mwpy_part_spec, mwpy_hasher_spec,
    mwpy_tokens_spec, mwpy_running_spec, mwpy_shell_spec;

static inline enum sql_action mwpy_action_of(const mwpy_statement *s) {
    return (enum sql_action)PyLong_AsLong(PyTuple_GET_ITEM(s->head, 1));
}

/* Whether the exception that is set is ours to swallow: an Exception that no handler of a signal has raised. */
bool mwpy_is_ours(void);
PyObject *mwpy_raise_unless_ours(PyObject *module, PyObject *error);

uint64_t mwpy_now(void);

/* In between, the program's trace and profile functions aren't called. */
static inline void mwpy_hush(void) { PyThreadState_EnterTracing(PyThreadState_Get()); }
static inline void mwpy_unhush(void) { PyThreadState_LeaveTracing(PyThreadState_Get()); }

/* ---- trouble.c --------------------------------------------------------------------------------------------------- */

/* Clears the exception and counts it. The first is told of, at the next occasion at which code in Python may run. */
void mwpy_trouble(mwpy_tracer *tracer);

/* ---- flow.c ------------------------------------------------------------------------------------------------------ */

int mwpy_make_flow(void);           /* creates the ContextVar, once */
extern PyObject *mwpy_flow;         /* values: a statement, or None */
PyObject *mwpy_flow_value(void);    /* of mwpy_flow in this flow, borrowed; NULL: none */
int mwpy_set_flow(PyObject *value); /* may end the statement that was in force */

/* ---- statement.c ------------------------------------------------------------------------------------------------- */

bool mwpy_id_of(PyObject *value, uint32_t *id); /* mwpy_statement_id */
mwpy_statement *mwpy_statement_new(mwpy_tracer *tracer, uint32_t id, PyObject *head, mwpy_connection *where);
PyObject *mwpy_part_new(mwpy_statement *whole);

/* The statement that this flow shows as in force; a new reference, NULL: none. */
mwpy_statement *mwpy_in_force(void);

/* Whether the flow that the code runs in has put it in force itself, and not inherited it; whether any flow has. */
bool mwpy_is_here(const mwpy_statement *s);
bool mwpy_is_somewhere(const mwpy_statement *s);

int mwpy_enter(mwpy_statement *s);                                /* puts it in force in this flow */
int mwpy_enter_after(mwpy_statement *s, mwpy_statement *current); /* where `current` (or NULL) was before */
int mwpy_supersede(mwpy_statement *current);                      /* it is here, and goes out of force */
int mwpy_leave(mwpy_statement *s);                                /* out of force, if this flow shows it */
int mwpy_clear_flow(void);
int mwpy_again(mwpy_statement *s, mwpy_statement *current); /* back into force, because rows of it were fetched */

/* Into and out of its connection's list of those without an OUTCOME record. */
void mwpy_link(mwpy_statement *s);
void mwpy_unlink(mwpy_statement *s);

/* Writes the OUTCOME record, once. `error`: what it failed with, or NULL. */
int mwpy_finish(mwpy_statement *s, const char *outcome, PyObject *error);

int mwpy_write_record(PyObject *writer, int (*core)(uint32_t, const void *, size_t), uint32_t id, const mwpy_text *t);

/* ---- connection.c ------------------------------------------------------------------------------------------------ */

mwpy_connection *mwpy_connection_new(mwpy_tracer *tracer, uint32_t number);
/* The one that `object` is known as, borrowed; NULL without an exception: none. Of None, or NULL: nowhere. */
mwpy_connection *mwpy_find_connection(mwpy_tracer *tracer, PyObject *object);
mwpy_connection *mwpy_connect(mwpy_tracer *tracer, PyObject *object);
void mwpy_disconnect(mwpy_connection *c); /* breaks its cycle of references */

PyObject *mwpy_unfinished(mwpy_connection *c); /* a new list */

/* The statement has been run: what that means for the transaction. `known`: whether one is open now, -1: not known.
 * Returns 1 if the statement goes out of force with it. */
int mwpy_settle(mwpy_statement *s, int known, PyObject *error, bool rolled_back);

/* The transaction is over, and what is in force on the connection goes out of it. `but`: not this one; or NULL. */
int mwpy_over(mwpy_connection *c, mwpy_word word, bool closed, mwpy_statement *but);

int mwpy_set_savepoint(mwpy_connection *c, PyObject *name, uint32_t since, bool begins);
int mwpy_release_savepoint(mwpy_connection *c, PyObject *name); /* 1: that was the transaction */
int mwpy_roll_back_to(mwpy_connection *c, PyObject *name, uint32_t next, mwpy_statement *but);

/* ---- parameters.c ------------------------------------------------------------------------------------------------ */

/* ,"parameters":[...] or nothing; one string a parameter, or one a row, if `many`. */
int mwpy_put_hashes(mwpy_text *t, PyObject *hasher, PyObject *parameters, bool many);

PyObject *mwpy_clock_types(PyObject *module, PyObject *unused);
PyObject *mwpy_ends_of(PyObject *module, PyObject *args);

/* ---- reading.c --------------------------------------------------------------------------------------------------- */

PyObject *mwpy_read_statement(PyObject *module, PyObject *const *args, Py_ssize_t n);

/* ---- beginning.c ------------------------------------------------------------------------------------------------- */

uint32_t mwpy_next_id(void); /* of the statement that begins next */

/* As borrowed; a new one if the object isn't known yet. NULL: an exception. */
mwpy_connection *mwpy_connection_of(mwpy_tracer *tracer, PyObject *object);

/* A statement begins, while `current` (or NULL) is in force. `argument`: those of statement_begins. Returns its token.
 */
PyObject *mwpy_begin(mwpy_tracer *self, mwpy_statement *current, PyObject *const *argument);

/* ---- tokens.c ---------------------------------------------------------------------------------------------------- */

/* The list that holds an object's token, a new reference. `create` one where there is none; otherwise None. */
PyObject *mwpy_held(mwpy_tokens *self, PyObject *of, bool create);
PyObject *mwpy_token_in(PyObject *held); /* a new reference; None if there is none */

/* ---- tracer.c ---------------------------------------------------------------------------------------------------- */

/* Makes the types and puts them into the module of that name. 0, or -1 after printing the exception. */
int mwpy_install_tracer(const char *module);

#endif
