/* reader_held.h - part of reader.c: what stores have left in the variables, as bytes for an index, and back again.
 *
 * Only of variables that were stored to: what the others hold other records say. The bytes may be of a file that
 * somebody else made, so they are checked before use. */
#ifndef MEMWATCH_READER_HELD_H
#define MEMWATCH_READER_HELD_H
#include "reader_stores.h"

#include <stdint.h>
#include <string.h>

enum held_kind { HELD_BYTES, HELD_CELLS };
struct held { /* then the bytes, or `size` of these: */
    uint32_t ident, kind;
    uint64_t size;
};
struct held_cell { /* then its bytes */
    uint32_t offset, length;
};

static size_t table_rows(const Table *table) { return table->rows == NULL ? 0 : (size_t)1 << table->bits; }

/* Writes what a variable holds, unless `to` is NULL. Returns its size; 0: nothing has to be kept. */
static size_t state_hold(const State *state, unsigned char *to) {
    struct held head = {.ident = state->ident, .kind = state->slab ? HELD_CELLS : HELD_BYTES, .size = state->size};
    size_t at = sizeof head;
    if (!state->stored || (!state->slab && state->shadow == NULL)) return 0;
    if (!state->slab) {
        if (to != NULL) memcpy(to + at, state->shadow, state->size);
        at += state->size;
    } else {
        head.size = 0;
        for (size_t i = 0; i < table_rows(&state->places); i++) {
            const Place *place = state->places.rows[i].value;
            if (place == NULL || place->length == 0) continue;
            struct held_cell cell = {state->places.rows[i].key, place->length};
            if (to != NULL) memcpy(to + at, &cell, sizeof cell);
            if (to != NULL) memcpy(to + at + sizeof cell, place->last, place->length);
            at += sizeof cell + place->length;
            head.size++;
        }
    }
    if (to != NULL) memcpy(to, &head, sizeof head);
    return at;
}

/* The bytes of all variables; None if they are more than `most`. */
static PyObject *stores_hold(Stores *self, PyObject *args) {
    Py_ssize_t most;
    if (!PyArg_ParseTuple(args, "n", &most) || stores_enter(self) < 0) return NULL;
    size_t size = 0;
    for (size_t i = 0; i < table_rows(&self->variables) && size <= (size_t)most; i++)
        if (self->variables.rows[i].value != NULL) size += state_hold(self->variables.rows[i].value, NULL);
    if (size > (size_t)most) return stores_leave(self, Py_NewRef(Py_None));
    PyObject *held = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    if (held == NULL) return stores_leave(self, NULL);
    unsigned char *to = (unsigned char *)PyBytes_AS_STRING(held);
    for (size_t i = 0; i < table_rows(&self->variables); i++)
        if (self->variables.rows[i].value != NULL) to += state_hold(self->variables.rows[i].value, to);
    return stores_leave(self, held);
}

/* Takes the cells of a slab from bytes. Returns how many bytes they were; 0: they don't fit. */
static size_t state_take_cells(State *state, uint64_t count, const unsigned char *from, size_t left) {
    size_t at = 0;
    for (uint64_t i = 0; i < count; i++) {
        struct held_cell cell;
        if (left - at < sizeof cell) return 0;
        memcpy(&cell, from + at, sizeof cell);
        at += sizeof cell;
        Place *place = table_get(&state->places, cell.offset);
        if (place == NULL || cell.length == 0 || cell.length > CELL_SIZE || cell.length > left - at) return 0;
        memcpy(place->last, from + at, cell.length);
        place->length = cell.length;
        at += cell.length;
    }
    return at;
}

/* Takes what variables hold from bytes. Returns whether these fit the variables that there are. */
static int stores_take_held(Stores *self, const unsigned char *from, size_t size) {
    for (size_t at = 0; at < size;) {
        struct held head;
        if (size - at < sizeof head) return 0;
        memcpy(&head, from + at, sizeof head);
        at += sizeof head;
        State *state = table_get(&self->variables, head.ident);
        if (state == NULL || head.kind != (state->slab ? HELD_CELLS : HELD_BYTES)) return 0;
        state->stored = 1;
        if (state->slab) {
            size_t taken = state_take_cells(state, head.size, from + at, size - at);
            if (taken == 0 && head.size != 0) return 0;
            at += taken;
        } else {
            if (state->shadow == NULL || head.size != state->size || head.size > size - at) return 0;
            state_put(state, 0, from + at, head.size);
            at += head.size;
        }
    }
    return 1;
}

static PyObject *stores_restore(Stores *self, PyObject *args) {
    Py_buffer held;
    if (!PyArg_ParseTuple(args, "y*", &held)) return NULL;
    PyObject *done = NULL;
    if (stores_enter(self) == 0)
        done = stores_leave(self, PyBool_FromLong(stores_take_held(self, held.buf, (size_t)held.len)));
    PyBuffer_Release(&held);
    return done;
}

/* A variable's bytes; None if they aren't followed. */
static PyObject *stores_contents(Stores *self, PyObject *args) {
    unsigned int ident;
    if (!PyArg_ParseTuple(args, "I", &ident)) return NULL;
    const State *state = table_get(&self->variables, ident);
    if (state == NULL || state->shadow == NULL) return Py_NewRef(Py_None);
    return PyBytes_FromStringAndSize((const char *)state->shadow, (Py_ssize_t)state->size);
}

/* Of a slab: path -> bytes of its cell, of the places that were stored to. */
static PyObject *stores_cells(Stores *self, PyObject *args) {
    unsigned int ident;
    PyObject *cells = PyArg_ParseTuple(args, "I", &ident) ? PyDict_New() : NULL;
    const State *state = cells == NULL ? NULL : table_get(&self->variables, ident);
    for (size_t i = 0; state != NULL && i < table_rows(&state->places); i++) {
        const Place *place = state->places.rows[i].value;
        if (place == NULL || place->length == 0) continue;
        PyObject *bytes = PyBytes_FromStringAndSize((const char *)place->last, (Py_ssize_t)place->length);
        if (bytes == NULL || PyDict_SetItem(cells, place->path, bytes) < 0) Py_CLEAR(cells);
        Py_XDECREF(bytes);
        if (cells == NULL) return NULL;
    }
    return cells;
}

#endif
