/* reader_places.h - part of reader.c: the places of objects and dicts, whose values lie in the cells of a slab. */
#ifndef MEMWATCH_READER_PLACES_H
#define MEMWATCH_READER_PLACES_H
#include "reader_stores.h"

#include <stdint.h>
#include <string.h>

#define CELL_HEAD 4u     /* u8 kind, u8 bytes of payload, u16 flags */
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
        switch (cell[0] & CELL_KIND) {
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
            if (text != NULL) return (cell[0] & CELL_KIND) == CELL_STR ? text : stores_show(self, text);
            if (!PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) return NULL;
            PyErr_Clear();
            break;
        }
        default: break;
        }
    }
    return PyObject_CallFunction(self->cell, "y#", cell, (Py_ssize_t)length);
}

/* The change of a place by a store: its part, and the operation. Neither if the store touched no cell, or more than
 * one. Returns 0, or -1 with an exception. */
static int stores_place_values(Stores *self, State *state, uint64_t offset, uint32_t length,
                               const unsigned char *before, const unsigned char *after, uint32_t activation,
                               Values *values) {
    values->old = Py_NewRef(Py_None);
    values->new = Py_NewRef(Py_None);
    if (!state_is_cell(state, offset, length)) {
        values->part = Py_NewRef(Py_None);
        return 0;
    }
    const Place *place = state_place(state, offset, length);
    int begins = length != 0 && after[0] & CELL_BEGINS;
    PyObject *old = begins ? Py_NewRef(self->absent) : stores_cell_value(self, before, length);
    if (old == NULL) return -1;
    int same = !begins && memcmp(before, after, length) == 0;
    PyObject *new = same ? Py_NewRef(old) : stores_cell_value(self, after, length);
    if (new != NULL) {
        PyObject *number = activation == 0 ? NULL : PyLong_FromUnsignedLong(activation);
        PyObject *fields[] = {place != NULL ? place->path : self->unnamed, old, new, number};
        if (activation == 0 || number != NULL)
            values->part = PyObject_Vectorcall(self->make_part, fields, number == NULL ? 3 : 4, NULL);
        Py_XDECREF(number);
        unsigned flags = length < CELL_HEAD ? 0 : after[2];
        if (same) flags &= ~(CELL_CLEARED | CELL_REPLACED);
        if (length >= CELL_HEAD && !is_other((int)(after[0] & CELL_KIND))) flags &= ~CELL_MOVED;
        values->operation = self->operations[place_operation(old == self->absent, new == self->absent, flags)];
        if (place != NULL) values->aliases = place->aliases;
        if (place != NULL) values->aliases_cut = place->aliases_cut;
        Py_DECREF(new);
    }
    Py_DECREF(old);
    return values->part == NULL ? -1 : 0;
}

#endif
