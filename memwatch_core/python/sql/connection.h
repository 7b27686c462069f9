/* connection.h - a connection as drivers know it: statements, transaction, savepoints. */
#ifndef MEMWATCH_PYTHON_CONNECTION_H
#define MEMWATCH_PYTHON_CONNECTION_H
#include "adapter.h"
#include "sql/statement.h"

struct mwpy_tracer;

typedef struct mwpy_savepoint {
    PyObject *name;
    uint32_t since; /* contexts of the transaction from this id on came after it */
    bool begins;    /* it began the transaction, so its release commits: SQLite only */
} mwpy_savepoint;

struct mwpy_connection {
    PyObject_HEAD struct mwpy_tracer *tracer; /* borrowed; NULL once the tracer is gone */
    PyObject *address;                        /* int: key in tracer->connections */
    PyObject *ref;  /* weak reference; NULL: the object supports none, and is known only by its address */
    PyObject *json; /* bytes: its members in a CONTEXT record; NULL until its first statement */
    PyObject *driver, *dialect;
    PyObject *heads;      /* dict: statement -> (json: bytes, action: int, savepoint's name: str); the tracer's */
    uint32_t number;      /* 0: the tracer's `nowhere` */
    uint32_t transaction; /* id of its first context, 0: none open */
    bool told;            /* a statement of the open transaction has its OUTCOME record already */
    bool failed;          /* PostgreSQL: one of them has failed, so that COMMIT may roll back */
    mwpy_statement *text; /* of several statements: more results may come, so what it does isn't known yet; or NULL */
    mwpy_statement *first, *last; /* without an OUTCOME record; borrowed, each leaves as it is deallocated */
    mwpy_savepoint *savepoints;
    Py_ssize_t depth, room;
};

extern PyTypeObject *mwpy_connection_type;
extern PyType_Spec mwpy_connection_spec;

mwpy_connection *mwpy_connection_new(struct mwpy_tracer *tracer, uint32_t number);
/* The known connection of `object`, borrowed; NULL without an exception: none. For None or NULL: `nowhere`. */
mwpy_connection *mwpy_find_connection(struct mwpy_tracer *tracer, PyObject *object);
mwpy_connection *mwpy_connect(struct mwpy_tracer *tracer, PyObject *object);
void mwpy_disconnect(mwpy_connection *c); /* breaks its reference cycle */

PyObject *mwpy_unfinished(mwpy_connection *c); /* a new list */

/* Updates the transaction after a statement ran. `known`: whether a transaction is open now, -1: unknown. Returns 1 if
 * the statement went out of force. */
int mwpy_settle(mwpy_statement *s, int known, PyObject *error, bool rolled_back);

/* What becomes of the results that are missing: an error may have come in their place, or nobody will ever read them;
 * all have come; and what comes next commits. `known`: as above, behind them. */
typedef enum mwpy_reading { MWPY_UNREAD, MWPY_READ, MWPY_COMMITS } mwpy_reading;
int mwpy_settle_text(mwpy_connection *c, mwpy_reading reading, int known);

/* The transaction is over, and what is in force on the connection goes out of it. `but`: not this one; or NULL. */
int mwpy_over(mwpy_connection *c, mwpy_word word, bool closed, mwpy_statement *but);

int mwpy_set_savepoint(mwpy_connection *c, PyObject *name, uint32_t since, bool begins);
int mwpy_release_savepoint(mwpy_connection *c, PyObject *name); /* 1: that ended the transaction */
int mwpy_roll_back_to(mwpy_connection *c, PyObject *name, uint32_t next, mwpy_statement *but);
#endif
