/* locals.c - see locals.h. */
#define Py_BUILD_CORE_MODULE 1
#include "locals/locals.h"

#include "locals/binding.h"
#include "locals/function.h"
#include "origins/endings.h"
#include "places/slab.h"

PyDoc_STRVAR(open_doc, "open_function(name, metadata, flags, info, parameters, shared, constant)\n--\n\n"
                       "A function whose names are watched: where its truth is asked for, an activation begins.\n\n"
                       "metadata: JSON without its last brace. parameters: tuple of (name, slot,\n"
                       "whether the slot has a cell). shared: slots of cells that inner functions bind.");
PyDoc_STRVAR(site_doc, "local_site(function, kind, does, slot, name, own, constant, depth)\n--\n\n"
                       "What announces bindings of a name, where its truth is asked for. own: in the function's own\n"
                       "code.");
PyDoc_STRVAR(end_doc, "end_function(function)\n--\n\nEnds the watch of its names.");
PyDoc_STRVAR(find_doc, "find_function(function)\n--\n\n(variable id, 0: it has none yet; bytes; info)");
PyDoc_STRVAR(judge_doc, "judge_function(function, program, handle)\n--\n\n"
                        "Has what its names are bound to judged, in each journal; None: by this handle no more.");
PyDoc_STRVAR(
    record_doc,
    "record_locals(on[, flags])\n--\n\nWhether a journal is open, and the core's flags for variables in it; all\n"
    "watches of the one before have ended.");

static mwpy_function *as_function(PyObject *object) {
    if (mwpy_function_check(object)) return (mwpy_function *)object;
    PyErr_SetString(PyExc_TypeError, "what open_function() returns is expected");
    return NULL;
}

static int take_parameters(mwpy_function *f, PyObject *parameters) {
    f->parameters = PyMem_Calloc((size_t)PyTuple_GET_SIZE(parameters) + 1, sizeof *f->parameters);
    for (Py_ssize_t i = 0; f->parameters && i < PyTuple_GET_SIZE(parameters); i++) {
        PyObject *name;
        unsigned slot;
        int cell, local;
        if (!PyArg_ParseTuple(PyTuple_GET_ITEM(parameters, i), "UIp", &name, &slot, &cell) ||
            (local = mwpy_function_local(f, name)) < 0)
            return -1;
        f->parameters[f->parameters_n++] = (mwpy_parameter){(unsigned)local, slot, cell};
    }
    return f->parameters ? 0 : -1;
}

static int take_shared(mwpy_function *f, PyObject *shared) {
    f->shared = PyMem_Calloc((size_t)PyTuple_GET_SIZE(shared) + 1, sizeof *f->shared);
    for (Py_ssize_t i = 0; f->shared && i < PyTuple_GET_SIZE(shared); i++)
        f->shared[f->shared_n++] = (unsigned)PyLong_AsUnsignedLong(PyTuple_GET_ITEM(shared, i));
    return f->shared && !PyErr_Occurred() ? 0 : -1;
}

static PyObject *open_function(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *name, *metadata, *info, *parameters, *shared;
    unsigned flags, constant;
    if (!PyArg_ParseTuple(args, "USIOO!O!I", &name, &metadata, &flags, &info, &PyTuple_Type, &parameters, &PyTuple_Type,
                          &shared, &constant))
        return NULL;
    PyTypeObject *type = mwpy_function_type();
    mwpy_function *f = type ? (mwpy_function *)type->tp_alloc(type, 0) : NULL;
    if (!f) return NULL;
    f->name = Py_NewRef(name);
    f->metadata = Py_NewRef(metadata);
    f->info = Py_NewRef(info);
    f->flags = flags;
    f->where.constant = constant;
    if (!take_parameters(f, parameters) && !take_shared(f, shared)) return (PyObject *)f;
    if (!PyErr_Occurred()) PyErr_NoMemory();
    Py_DECREF(f);
    return NULL;
}

static PyObject *local_site(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *function, *name;
    mwpy_binding_site site = {0};
    int own;
    if (!PyArg_ParseTuple(args, "OIIIUpII", &function, &site.kind, &site.does, &site.slot, &name, &own,
                          &site.where.constant, &site.where.depth) ||
        !as_function(function))
        return NULL;
    site.own = own;
    return mwpy_binding_new(function, name, &site);
}

static PyObject *end_function(PyObject *module, PyObject *object) {
    (void)module;
    mwpy_function *f = as_function(object);
    if (!f) return NULL;
    mwpy_function_ends(f, mwpy_unwatched(1)); /* above a function of ours */
    Py_RETURN_NONE;
}

static PyObject *find_function(PyObject *module, PyObject *object) {
    (void)module;
    mwpy_function *f = as_function(object);
    if (!f) return NULL;
    bool open = f->epoch && f->epoch == mwpy_locals_epoch;
    size_t size = 0;
    for (unsigned i = 0; open && i < f->cells.slabs; i++) size += f->cells.slab[i].pages * MW_PAGE_SIZE;
    return Py_BuildValue("InO", open ? f->cells.slab[0].id : 0, (Py_ssize_t)size, f->info);
}

static PyObject *judge_function(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *object, *program;
    unsigned handle;
    if (!PyArg_ParseTuple(args, "OOI", &object, &program, &handle)) return NULL;
    mwpy_function *f = as_function(object);
    if (!f) return NULL;
    if (program != Py_None && !PyBytes_CheckExact(program)) return PyErr_Format(PyExc_TypeError, "a program is bytes");
    if (mwpy_cells_judge(&f->cells, program == Py_None ? NULL : program, handle)) return NULL;
    Py_RETURN_NONE;
}

static PyObject *record_locals(PyObject *module, PyObject *args) {
    (void)module;
    int yes;
    unsigned flags = 0;
    if (!PyArg_ParseTuple(args, "p|I", &yes, &flags)) return NULL;
    int collected = mwpy_collector_stops();
    mwpy_functions_end();
    if (yes) mwpy_functions_begin(flags);
    mwpy_collector_goes_on(collected);
    Py_RETURN_NONE;
}

PyMethodDef mwpy_locals_functions[] = {
    {"open_function", open_function, METH_VARARGS, open_doc},
    {"local_site", local_site, METH_VARARGS, site_doc},
    {"end_function", end_function, METH_O, end_doc},
    {"find_function", find_function, METH_O, find_doc},
    {"judge_function", judge_function, METH_VARARGS, judge_doc},
    {"record_locals", record_locals, METH_VARARGS, record_doc},
    {NULL, NULL, 0, NULL},
};

int mwpy_add_types_of_locals(PyObject *module) {
    PyTypeObject *types[] = {mwpy_function_type(), mwpy_binding_type()};
    for (size_t i = 0; i < Py_ARRAY_LENGTH(types); i++)
        if (!types[i] || PyModule_AddType(module, types[i])) return -1;
    return 0;
}
