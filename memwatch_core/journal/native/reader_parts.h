/* reader_parts.h - part of reader.c: the part of a value that a store touched, found by its serializer. */
#ifndef MEMWATCH_READER_PARTS_H
#define MEMWATCH_READER_PARTS_H
#include "reader_stores.h"

#include <string.h>

/* A checked Extent: a part of a variable. name is borrowed from the state. */
typedef struct part {
    PyObject *name, *decode; /* NULL: none */
    PyObject *decode_old;    /* NULL: decode */
    uint64_t start, stop;
} Part;

static int part_from(const State *state, uint64_t offset, uint64_t stop, Part *part) {
    long long start, end;
    if (!PyTuple_Check(state->extent) ||
        !PyArg_ParseTuple(state->extent, "ULLO|O", &part->name, &start, &end, &part->decode, &part->decode_old) ||
        start < 0 || (uint64_t)start > offset || end < 0 || (uint64_t)end < stop || (uint64_t)end > state->size)
        return -1;
    if (part->decode_old == Py_None) part->decode_old = NULL;
    part->start = (uint64_t)start;
    part->stop = (uint64_t)end;
    return 0;
}

/* Finds the part that contains the bytes [offset, offset + length). before and after: the bytes around a store, or
 * NULL. Caches the last result. -1 with an exception. */
static int stores_find_part(Stores *self, State *state, uint64_t offset, uint64_t length, const unsigned char *before,
                            const unsigned char *after, Part *part) {
    *part = (Part){0};
    if (!state->parted || offset >= state->size || length == 0) return 0;
    uint64_t stop = length < state->size - offset ? offset + length : state->size;
    unsigned char heads[2 * HEAD];
    uint32_t head = state->head == 0 ? 0 : state_head(state, offset, before, length, heads);
    if (state->head != 0) state_head(state, offset, after, length, heads + head);
    if (state->extent == NULL || state->extent_at != offset || state->extent_length != length ||
        state->extent_head != head || (head != 0 && memcmp(state->heads, heads, 2 * head) != 0)) {
        PyObject *extent = state->head == 0
                               ? PyObject_CallFunction(state->part, "KKO", offset, stop, state->options)
                               : PyObject_CallFunction(state->part, "KKOy#y#", offset, stop, state->options, heads,
                                                       (Py_ssize_t)head, heads + head, (Py_ssize_t)head);
        if (extent == NULL) {
            if (stores_take_failure(self, state) < 0) return -1;
            extent = Py_NewRef(Py_None);
        }
        Py_XSETREF(state->extent, extent);
        state->extent_at = offset;
        state->extent_length = length;
        state->extent_head = head;
        if (head != 0) memcpy(state->heads, heads, 2 * head);
    }
    if (state->extent == Py_None || part_from(state, offset, stop, part) == 0) return 0;
    *part = (Part){0};
    if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "not an Extent that the bytes lie in");
    Py_XSETREF(state->extent, Py_NewRef(Py_None));
    return stores_take_failure(self, state);
}

/* The bytes of a part: from the shadow, or from those that a store touched. A new reference; None if unknown. */
static PyObject *part_bytes(const State *state, const Part *part, uint64_t offset, const unsigned char *data,
                            uint64_t length) {
    Py_ssize_t count = (Py_ssize_t)(part->stop - part->start);
    if (state->shadow != NULL) return PyBytes_FromStringAndSize((const char *)state->shadow + part->start, count);
    if (part->start < offset || part->stop > offset + length) return Py_NewRef(Py_None);
    return PyBytes_FromStringAndSize((const char *)data + (part->start - offset), count);
}

/* Decodes the bytes of a part, and consumes their reference. A new reference. */
static PyObject *stores_decode_part(Stores *self, State *state, PyObject *decode, PyObject *bytes) {
    if (bytes == NULL || bytes == Py_None) return bytes;
    PyObject *value = PyObject_CallOneArg(decode, bytes);
    Py_DECREF(bytes);
    return value != NULL || stores_take_failure(self, state) < 0 ? value : Py_NewRef(Py_None);
}

static PyObject *stores_make_part(Stores *self, const Part *part, PyObject *old, PyObject *new) {
    return PyObject_CallFunctionObjArgs(self->make_part, part->name, old, new, NULL);
}

/* A Part with the values before and after a store; a new reference. Consumes old, which may be NULL. */
static PyObject *stores_changed_part(Stores *self, State *state, const Part *part, PyObject *old, int changed,
                                     uint64_t offset, const unsigned char *after, uint64_t length) {
    if (part->name == NULL || old == NULL) return old;
    PyObject *new = !changed && part->decode_old == NULL
                        ? Py_NewRef(old)
                        : stores_decode_part(self, state, part->decode, part_bytes(state, part, offset, after, length));
    PyObject *made = new == NULL ? NULL : stores_make_part(self, part, old, new);
    Py_DECREF(old);
    Py_XDECREF(new);
    return made;
}

#endif
