/* proxy.c - the life of a proxy: page, registration, announced writes, exported buffers, end of the watch; and the
 * functions that Python gets. What a proxy does as a value is in proxy_value.c and in one file for each kind. */
#include <errno.h>
#include <string.h>

#include "adapter.h"

PyTypeObject *mwpy_base;
extern PyType_Spec mwpy_base_spec;

enum { KINDS = 6 };
static const mwpy_kind *const kinds[KINDS] = {&mwpy_int,       &mwpy_float,  &mwpy_bytes,
                                              &mwpy_bytearray, &mwpy_struct, &mwpy_object};
static PyTypeObject *types[KINDS];
static PyObject *core_error, *journal_full_error, *session_error;

/* ---- errors ------------------------------------------------------------------------------------------------------ */

static PyObject *no_journal(void) {
    const char *why = strerror(errno);
    char path[2048] = "";
    mw_journal_path(path, sizeof path);
    return PyUnicode_FromFormat("%s: %s (%s)", path, mw_strerror(MW_ERR_JOURNAL_OPEN), why);
}

int mwpy_raise(int error, PyObject *name) {
    if (name && (error == MW_ERR_NO_VARIABLE || error == MW_ERR_NO_JOURNAL)) {
        PyErr_Format(session_error,
                     "'%U' is no longer watched: unwatch() or the end of its session ended the watch. Its value is "
                     "unchanged; take p.value, or watch it again in a new session",
                     name);
        return -1;
    }
    PyObject *type = error == MW_ERR_JOURNAL_FULL ? journal_full_error : core_error;
    PyObject *text = error == MW_ERR_JOURNAL_OPEN ? no_journal() : PyUnicode_FromString(mw_strerror(error));
    if (text && name) Py_SETREF(text, PyUnicode_FromFormat("'%U': %U", name, text));
    PyObject *args = text ? Py_BuildValue("(iN)", error, text) : NULL;
    if (args) {
        PyErr_SetObject(type, args);
        Py_DECREF(args);
    }
    return -1;
}

/* ---- announced writes -------------------------------------------------------------------------------------------- */

int mwpy_write(mwpy_proxy *self, size_t offset, const void *bytes, size_t n) {
    mwpy_announce(self->flags & MW_TRACK_SQL);
    int error = mw_write(self->id, offset, bytes, n);
    mwpy_announced();
    return error ? mwpy_raise(error, self->name) : 0;
}

/* ---- pages ------------------------------------------------------------------------------------------------------- */

/* A page that several small variables share. Places are handed out one after the other; the page goes back when the
 * last of its variables is gone. Under the interpreter lock. */
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

/* Where in a page of its own a value lies: all at the beginning would mean all in the same few sets of every cache. */
static size_t place_in_page(const unsigned char *page, size_t size) {
    size_t lines = (MW_PAGE_SIZE - size) / CACHE_LINE + 1;
    return ((uintptr_t)page / MW_PAGE_SIZE) % lines * CACHE_LINE;
}

