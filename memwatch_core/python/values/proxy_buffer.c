/* proxy_buffer.c - bytes and bytearray: 8 bytes of length (little-endian), then room for `capacity` bytes.
 *
 * A mutation that keeps the length is one write of the assigned bytes. One that changes the length is one write from
 * the length field to the last byte moved, so that no event shows a length without its bytes. There are two cases of
 * two writes instead, first the bytes moved, then the length: if one event can't hold it all; and if a value too large
 * to be shown whole gets shorter, because one event would have to hold all bytes that are moved or cut off. Mutations
 * without a fast path are tried on a plain copy first: its exception is raised, and only on success is the page
 * written.
 *
 * The buffer protocol exports the content, never the length field. As with a plain bytearray, the length can't change
 * while a buffer is exported. */
#include <string.h>

#include "breaks/breaks.h"
#include "errors.h"
#include "origins/frames.h"
#include "values/proxy.h"

enum { HEADER = 8, TOLD_WHOLE = 65536 };

static size_t capacity_of(const mwpy_proxy *self) { return self->size - HEADER; }
static unsigned char *content_of(const mwpy_proxy *self) { return self->bytes + HEADER; }

static size_t length_of(const mwpy_proxy *self) {
    uint64_t n;
    memcpy(&n, self->bytes, sizeof n);
    return n < capacity_of(self) ? n : capacity_of(self);
}

static int check_size(mwpy_proxy *self, PyObject *codec) {
    (void)codec;
    if (self->size >= HEADER) return 0;
    PyErr_Format(PyExc_ValueError, "'%U': bytes take 8 bytes and their capacity, the serializer gave %zu", self->name,
                 self->size);
    return -1;
}

