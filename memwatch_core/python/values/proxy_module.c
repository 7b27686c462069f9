/* proxy_module.c - memwatch_core.native.proxy: the proxy types, and functions for Python. */
#include <string.h>

#include "breaks/breaks.h"
#include "errors.h"
#include "origins/bottom.h"
#include "origins/context.h"
#include "origins/endings.h"
#include "origins/frames.h"
#include "origins/labels.h"
#include "origins/stacks.h"
#include "locals/executing.h"
#include "locals/locals.h"
#include "places/cell.h"
#include "places/places.h"
#include "values/proxy.h"

enum { KINDS = 7 };
static const mwpy_kind *const kinds[KINDS] = {&mwpy_int,    &mwpy_float,  &mwpy_bytes, &mwpy_bytearray,
                                              &mwpy_struct, &mwpy_object, &mwpy_memory};
static PyTypeObject *types[KINDS];

static int find_kind(const char *name) {
    for (int i = 0; i < KINDS; i++)
        if (!strcmp(kinds[i]->name, name)) return i;
    PyErr_Format(PyExc_ValueError,
                 "no kind of proxy is called '%s': int, float, bytes, bytearray, struct, object, memory", name);
    return -1;
}

/* A large value of zeros that nobody has touched stays so. */
static int fill_memory(mwpy_proxy *self, const void *bytes) {
    if (self->pages < 2) {
        memcpy(mw_write_view(self->bytes), bytes, self->size);
        return 0;
    }
    int error = mw_page_fill(self->bytes, bytes, self->size);
    return error ? mwpy_raise(error, self->name) : 0;
}

PyDoc_STRVAR(create_doc, "create(kind, name, data, flags, depth_start, depth_stop, share, codec)\n--\n\n"
                         "A proxy of that kind whose page holds data, registered with the core.\n\n"
                         "codec: None; for struct (format, fields, make); for object (encode,\n"
                         "decode, options, buffer), buffer being None or (format, bytes of an item, shape).\n"
                         "data: any buffer; its bytes are copied.\n"
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
    if ((self->kind->init && self->kind->init(self, codec)) || mwpy_take_memory(self, share)) goto failed;
    if (fill_memory(self, data.buf)) goto failed;
    mw_depth depth = {start, stop};
    int64_t id = self->pages > 1 ? mw_register_page(self->bytes, self->pages * MW_PAGE_SIZE, flags, depth)
                                 : mw_register_range(self->bytes, self->size, flags, depth);
    if (id < 0) {
        mwpy_raise((int)id, name);
        goto failed;
    }
    self->id = (mw_variable_id)id;
    mwpy_note_imports();
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
    mw_ending ending = mwpy_unwatched(1); /* above the function of that name */
    if (value) mwpy_end_watch(self, &ending);
    return value;
}

PyDoc_STRVAR(end_elsewhere_doc,
             "end_elsewhere(proxy, gone, above)\n--\n\nIts value has left its memory, or is gone: ends "
             "the watch at the line of the frame that is so far above; False: it had ended.");
static PyObject *end_elsewhere(PyObject *module, PyObject *arguments) {
    (void)module;
    PyObject *object;
    int gone, above;
    if (!PyArg_ParseTuple(arguments, "Opi", &object, &gone, &above)) return NULL;
    mwpy_proxy *self = proxy_argument(object, "end_elsewhere()");
    if (!self) return NULL;
    if (!self->id) Py_RETURN_FALSE;
    mw_ending ending = mwpy_unwatched(above);
    ending.why = gone ? MW_END_DELETED : MW_END_MOVED;
    mwpy_end_watch(self, &ending);
    Py_RETURN_TRUE;
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
    if (yes < 0 || (yes && mwpy_prepare_origins())) return NULL;
    mw_set_origin_provider(yes ? mwpy_origin : NULL);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(keep_stacks_doc, "keep_stacks(limit)\n--\n\n"
                              "How many frames of a store's call stack are recorded, from now on; 1: its line alone.\n"
                              "CoreError if there is no memory for more.");
static PyObject *keep_stacks(PyObject *module, PyObject *limit) {
    (void)module;
    unsigned long number = PyLong_AsUnsignedLong(limit);
    if (PyErr_Occurred()) return NULL;
    int error = mwpy_keep_stacks(number < MWPY_STACK_MOST ? (unsigned)number : MWPY_STACK_MOST);
    if (error) {
        mwpy_raise(error, NULL);
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(leave_out_callers_doc,
             "leave_out_callers()\n--\n\nFrom now on, the functions that run now aren't recorded as callers.");
static PyObject *leave_out_callers(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    mwpy_leave_out_callers();
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"create", create, METH_VARARGS, create_doc},
    {"describe", describe, METH_VARARGS, describe_doc},
    {"get_info", get_info, METH_O, get_info_doc},
    {"end", end, METH_O, end_doc},
    {"end_elsewhere", end_elsewhere, METH_VARARGS, end_elsewhere_doc},
    {"is_proxy", is_proxy, METH_O, is_proxy_doc},
    {"set_context_variable", set_context_variable, METH_O, set_context_variable_doc},
    {"forget_sites", forget_sites, METH_NOARGS, forget_sites_doc},
    {"provide_origins", provide_origins, METH_O, provide_origins_doc},
    {"keep_stacks", keep_stacks, METH_O, keep_stacks_doc},
    {"leave_out_callers", leave_out_callers, METH_NOARGS, leave_out_callers_doc},
    {NULL, NULL, 0, NULL},
};

/* ---- installation ------------------------------------------------------------------------------------------------ */

/* Runs after the last line of Python: destructors during finalization are still recorded. */
static void at_exit(void) {
    mw_set_origin_provider(NULL);
    mw_journal_close(); /* NO_JOURNAL: already closed */
}

static int fill(PyObject *module) {
    if (mwpy_take_errors() || !(mwpy_base = (PyTypeObject *)PyType_FromSpec(&mwpy_base_spec)) ||
        PyModule_AddType(module, mwpy_base))
        return -1;
    for (int i = 0; i < KINDS; i++) {
        types[i] = (PyTypeObject *)PyType_FromSpecWithBases(kinds[i]->spec, (PyObject *)mwpy_base);
        if (!types[i] || PyModule_AddType(module, types[i])) return -1;
    }
    mwpy_base->tp_flags &= ~Py_TPFLAGS_BASETYPE; /* a subclass of the program's would have no page */
    if (Py_AtExit(at_exit)) {
        PyErr_SetString(PyExc_RuntimeError, "the interpreter has no room for one more exit function");
        return -1;
    }
    if (PyModule_AddIntConstant(module, "CELL", MWPY_CELL)) return -1;
    bool failed = PyModule_AddFunctions(module, functions) || PyModule_AddFunctions(module, mwpy_label_functions) ||
                  PyModule_AddFunctions(module, mwpy_places_functions) ||
                  PyModule_AddFunctions(module, mwpy_locals_functions) ||
                  PyModule_AddFunctions(module, mwpy_bottom_functions) ||
                  PyModule_AddFunctions(module, mwpy_executing_functions) || mwpy_add_types_of_locals(module) ||
                  PyModule_AddFunctions(module, mwpy_breaks_functions);
    return failed ? -1 : 0;
}

int mwpy_install(const char *name) {
    PyGILState_STATE state = PyGILState_Ensure(); /* cffi has released the GIL */
    PyObject *module = PyImport_ImportModule(name);
    int result = module && !mwpy_base ? fill(module) : -1;
    if (PyErr_Occurred()) PyErr_Print();
    Py_XDECREF(module);
    PyGILState_Release(state);
    return result;
}
