/* proxy.c - common to all proxies: page, announced writes, exported buffers, end of the watch. Their behaviour as
 * values is in proxy_value.c and in a file for each kind; proxy_module.c creates them. */
#include <errno.h>
#include <string.h>

#include "breaks/breaks.h"
#include "errors.h"
#include "origins/endings.h"
#include "origins/frames.h"
#include "values/proxy.h"

PyTypeObject *mwpy_base;

/* ---- announced writes -------------------------------------------------------------------------------------------- */

int mwpy_write(mwpy_proxy *self, size_t offset, const void *bytes, size_t n) {
    mwpy_announce(self->flags & MW_TRACK_SQL);
    int error = mw_write(self->id, offset, bytes, n);
    mwpy_announced();
    return error ? mwpy_raise(error, self->name) : mwpy_act();
}

/* ---- pages ------------------------------------------------------------------------------------------------------- */

/* A page shared by small variables. Places are handed out in order; the page is freed with the last of its variables.
 * Protected by the GIL. */
typedef struct mwpy_slab {
    unsigned char *page;
    size_t used, live;
} slab;
static slab *filling;
enum { CACHE_LINE = 64 };
enum { SHARED_MAX = MW_PAGE_SIZE / 4, SHARED_ALIGNMENT = 8 };

static void leave_slab(slab *s) {
    if (--s->live) return;
    if (s == filling) filling = NULL;
    mw_page_free(s->page, 1);
    PyMem_Free(s);
}

static unsigned char *enter_slab(mwpy_proxy *self) {
    size_t room = (self->size + SHARED_ALIGNMENT - 1) & ~(size_t)(SHARED_ALIGNMENT - 1);
    if (!filling || filling->used + room > MW_PAGE_SIZE) {
        slab *s = PyMem_Calloc(1, sizeof *s);
        if (!s || !(s->page = mw_page_alloc(1))) {
            PyMem_Free(s);
            return NULL;
        }
        filling = s;
    }
    self->slab = filling;
    filling->live++;
    unsigned char *place = filling->page + filling->used;
    filling->used += room;
    return place;
}

/* Offset of a value in its own page. It varies, because values at the beginning of every page would compete for a few
 * cache sets. */
static size_t place_in_page(const unsigned char *page, size_t size) {
    size_t lines = (MW_PAGE_SIZE - size) / CACHE_LINE + 1;
    return ((uintptr_t)page / MW_PAGE_SIZE) % lines * CACHE_LINE;
}

int mwpy_take_memory(mwpy_proxy *self, bool share) {
    if (share && self->size <= SHARED_MAX) {
        self->bytes = enter_slab(self);
    } else {
        self->pages = (self->size + MW_PAGE_SIZE - 1) / MW_PAGE_SIZE;
        self->bytes = mw_page_alloc(self->pages);
        if (self->bytes && self->pages == 1) self->bytes += place_in_page(self->bytes, self->size);
    }
    return self->bytes ? 0 : mwpy_raise(errno == EFBIG ? MW_ERR_FILE_SIZE : MW_ERR_NO_MEMORY, self->name);
}

static void give_memory_back(mwpy_proxy *self) {
    if (self->slab)
        leave_slab(self->slab);
    else if (self->bytes)
        mw_page_free((void *)((uintptr_t)self->bytes & ~(uintptr_t)(MW_PAGE_SIZE - 1)), self->pages);
    self->bytes = NULL;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

void mwpy_end_watch(mwpy_proxy *self, const mw_ending *ending) {
    mw_variable_id id = self->id;
    self->id = 0;
    mw_end_watch(id, ending); /* NO_VARIABLE: its session is already closed */
}

static bool is_plain(PyObject *value) {
    return PyLong_CheckExact(value) || PyFloat_CheckExact(value) || PyBool_Check(value) || PyBytes_CheckExact(value) ||
           PyByteArray_CheckExact(value);
}

static void end_with_last_reference(mwpy_proxy *self) {
    PyObject *now;
    mw_ending ending = mwpy_how_it_ends(self->name, &now);
    if (ending.why == MW_END_REBOUND && now) {
        if (mwpy_check(now)) ending.why = MW_END_REPLACED;
        if (is_plain(now)) ending.flags |= MW_END_PLAIN;
    }
    mwpy_end_watch(self, &ending);
}

void mwpy_dealloc(PyObject *object) {
    mwpy_proxy *self = (mwpy_proxy *)object;
    PyTypeObject *type = Py_TYPE(object);
    if (self->weakrefs) PyObject_ClearWeakRefs(object);
    if (self->id) end_with_last_reference(self); /* every buffer holds a reference, so there are none */
    give_memory_back(self);
    if (self->kind && self->kind->clear) self->kind->clear(self);
    Py_XDECREF(self->name);
    Py_XDECREF(self->info);
    Py_XDECREF(self->codec);
    type->tp_free(object);
    Py_DECREF(type);
}

/* ---- buffers ----------------------------------------------------------------------------------------------------- */

int mwpy_export(mwpy_proxy *self, Py_buffer *view, int flags, const mwpy_array *array, bool readonly) {
    view->obj = NULL;
    if (readonly && (flags & PyBUF_WRITABLE) == PyBUF_WRITABLE) {
        PyErr_Format(PyExc_BufferError,
                     "'%U' is watched as bytes, which nobody writes to in place: assign p.value, or "
                     "watch a bytearray",
                     self->name);
        return -1;
    }
    /* For the life of the view: the length may change later. */
    Py_ssize_t *shape = PyMem_Calloc(2 * MWPY_DIMENSIONS, sizeof *shape), *strides = shape + MWPY_DIMENSIONS;
    if (!shape) {
        PyErr_NoMemory();
        return -1;
    }
    Py_ssize_t n = array->itemsize;
    for (int i = array->ndim; i--; n *= shape[i]) {
        shape[i] = array->shape[i];
        strides[i] = n;
    }
    *view = (Py_buffer){
        .buf = array->start,
        .obj = Py_NewRef((PyObject *)self),
        .len = n,
        .itemsize = array->itemsize,
        .readonly = readonly,
        .ndim = array->ndim,
        .format = flags & PyBUF_FORMAT ? (char *)array->format : NULL,
        .shape = flags & PyBUF_ND && array->ndim ? shape : NULL,
        .strides = (flags & PyBUF_STRIDES) == PyBUF_STRIDES && array->ndim ? strides : NULL,
        .internal = shape,
    };
    self->exports++;
    return 0;
}

void mwpy_release(PyObject *object, Py_buffer *view) {
    ((mwpy_proxy *)object)->exports--;
    PyMem_Free(view->internal);
}
