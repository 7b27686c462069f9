/* proxy.h - the proxies of watched values.
 *
 * A proxy is a Python object whose value is in a page of the core's arena. It reads the watched view. Every mutation is
 * an announced write by mwpy_write, with the GIL held from the read to the write: so an in-place operator on builtin
 * operands is atomic for other Python threads. The buffer protocol exports the watched view itself: writes to it fault,
 * and the core sees them. */
#ifndef MEMWATCH_PYTHON_PROXY_H
#define MEMWATCH_PYTHON_PROXY_H
#include "adapter.h"

typedef struct mwpy_proxy mwpy_proxy;

/* The operations of one kind of value. */
typedef struct mwpy_kind {
    const char *name; /* Layout.proxy */
    PyType_Spec *spec;
    int (*init)(mwpy_proxy *self, PyObject *codec); /* checks size and codec; may be NULL */
    PyObject *(*get)(mwpy_proxy *self);             /* the plain value, a new reference */
    int (*set)(mwpy_proxy *self, PyObject *value);  /* stores a plain value: one announced write, or an exception */
    void (*clear)(mwpy_proxy *self);                /* frees `extra`; may be NULL */
} mwpy_kind;

struct mwpy_proxy {
    PyObject_HEAD const mwpy_kind *kind;
    unsigned char *bytes; /* the watched view: always readable, never written to directly */
    size_t size;          /* bytes of the variable */
    mw_variable_id id;    /* 0 once the watch has ended */
    uint32_t flags;
    size_t pages; /* number of own pages; 0: on a shared page */
    struct mwpy_slab *slab;
    Py_ssize_t exports; /* exported buffers that weren't released yet */
    PyObject *name;     /* str */
    PyObject *info;     /* the result of variable() */
    PyObject *codec;    /* specific to the kind: see proxy_struct.c, proxy_object.c */
    void *extra;        /* specific to the kind */
    PyObject *weakrefs;
};

extern const mwpy_kind mwpy_int, mwpy_float, mwpy_bytes, mwpy_bytearray, mwpy_struct, mwpy_object, mwpy_memory;
extern PyType_Spec mwpy_base_spec;
extern PyTypeObject *mwpy_base; /* base type of the kinds' types */

static inline bool mwpy_check(PyObject *object) { return PyObject_TypeCheck(object, mwpy_base); }

/* The plain value of a proxy, any other object unchanged; a new reference, or NULL. */
static inline PyObject *mwpy_plain(PyObject *object) {
    return mwpy_check(object) ? ((mwpy_proxy *)object)->kind->get((mwpy_proxy *)object) : Py_NewRef(object);
}

/* Announced write of `n` bytes at `offset`. 0, or -1 with SessionError, JournalFullError or CoreError and the value
 * unchanged. */
int mwpy_write(mwpy_proxy *self, size_t offset, const void *bytes, size_t n);

/* Allocates pages, or a place on a shared page. 0, or -1 with an exception. */
int mwpy_take_memory(mwpy_proxy *self, bool share);
/* The memory stays until the proxy is freed. */
void mwpy_end_watch(mwpy_proxy *self, const mw_ending *ending);
void mwpy_dealloc(PyObject *object);

/* p.name = value for the proxy itself: "value", or else the kind's refusal. */
int mwpy_set_value(mwpy_proxy *self, PyObject *value);

/* An in-place operator on a proxy: computes with the plain value, stores the result, returns the same proxy. */
PyObject *mwpy_in_place(PyObject *self, PyObject *other, binaryfunc op);

/* value.method(*args) on the plain value; changes to the value itself are lost. */
PyObject *mwpy_call_on_value(PyObject *self, const char *method, PyObject *args);

/* value[key], `what in value`, iter(value), on the plain value; key and what may be proxies. */
PyObject *mwpy_subscript(PyObject *self, PyObject *key);
int mwpy_contains(PyObject *self, PyObject *what);
PyObject *mwpy_iterate(PyObject *self);

/* __round__, __floor__, __ceil__, __trunc__, __bytes__ of the plain value. */
extern PyMethodDef mwpy_conversions[];
PyObject *mwpy_to_bytes(PyObject *self, PyObject *unused); /* __bytes__ */

/* The shape of an exported buffer, in C order. A single number has no dimension, so that numpy sees a scalar. */
enum { MWPY_DIMENSIONS = 8 };
typedef struct mwpy_array {
    unsigned char *start;
    const char *format; /* of an item, as in the struct module; lives as long as the proxy */
    Py_ssize_t itemsize, shape[MWPY_DIMENSIONS];
    int ndim;
} mwpy_array;

/* Fills a buffer request and counts the export. 0, or -1 with BufferError or MemoryError. */
int mwpy_export(mwpy_proxy *self, Py_buffer *view, int flags, const mwpy_array *array, bool readonly);
void mwpy_release(PyObject *self, Py_buffer *view);

/* Creates the types, and the functions of proxy_module.c, in the module of that name. Apart from mwpy_install_tracer,
 * the only function here that Python calls through cffi. 0, or -1 after printing the exception. */
int mwpy_install(const char *module);
#endif