static int take_memory(mwpy_proxy *self, bool share) {
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

static void end_watch(mwpy_proxy *self) {
    mw_variable_id id = self->id;
    self->id = 0;
    if (id) mw_unregister_page(id); /* NO_VARIABLE: its session is closed already */
}

void mwpy_dealloc(PyObject *object) {
    mwpy_proxy *self = (mwpy_proxy *)object;
    PyTypeObject *type = Py_TYPE(object);
    if (self->weakrefs) PyObject_ClearWeakRefs(object);
    end_watch(self); /* every buffer holds a reference, so none is left */
    give_memory_back(self);
    if (self->kind && self->kind->clear) self->kind->clear(self);
    Py_XDECREF(self->name);
    Py_XDECREF(self->info);
    Py_XDECREF(self->codec);
    type->tp_free(object);
    Py_DECREF(type);
}

static int find_kind(const char *name) {
    for (int i = 0; i < KINDS; i++)
        if (!strcmp(kinds[i]->name, name)) return i;
    PyErr_Format(PyExc_ValueError, "no kind of proxy is called '%s': int, float, bytes, bytearray, struct, object",
                 name);
    return -1;
}

PyDoc_STRVAR(create_doc, "create(kind, name, data, flags, depth_start, depth_stop, share, codec)\n--\n\n"
                         "A proxy of that kind whose page holds data, registered with the core.\n\n"
                         "codec: None; for struct (format, fields, make); for object (encode,\n"
                         "decode, options, buffer), buffer being None or (format, bytes of an item, shape).\n"
                         "Raises CoreError, JournalFullError; ValueError if data doesn't have the kind's layout.");
static PyObject *create(PyObject *module, PyObject *args) {
    (void)module;
    const char *kind_name;
    PyObject *name, *codec;
    Py_buffer data;
    unsigned int flags;
    unsigned long long start, stop;
    int share;
    if (!PyArg_ParseTuple(args, "sUy*IKKpO", &kind_name, &name, &data, &flags, &start, &stop, &share, &codec))
        return NULL;
    mwpy_proxy *self = NULL;
    int kind = find_kind(kind_name);
    if (kind < 0) goto failed;
    if (data.len < 1) {
        PyErr_Format(PyExc_ValueError, "'%U' takes no bytes: there is nothing to watch", name);
        goto failed;
    }
    self = (mwpy_proxy *)types[kind]->tp_alloc(types[kind], 0);
    if (!self) goto failed;
    self->kind = kinds[kind];
    self->size = (size_t)data.len;
    self->flags = flags;
    self->name = Py_NewRef(name);
    self->info = Py_NewRef(Py_None);
    self->codec = Py_NewRef(codec);
    if ((self->kind->init && self->kind->init(self, codec)) || take_memory(self, share)) goto failed;
    memcpy(mw_write_view(self->bytes), data.buf, self->size);
    mw_depth depth = {start, stop};
    int64_t id = self->pages > 1 ? mw_register_page(self->bytes, self->pages * MW_PAGE_SIZE, flags, depth)
                                 : mw_register_range(self->bytes, self->size, flags, depth);
    if (id < 0) {
        mwpy_raise((int)id, name);
        goto failed;
    }
    self->id = (mw_variable_id)id;
    PyBuffer_Release(&data);
    return (PyObject *)self;
failed:
    PyBuffer_Release(&data);
    Py_XDECREF(self);
    return NULL;
}

static mwpy_proxy *proxy_argument(PyObject *object, const char *function) {
    if (mwpy_check(object)) return (mwpy_proxy *)object;
    PyErr_Format(PyExc_TypeError, "%s takes what watch() returned, not a plain %.100s", function,
                 Py_TYPE(object)->tp_name);
    return NULL;
}

PyDoc_STRVAR(describe_doc, "describe(proxy, metadata, info)\n--\n\n"
                           "Records metadata (bytes) for the proxy's variable; info is what get_info() returns.");
static PyObject *describe(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *object, *info;
    const char *metadata;
    Py_ssize_t n;
    if (!PyArg_ParseTuple(args, "Oy#O", &object, &metadata, &n, &info)) return NULL;
    mwpy_proxy *self = proxy_argument(object, "describe()");
    if (!self) return NULL;
    int error = mw_update_metadata(self->id, metadata, (size_t)n);
    if (error) {
        mwpy_raise(error, self->name);
        return NULL;
    }
    Py_SETREF(self->info, Py_NewRef(info));
    Py_RETURN_NONE;
}

PyDoc_STRVAR(get_info_doc, "get_info(proxy)\n--\n\n(variable id, size in bytes, exported buffers, info); id 0: ended.");
static PyObject *get_info(PyObject *module, PyObject *object) {
    (void)module;
    mwpy_proxy *self = proxy_argument(object, "variable()");
    return self ? Py_BuildValue("InnO", self->id, (Py_ssize_t)self->size, self->exports, self->info) : NULL;
}

PyDoc_STRVAR(end_doc, "end(proxy)\n--\n\nEnds the watch; the plain value. SessionError if it has ended.");
static PyObject *end(PyObject *module, PyObject *object) {
    (void)module;
    mwpy_proxy *self = proxy_argument(object, "unwatch()");
    if (!self) return NULL;
    PyObject *value = self->kind->get(self);
    if (value && !self->id) {
        Py_CLEAR(value);
        mwpy_raise(MW_ERR_NO_VARIABLE, self->name);
    }
    if (value) end_watch(self);
    return value;
}

PyDoc_STRVAR(is_proxy_doc, "is_proxy(object)\n--\n\nWhether watch() made this object.");
static PyObject *is_proxy(PyObject *module, PyObject *object) {
    (void)module;
    return PyBool_FromLong(mwpy_check(object));
}

PyDoc_STRVAR(
    set_context_variable_doc,
    "set_context_variable(variable)\n--\n\n"
    "Names the ContextVar whose value (an int, a statement) is the SQL context of every store; None for none.");
static PyObject *set_context_variable(PyObject *module, PyObject *object) {
    (void)module;
    if (mwpy_set_context_variable(object)) return NULL;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(forget_sites_doc, "forget_sites()\n--\n\nLets go of the code objects that the cache of sites holds.");
static PyObject *forget_sites(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    mwpy_forget_sites();
    Py_RETURN_NONE;
}

PyDoc_STRVAR(provide_origins_doc, "provide_origins(on)\n--\n\n"
                                  "Whether stores are traced to Python frames: off before the interpreter ends.");
static PyObject *provide_origins(PyObject *module, PyObject *on) {
    (void)module;
    int yes = PyObject_IsTrue(on);
    if (yes < 0) return NULL;
    mw_set_origin_provider(yes ? mwpy_origin : NULL);
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"create", create, METH_VARARGS, create_doc},
    {"describe", describe, METH_VARARGS, describe_doc},
    {"get_info", get_info, METH_O, get_info_doc},
    {"end", end, METH_O, end_doc},
    {"is_proxy", is_proxy, METH_O, is_proxy_doc},
    {"set_context_variable", set_context_variable, METH_O, set_context_variable_doc},
    {"forget_sites", forget_sites, METH_NOARGS, forget_sites_doc},
    {"provide_origins", provide_origins, METH_O, provide_origins_doc},
    {NULL, NULL, 0, NULL},
};

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
    /* For the life of the view: the length may change after it. */
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

/* ---- installation ------------------------------------------------------------------------------------------------ */

/* After the last line of Python: destructors that run while the interpreter ends are still recorded. */
static void at_exit(void) {
    mw_set_origin_provider(NULL);
    mw_journal_close(); /* NO_JOURNAL: closed already */
}

static int get_error(PyObject *errors, const char *name, PyObject **out) {
    *out = PyObject_GetAttrString(errors, name);
    return *out ? 0 : -1;
}

static int fill(PyObject *module) {
    PyObject *errors = PyImport_ImportModule("memwatch_core.errors");
    if (!errors) return -1;
    int failed = get_error(errors, "CoreError", &core_error) ||
                 get_error(errors, "JournalFullError", &journal_full_error) ||
                 get_error(errors, "SessionError", &session_error);
    Py_DECREF(errors);
    if (failed || !(mwpy_base = (PyTypeObject *)PyType_FromSpec(&mwpy_base_spec)) ||
        PyModule_AddType(module, mwpy_base))
        return -1;
    for (int i = 0; i < KINDS; i++) {
        types[i] = (PyTypeObject *)PyType_FromSpecWithBases(kinds[i]->spec, (PyObject *)mwpy_base);
        if (!types[i] || PyModule_AddType(module, types[i])) return -1;
    }
    mwpy_base->tp_flags &= ~Py_TPFLAGS_BASETYPE; /* a class of the program's own would have no page */
    if (Py_AtExit(at_exit)) {
        PyErr_SetString(PyExc_RuntimeError, "the interpreter has no room for one more exit function");
        return -1;
    }
    return PyModule_AddFunctions(module, functions);
}

int mwpy_install(const char *name) {
    PyGILState_STATE state = PyGILState_Ensure(); /* cffi has released the lock */
    PyObject *module = PyImport_ImportModule(name);
    int result = module && !mwpy_base ? fill(module) : -1;
    if (PyErr_Occurred()) PyErr_Print();
    Py_XDECREF(module);
    PyGILState_Release(state);
    return result;
}
