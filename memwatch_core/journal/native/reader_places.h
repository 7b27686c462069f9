/* reader_places.h - part of reader.c: the places of objects and dicts, whose values lie in the cells of a slab. */
#ifndef MEMWATCH_READER_PLACES_H
#define MEMWATCH_READER_PLACES_H
#include "reader_stores.h"

#include <stdint.h>
#include <string.h>

#define UNNAMED ".?"     /* a place whose path isn't known */
#define CELL_CUT 1u      /* flags: the payload is the beginning of a value */
#define CELL_MOVED 2u    /* the items of a list, in another order */
#define CELL_CLEARED 4u  /* all places of the dict went at once */
#define CELL_REPLACED 8u /* the object was given another dict */

/* flags: of the cell behind the change; 0 of one that says nothing of how it came. */
static int place_operation(int was_absent, int is_absent, unsigned flags) {
    if (flags & (CELL_CLEARED | CELL_REPLACED)) return flags & CELL_CLEARED ? PLACE_CLEAR : PLACE_REPLACE;
    if (was_absent == is_absent) return flags & CELL_MOVED ? PLACE_MOVE : PLACE_SET;
    return was_absent ? PLACE_ADD : PLACE_DELETE;
}

/* A Shown of the text, whose reference it takes. */
static PyObject *stores_show(Stores *self, PyObject *text) {
    PyObject *shown = PyObject_CallOneArg(self->shown, text);
    Py_DECREF(text);
    return shown;
}

/* The value of a cell, from the bytes that a store touched; a new reference. Values that aren't plain are decoded in
 * Python. */
static PyObject *stores_cell_value(Stores *self, const unsigned char *cell, uint32_t length) {
    uint32_t used = length < CELL_HEAD ? UINT32_MAX : cell[1];
    const unsigned char *bytes = cell + CELL_HEAD;
    if (used != UINT32_MAX && used <= length - CELL_HEAD) {
        switch (cell[0]) {
        case CELL_ABSENT: return Py_NewRef(self->absent);
        case CELL_NONE: return Py_NewRef(Py_None);
        case CELL_FALSE: return Py_NewRef(Py_False);
        case CELL_TRUE: return Py_NewRef(Py_True);
        case CELL_INT:
            if (used == 8) return number_from('q', bytes);
            break;
        case CELL_FLOAT:
            if (used == 8) return number_from('d', bytes);
            break;
        case CELL_BYTES:
            if (!(cell[2] & CELL_CUT)) return PyBytes_FromStringAndSize((const char *)bytes, (Py_ssize_t)used);
            break;
        case CELL_STR:
        case CELL_OTHER: {
            if (cell[2] & CELL_CUT) break;
            PyObject *text = PyUnicode_DecodeUTF8((const char *)bytes, (Py_ssize_t)used, "surrogatepass");
            if (text != NULL) return cell[0] == CELL_STR ? text : stores_show(self, text);
            if (!PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) return NULL;
            PyErr_Clear();
            break;
        }
        default: break;
        }
    }
    return PyObject_CallFunction(self->cell, "y#", cell, (Py_ssize_t)length);
}

/* A cell as if it belonged to no activation; one that belongs to another one than this says nothing. */
static void cell_plain(const unsigned char *cell, uint32_t length, uint64_t number, unsigned char plain[CELL_SIZE]) {
    memset(plain, 0, CELL_SIZE);
    if (cell_activation(cell, length) != number) return;
    uint32_t payload = length - CELL_HEAD - ACTIVATION_BYTES;
    memcpy(plain, cell, CELL_HEAD);
    plain[0] &= (unsigned char)~OF_ACTIVATION;
    plain[1] -= ACTIVATION_BYTES;
    memcpy(plain + CELL_HEAD, cell + CELL_HEAD + ACTIVATION_BYTES, payload);
}

/* The change of a place by a store: its part, and the operation. Neither if the store touched no cell, or more than
 * one. Returns 0, or -1 with an exception. */
static int stores_place_values(Stores *self, State *state, uint64_t offset, uint32_t length,
                               const unsigned char *before, const unsigned char *after, Values *values) {
    values->old = Py_NewRef(Py_None);
    values->new = Py_NewRef(Py_None);
    if (!state_is_cell(state, offset, length)) {
        values->part = Py_NewRef(Py_None);
        return 0;
    }
    const Place *place = state_place(state, offset, length);
    unsigned char was[CELL_SIZE], is[CELL_SIZE];
    uint64_t activation = cell_activation(after, length);
    int same = memcmp(before, after, length) == 0;
    if (activation != 0) {
        cell_plain(before, length, activation, was);
        cell_plain(after, length, activation, is);
        before = was;
        after = is;
    }
    PyObject *old = stores_cell_value(self, before, length);
    if (old == NULL) return -1;
    PyObject *new = same ? Py_NewRef(old) : stores_cell_value(self, after, length);
    if (new != NULL) {
        PyObject *number = activation == 0 ? NULL : PyLong_FromUnsignedLongLong(activation);
        PyObject *fields[] = {place != NULL ? place->path : self->unnamed, old, new, number};
        if (activation == 0 || number != NULL)
            values->part = PyObject_Vectorcall(self->make_part, fields, number == NULL ? 3 : 4, NULL);
        Py_XDECREF(number);
        unsigned flags = length < CELL_HEAD ? 0 : after[2];
        if (same) flags &= ~(CELL_CLEARED | CELL_REPLACED);
        if (length >= CELL_HEAD && !is_other(after[0])) flags &= ~CELL_MOVED;
        values->operation = self->operations[place_operation(old == self->absent, new == self->absent, flags)];
        if (place != NULL) values->aliases = place->aliases;
        if (place != NULL) values->aliases_cut = place->aliases_cut;
        Py_DECREF(new);
    }
    Py_DECREF(old);
    return values->part == NULL ? -1 : 0;
}

#endif
