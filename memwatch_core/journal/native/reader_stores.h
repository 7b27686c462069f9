/* reader_stores.h - part of reader.c: the object with the state that STORE records need, and its variables' values. */
#ifndef MEMWATCH_READER_STORES_H
#define MEMWATCH_READER_STORES_H
#include "reader.h"

#include <stdint.h>

#include "reader_merging.h"
#include "reader_recorder.h"
#include "reader_sieve.h"
#include "reader_table.h"
#include "reader_variable.h"

#define RECENT_THREADS 16
#define LARGE_VALUES 8
enum { PLACE_ADD, PLACE_SET, PLACE_DELETE, PLACE_CLEAR, PLACE_REPLACE, PLACE_MOVE, PLACE_OPERATIONS };
enum { CALLERS_FRAMES, CALLERS_CUT, CALLERS_INEXACT, CALLERS_OWN, CALLERS_FIELDS };

struct thread {
    PyObject *number, *name; /* NULL: not seen yet */
    uint32_t tid;
};

typedef struct stores {
    PyObject ob_base;
    Table variables, sites, own, stacks, requests, contexts, threads; /* State *, then objects; own: sites that are */
    PyObject *make, *make_part, *pid, *runtime, *no_name, *failures, *call, *shown, *cell, *journal;
    PyObject *origins[256];
    PyObject *absent, *unnamed, *no_aliases,
        *operations[PLACE_OPERATIONS]; /* value of an absent place, name of an unnamed one, what happened to one */
    struct thread recent[RECENT_THREADS];
    Sieve sieve;
    Recorder recorder;
    Merging merging;
    unsigned long long seq;
    uint64_t versions;            /* of variables, so far */
    uint32_t sieves;              /* so far */
    uint32_t large[LARGE_VALUES]; /* variables whose large value is kept: the last few, until the batch ends */
    unsigned large_count;
    int busy;
} Stores;

/* The values of an event. */
typedef struct values {
    PyObject *old, *new, *part; /* owned; NULL: not made */
    PyObject *operation;        /* borrowed; NULL: the event is of no place */
    PyObject *aliases;          /* borrowed; NULL: there are none */
    int aliases_cut;
} Values;

/* Each method runs between enter and leave, because decode, or the finalizer of a value, may run Python code. */
static int stores_enter(Stores *self) {
    if (self->make == NULL || self->busy) {
        PyErr_SetString(PyExc_RuntimeError, self->busy ? "Stores is in use: a serializer's decode must not call it"
                                                       : "Stores was not initialised");
        return -1;
    }
    self->busy = 1;
    return 0;
}

static PyObject *stores_leave(Stores *self, PyObject *result) {
    self->busy = 0;
    return result;
}

static int stores_note_failure(Stores *self, uint32_t ident) {
    PyObject *number = PyLong_FromUnsignedLong(ident);
    int done = number == NULL ? -1 : PyList_Append(self->failures, number);
    Py_XDECREF(number);
    return done;
}

/* Notes a serializer's exception, once. -1: the exception isn't a serializer's to raise. */
static int stores_take_failure(Stores *self, State *state) {
    if (!PyErr_ExceptionMatches(PyExc_Exception)) return -1;
    PyErr_Clear();
    if (!state->failed && stores_note_failure(self, state->ident) < 0) return -1;
    state->failed = 1;
    return 0;
}

static void stores_drop_value(Stores *self, uint32_t ident) {
    State *state = table_get(&self->variables, ident);
    if (state != NULL) Py_CLEAR(state->value);
}

static void stores_drop_large(Stores *self) {
    for (unsigned i = 0; i < LARGE_VALUES && i < self->large_count; i++) stores_drop_value(self, self->large[i]);
    self->large_count = 0;
}

/* Keeps a variable's decoded value; a large one only for a while, because there may be many. */
static void stores_keep_value(Stores *self, State *state, PyObject *value) {
    Py_XSETREF(state->value, Py_NewRef(value));
    if (state->size * DECODED <= LARGE) return;
    uint32_t *place = &self->large[self->large_count % LARGE_VALUES];
    if (self->large_count >= LARGE_VALUES && *place != state->ident) stores_drop_value(self, *place);
    *place = state->ident;
    self->large_count++;
}

/* The variable's value, a new reference. NULL with an exception that decode may not raise (KeyboardInterrupt, ...). */
static PyObject *stores_value_of(Stores *self, State *state) {
    if (state->value != NULL) return Py_NewRef(state->value);
    if (state->shadow == NULL || state->decode == Py_None) return Py_NewRef(Py_None);
    if (state->letter != 0) {
        PyObject *number = number_from(state->letter, state->shadow);
        if (number != NULL && self->variables.count < FEW_VARIABLES) state->value = Py_NewRef(number);
        return number;
    }
    PyObject *bytes = PyBytes_FromStringAndSize((const char *)state->shadow, (Py_ssize_t)state->size);
    if (bytes == NULL) return NULL;
    PyObject *arguments[] = {bytes, state->options};
    PyObject *value = PyObject_Vectorcall(state->decode, arguments, 2, NULL);
    Py_DECREF(bytes);
    if (value == NULL && stores_take_failure(self, state) == 0) value = Py_NewRef(Py_None);
    if (value != NULL) stores_keep_value(self, state, value);
    return value;
}

#endif