static PyObject *get_bytes(mwpy_proxy *self) {
    return PyBytes_FromStringAndSize((char *)content_of(self), (Py_ssize_t)length_of(self));
}
static PyObject *get_bytearray(mwpy_proxy *self) {
    return PyByteArray_FromStringAndSize((char *)content_of(self), (Py_ssize_t)length_of(self));
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static int refuse_length(mwpy_proxy *self, size_t n) {
    if (n > capacity_of(self))
        PyErr_Format(
            PyExc_ValueError,
            "%zu bytes don't fit in '%U', which has room for %zu; the value is unchanged. Give it more room when "
            "it is watched: watch(..., capacity=%zu)",
            n, self->name, capacity_of(self), n);
    else
        PyErr_SetString(PyExc_BufferError, "Existing exports of data: object cannot be re-sized");
    return -1;
}

/* Stores bytes [first, moved) of n at `content`, then the length n; both with the same site. */
static int write_long(mwpy_proxy *self, const char *content, size_t n, size_t first, size_t moved) {
    uint64_t length = n;
    mw_piece pieces[] = {{HEADER + first, content + first, moved - first}, {0, &length, HEADER}};
    mwpy_announce(self->flags & MW_TRACK_SQL);
    int error = mw_write_pieces(self->id, pieces, 2);
    mwpy_announced();
    return error ? mwpy_raise(error, self->name) : mwpy_act();
}

/* Stores length n and the first `moved` of n bytes at `content`, in one write; the first `same` are unchanged. */
static int write_resized(mwpy_proxy *self, const char *content, size_t n, size_t same, size_t moved) {
    size_t told = self->size > TOLD_WHOLE && length_of(self) > n ? length_of(self) : moved;
    if (moved && told + HEADER > MW_EVENT_MAX) return write_long(self, content, n, same, moved);
    char room[512], *record = moved + HEADER <= sizeof room ? room : PyMem_Malloc(moved + HEADER);
    if (!record) {
        PyErr_NoMemory();
        return -1;
    }
    uint64_t length = n;
    memcpy(record, &length, HEADER);
    memcpy(record + HEADER, content, moved);
    int result = mwpy_write(self, 0, record, moved + HEADER);
    if (record != room) PyMem_Free(record);
    return result;
}

/* Sets the value to the n bytes at `content`; if the length is unchanged, [first, last) were assigned. */
static int store(mwpy_proxy *self, const char *content, size_t n, size_t first, size_t last) {
    size_t old = length_of(self);
    if (n == old) return first < last ? mwpy_write(self, HEADER + first, content + first, last - first) : 0;
    if (n > capacity_of(self) || self->exports) return refuse_length(self, n);
    size_t moved = n, same = 0;
    while (same < old && same < n && content_of(self)[same] == (unsigned char)content[same]) same++;
    if (n < old) /* bytes that don't move aren't written */
        while (moved > same && content_of(self)[moved - 1] == (unsigned char)content[moved - 1]) moved--;
    if (moved == same) moved = 0;
    return write_resized(self, content, n, same, moved);
}

static int set_buffer(mwpy_proxy *self, PyObject *value) {
    if (!PyBytes_Check(value) && !PyByteArray_Check(value) && !PyMemoryView_Check(value)) {
        PyErr_Format(PyExc_TypeError, "'%U' is watched as %s and can't become %.100s; the value is unchanged",
                     self->name, self->kind->name, Py_TYPE(value)->tp_name);
        return -1;
    }
    PyObject *copy = PyBytes_FromObject(value); /* it may be a view of this page */
    if (!copy) return -1;
    const char *content = PyBytes_AS_STRING(copy);
    size_t n = (size_t)PyBytes_GET_SIZE(copy);
    int result = n == 0 && length_of(self) == 0 ? write_resized(self, content, 0, 0, 0) : /* assigned, so an event */
                     n == length_of(self)                 ? store(self, content, n, 0, n)
                 : n > capacity_of(self) || self->exports ? refuse_length(self, n)
                                                          : write_resized(self, content, n, 0, n);
    Py_DECREF(copy);
    return result;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static Py_ssize_t length(PyObject *self) { return (Py_ssize_t)length_of((mwpy_proxy *)self); }

static PyObject *item(PyObject *self, Py_ssize_t i) {
    mwpy_proxy *p = (mwpy_proxy *)self;
    if (i >= 0 && (size_t)i < length_of(p)) return PyLong_FromLong(content_of(p)[i]);
    PyErr_Format(PyExc_IndexError, "%s index out of range", p->kind->name);
    return NULL;
}

static int export_content(PyObject *self, Py_buffer *view, int flags, bool readonly) {
    mwpy_proxy *p = (mwpy_proxy *)self;
    mwpy_array array = {content_of(p), "B", 1, {(Py_ssize_t)length_of(p)}, 1};
    return mwpy_export(p, view, flags, &array, readonly);
}
static int export_bytes(PyObject *self, Py_buffer *view, int flags) { return export_content(self, view, flags, true); }
static int export_bytearray(PyObject *self, Py_buffer *view, int flags) {
    return export_content(self, view, flags, false);
}

static PyObject *bytes_of(PyObject *self, PyObject *unused) {
    (void)unused;
    return get_bytes((mwpy_proxy *)self);
}

/* ---- bytearray's mutations --------------------------------------------------------------------------------------- */

/* Stores a mutated plain copy, unless an exception was raised. Consumes both references. */
static PyObject *keep(mwpy_proxy *self, PyObject *copy, PyObject *result, size_t first, size_t last) {
    if (result && store(self, PyByteArray_AS_STRING(copy), (size_t)PyByteArray_GET_SIZE(copy), first, last))
        Py_CLEAR(result);
    Py_XDECREF(copy);
    return result;
}

static PyObject *mutate(PyObject *self, const char *method, PyObject *args, size_t last) {
    PyObject *copy = mwpy_plain(self), *bound = copy ? PyObject_GetAttrString(copy, method) : NULL;
    PyObject *result = bound ? PyObject_Call(bound, args, NULL) : NULL;
    Py_XDECREF(bound);
    return keep((mwpy_proxy *)self, copy, result, 0, last);
}

#define MUTATION(name, method)                                                                                         \
    static PyObject *name(PyObject *self, PyObject *args) { return mutate(self, method, args, 0); }
MUTATION(append, "append")
MUTATION(insert, "insert")
MUTATION(pop, "pop")
MUTATION(remove_byte, "remove")
MUTATION(clear, "clear")
static PyObject *reverse(PyObject *self, PyObject *args) { return mutate(self, "reverse", args, (size_t)length(self)); }

/* The operand is converted to bytes before the value is read: an iterator may run any code. */
static PyObject *extend(PyObject *self, PyObject *operand) {
    PyObject *more = PyByteArray_FromStringAndSize(NULL, 0), *plain = more ? mwpy_plain(operand) : NULL;
    PyObject *result = plain ? PyObject_CallMethod(more, "extend", "O", plain) : NULL;
    Py_XDECREF(plain);
    if (!result) {
        Py_XDECREF(more);
        return NULL;
    }
    PyObject *copy = mwpy_plain(self), *longer = copy ? PyByteArray_Concat(copy, more) : NULL;
    Py_XDECREF(copy);
    Py_DECREF(more);
    if (!longer) {
        Py_DECREF(result);
        return NULL;
    }
    return keep((mwpy_proxy *)self, longer, result, 0, 0);
}

static PyObject *in_place_on_copy(PyObject *self, PyObject *operand, binaryfunc op) {
    PyObject *copy = mwpy_plain(self), *plain = copy ? mwpy_plain(operand) : NULL;
    PyObject *result = plain ? op(copy, plain) : NULL;
    Py_XDECREF(plain);
    if (result && !PyByteArray_CheckExact(result)) { /* the operand's type overrode the operator */
        Py_DECREF(copy);
        int failed = set_buffer((mwpy_proxy *)self, result);
        Py_DECREF(result);
        return failed ? NULL : Py_NewRef(self);
    }
    Py_XDECREF(copy);
    result = keep((mwpy_proxy *)self, result, result ? Py_NewRef(self) : NULL, 0, 0);
    return result;
}
static PyObject *in_place_concat(PyObject *self, PyObject *operand) {
    return in_place_on_copy(self, operand, PyNumber_InPlaceAdd);
}
static PyObject *in_place_repeat(PyObject *self, PyObject *operand) {
    return in_place_on_copy(self, operand, PyNumber_InPlaceMultiply);
}

static int assign_index(mwpy_proxy *self, PyObject *key, PyObject *value) {
    Py_ssize_t i = PyNumber_AsSsize_t(key, PyExc_IndexError), n = (Py_ssize_t)length_of(self);
    if (i == -1 && PyErr_Occurred()) return -1;
    int overflow = 0;
    long number = PyLong_AsLongAndOverflow(value, &overflow);
    if (number == -1 && PyErr_Occurred()) return -1;
    if (overflow || number < 0 || number > 255) {
        PyErr_SetString(PyExc_ValueError, "byte must be in range(0, 256)");
        return -1;
    }
    i += i < 0 ? n : 0;
    if (i < 0 || i >= n) {
        PyErr_SetString(PyExc_IndexError, "bytearray index out of range");
        return -1;
    }
    unsigned char byte = (unsigned char)number;
    return mwpy_write(self, HEADER + (size_t)i, &byte, 1);
}

/* The range of bytes that a slice assignment writes if the length is unchanged: [*first, *last). */
static int slice_span(mwpy_proxy *self, PyObject *key, size_t *first, size_t *last) {
    Py_ssize_t start, stop, step;
    if (PySlice_Unpack(key, &start, &stop, &step)) return -1;
    Py_ssize_t n = PySlice_AdjustIndices((Py_ssize_t)length_of(self), &start, &stop, step);
    Py_ssize_t end = start + (n - 1) * step;
    *first = n ? (size_t)(step > 0 ? start : end) : 0;
    *last = n ? (size_t)(step > 0 ? end : start) + 1 : 0;
    return 0;
}

static int assign_subscript(PyObject *object, PyObject *key, PyObject *value) {
    mwpy_proxy *self = (mwpy_proxy *)object;
    if (PyLong_CheckExact(key) && value && PyLong_CheckExact(value)) return assign_index(self, key, value);
    PyObject *plain_key = mwpy_plain(key), *plain = plain_key && value ? mwpy_plain(value) : NULL;
    PyObject *copy = plain_key && (plain || !value) ? mwpy_plain(object) : NULL;
    int result = -1;
    size_t first = 0, last = 0;
    if (copy && value && PyIndex_Check(plain_key) && PyIndex_Check(plain)) {
        PyObject *index = PyNumber_Index(plain_key), *byte = index ? PyNumber_Index(plain) : NULL;
        result = byte ? assign_index(self, index, byte) : -1;
        Py_XDECREF(index);
        Py_XDECREF(byte);
    } else if (copy && !(value ? PyObject_SetItem(copy, plain_key, plain) : PyObject_DelItem(copy, plain_key)) &&
               (!PySlice_Check(plain_key) || !slice_span(self, plain_key, &first, &last))) {
        result = store(self, PyByteArray_AS_STRING(copy), (size_t)PyByteArray_GET_SIZE(copy), first, last);
    }
    Py_XDECREF(plain_key);
    Py_XDECREF(plain);
    Py_XDECREF(copy);
    return result;
}

/* ---- types ------------------------------------------------------------------------------------------------------- */

static PyMethodDef bytes_methods[] = {
    {"__bytes__", bytes_of, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot bytes_slots[] = {
    {Py_tp_doc, "Watched bytes of at most `capacity`: assign p.value, or p += more."},
    {Py_tp_methods, bytes_methods},
    {Py_tp_iter, mwpy_iterate},
    {Py_sq_length, length},
    {Py_sq_item, item},
    {Py_sq_contains, mwpy_contains},
    {Py_mp_length, length},
    {Py_mp_subscript, mwpy_subscript},
    {Py_bf_getbuffer, export_bytes},
    {Py_bf_releasebuffer, mwpy_release},
    {0, NULL},
};
static PyType_Spec bytes_spec = {"memwatch_core.native.proxy.Bytes", sizeof(mwpy_proxy), 0,
                                 Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
                                 bytes_slots};
const mwpy_kind mwpy_bytes = {"bytes", &bytes_spec, check_size, get_bytes, set_buffer, NULL};

static PyMethodDef bytearray_methods[] = {
    {"append", append, METH_VARARGS, NULL},      {"extend", extend, METH_O, NULL},
    {"insert", insert, METH_VARARGS, NULL},      {"pop", pop, METH_VARARGS, NULL},
    {"remove", remove_byte, METH_VARARGS, NULL}, {"clear", clear, METH_VARARGS, NULL},
    {"reverse", reverse, METH_VARARGS, NULL},    {NULL, NULL, 0, NULL},
};
static PyType_Slot bytearray_slots[] = {
    {Py_tp_doc, "A watched bytearray of at most `capacity` bytes."},
    {Py_tp_methods, bytearray_methods},
    {Py_tp_iter, PySeqIter_New}, /* as for a plain one: sees writes during iteration */
    {Py_sq_length, length},
    {Py_sq_item, item},
    {Py_sq_contains, mwpy_contains},
    {Py_mp_length, length},
    {Py_mp_subscript, mwpy_subscript},
    {Py_mp_ass_subscript, assign_subscript},
    {Py_nb_inplace_add, in_place_concat},
    {Py_nb_inplace_multiply, in_place_repeat},
    {Py_bf_getbuffer, export_bytearray},
    {Py_bf_releasebuffer, mwpy_release},
    {0, NULL},
};
static PyType_Spec bytearray_spec = {"memwatch_core.native.proxy.ByteArray", sizeof(mwpy_proxy), 0,
                                     Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
                                     bytearray_slots};
const mwpy_kind mwpy_bytearray = {"bytearray", &bytearray_spec, check_size, get_bytearray, set_buffer, NULL};
