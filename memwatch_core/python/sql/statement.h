/* statement.h - a statement: in force, out of force, its OUTCOME record. */
#ifndef MEMWATCH_PYTHON_STATEMENT_H
#define MEMWATCH_PYTHON_STATEMENT_H
#include "adapter.h"
#include "sql/text.h"
#include "text/statement.h"

struct mwpy_tracer;
typedef struct mwpy_connection mwpy_connection;
typedef struct mwpy_statement mwpy_statement;

/* The final outcome of a statement, reported whenever it goes out of force again. */
typedef enum mwpy_word { MWPY_NO_WORD, MWPY_FAILED, MWPY_COMMITTED, MWPY_ROLLED_BACK } mwpy_word;

struct mwpy_statement {
    PyObject_HEAD struct mwpy_tracer *tracer;
    mwpy_connection *where;
    mwpy_statement *previous, *next; /* in `where`'s list */
    mwpy_statement *outer;           /* the running statement that this one interrupts */
    PyObject *head;
    PyObject *place;          /* weak reference to the contextvars.Context in which it is in force; NULL: none. Shows
                               * whether a flow put it in force or inherited it. */
    uint64_t ended;           /* ns since 1970; 0: still running */
    int64_t fetched, changed; /* rows; -1: unknown */
    uint32_t id, transaction;
    uint8_t word;          /* mwpy_word */
    int8_t in_transaction; /* as published by a driver below an ORM; -1: unknown */
    bool running, fetchable /* rows may still be fetched */, finished /* the OUTCOME record is written */;
    bool autocommit, rolled_back;
    int8_t first_known; /* of several statements whose results come one by one: `known` after the first */
};

/* Token of a statement that is part of another one, because it runs inside it. */
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

/* The statement in force in this flow; a new reference, NULL: none. */
mwpy_statement *mwpy_in_force(void);

/* Whether the current flow itself (not by inheritance) put it in force; whether any flow did. */
bool mwpy_is_here(const mwpy_statement *s);
bool mwpy_is_somewhere(const mwpy_statement *s);

int mwpy_enter(mwpy_statement *s);                                /* puts it in force in this flow */
int mwpy_enter_after(mwpy_statement *s, mwpy_statement *current); /* replaces `current` (or NULL) */
int mwpy_supersede(mwpy_statement *current);                      /* out of force; it is this flow's */
int mwpy_leave(mwpy_statement *s);                                /* out of force, if this flow has it */
int mwpy_clear_flow(void);
int mwpy_again(mwpy_statement *s, mwpy_statement *current); /* back into force, because its rows were fetched */

/* Add to, and remove from, its connection's list of statements without an OUTCOME record. */
void mwpy_link(mwpy_statement *s);
void mwpy_unlink(mwpy_statement *s);

/* Writes the OUTCOME record, once. `error`: the exception that failed it, or NULL. */
int mwpy_finish(mwpy_statement *s, const char *outcome, PyObject *error);

int mwpy_write_record(PyObject *writer, int (*core)(uint32_t, const void *, size_t), uint32_t id, const mwpy_text *t);
#endif
