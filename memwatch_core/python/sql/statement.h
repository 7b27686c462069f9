/* statement.h - a statement: in force, out of force, its OUTCOME record. */
#ifndef MEMWATCH_PYTHON_STATEMENT_H
#define MEMWATCH_PYTHON_STATEMENT_H
#include "adapter.h"
#include "sql/text.h"
#include "text/statement.h"

struct mwpy_tracer;
typedef struct mwpy_connection mwpy_connection;
typedef struct mwpy_statement mwpy_statement;

/* The last word about a statement: what is told of it whenever it goes out of force again. */
typedef enum mwpy_word { MWPY_NO_WORD, MWPY_FAILED, MWPY_COMMITTED, MWPY_ROLLED_BACK } mwpy_word;

struct mwpy_statement {
    PyObject_HEAD struct mwpy_tracer *tracer;
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
    int8_t first_known; /* of several statements whose results come one by one: `known` after the first */
};

/* Token of a statement that runs inside another one, and is a part of it. */
typedef struct mwpy_part {
    PyObject_HEAD mwpy_statement *whole;
} mwpy_part;

extern PyTypeObject *mwpy_statement_type;
extern PyType_Spec mwpy_statement_spec;

extern PyTypeObject *mwpy_part_type;
extern PyType_Spec mwpy_part_spec;

/* sql_action, and the bits above it. */
static inline int mwpy_does(const mwpy_statement *s) { return (int)PyLong_AsLong(PyTuple_GET_ITEM(s->head, 1)); }
static inline enum sql_action mwpy_action_of(const mwpy_statement *s) { return (enum sql_action)(mwpy_does(s) & 0xff); }

uint64_t mwpy_now(void); /* ns since 1970 */

bool mwpy_id_of(PyObject *value, uint32_t *id); /* mwpy_statement_id */
mwpy_statement *mwpy_statement_new(struct mwpy_tracer *tracer, uint32_t id, PyObject *head, mwpy_connection *where);
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
#endif
