/* births.c - see births.h.
 *
 * The interpreter makes an object by a function that its class has from a class of C's (tp_new), as a rule object's. A
 * class of the program's has that function in a field of its own; ours stands there, and calls it. The field isn't
 * asked where code of the program's calls object.__new__() itself, as copies and pickles do: that function object is
 * called by ours as well. A class that is derived later has our function from its base; where it has it from another
 * base, it is found when it is made: by type.__new__(), which ours stands for meanwhile.
 *
 * What the interpreter compares such fields with, to see whether a call is safe or has arguments too many, is made up
 * for. Specialised instructions that don't ask the field are given up by PyType_Modified(). */
#define Py_BUILD_CORE_MODULE 1
#include "interpreter.h"
#include "places/births.h"

#include "places/objects.h"

typedef struct birth {
    PyTypeObject *type; /* borrowed: the watch ends before it does */
    struct mwpy_root *root;
    struct birth *next;
} birth;
static birth *births;

void (*mwpy_born)(struct mwpy_root *root, PyObject *instance);

static void tell(PyObject *object) {
    if (!PyType_Check(Py_TYPE(object))) return;
    mwpy_aside aside = mwpy_set_aside();
    for (birth *b = births, *next; b; b = next) {
        next = b->next;
        if (PyType_IsSubtype(Py_TYPE(object), b->type)) mwpy_born(b->root, object);
    }
    mwpy_put_back(aside);
}

/* ---- tp_new ------------------------------------------------------------------------------------------------------ */

static bool is_heap(const PyTypeObject *type) { return type->tp_flags & Py_TPFLAGS_HEAPTYPE; }

/* The class of C's that makes a type's objects. */
static PyTypeObject *maker_of(PyTypeObject *type) {
    while (is_heap(type) && type->tp_base) type = type->tp_base;
    return type;
}

static bool has_arguments(PyObject *args, PyObject *kwds) {
    return PyTuple_GET_SIZE(args) || (kwds && PyDict_Check(kwds) && PyDict_GET_SIZE(kwds));
}

static PyObject *new_object(PyTypeObject *type, PyObject *args, PyObject *kwds);

/* As a class of C's makes it. object itself takes no arguments, and leaves those to __init__() that there may be: it
 * would see that it isn't the one who is asked. */
static PyObject *make(PyTypeObject *maker, PyTypeObject *type, PyObject *args, PyObject *kwds) {
    bool own = type->tp_new != new_object && type->tp_new != maker->tp_new; /* a `__new__` of its own: it is asked */
    if (maker != &PyBaseObject_Type || own || !has_arguments(args, kwds)) return maker->tp_new(type, args, kwds);
    if (type->tp_init == PyBaseObject_Type.tp_init)
        return PyErr_Format(PyExc_TypeError, "%.200s() takes no arguments", type->tp_name);
    PyObject *none = PyTuple_New(0), *made = none ? maker->tp_new(type, none, NULL) : NULL;
    Py_XDECREF(none);
    return made;
}

static PyObject *new_object(PyTypeObject *type, PyObject *args, PyObject *kwds) {
    PyObject *made = make(maker_of(type), type, args, kwds);
    if (made) tell(made);
    return made;
}

static bool is_born(PyTypeObject *type) {
    for (const birth *b = births; b; b = b->next)
        if (PyType_IsSubtype(type, b->type)) return true;
    return false;
}

/* Where a class has the function of C's in its field; a `__new__` of its own calls one that is told of. */
static void lead(PyTypeObject *type) {
    newfunc plain = maker_of(type)->tp_new, now = is_born(type) ? new_object : plain;
    if (!is_heap(type) || type->tp_new == now || (type->tp_new != plain && type->tp_new != new_object)) return;
    type->tp_new = now;
    PyType_Modified(type);
}

/* A class and those that are derived from it. */
static void for_all(PyTypeObject *type, void (*what)(PyTypeObject *type)) {
    what(type);
    PyObject *all = mwpy_subclasses(type);
    for (Py_ssize_t i = 0; all && i < PyList_GET_SIZE(all); i++) for_all((PyTypeObject *)PyList_GET_ITEM(all, i), what);
    Py_XDECREF(all);
    PyErr_Clear();
}

/* ---- __new__() that is called by name ---------------------------------------------------------------------------- */

typedef struct builtin {
    PyCFunctionObject *function; /* strong: `__new__` of a class of C's */
    PyTypeObject *maker;
    vectorcallfunc plain; /* how the interpreter calls it; NULL: as it calls all functions that take a tuple */
    PyMethodDef *definition;
    PyMethodDef unspecialised; /* the same, of a function that takes a tuple */
    struct builtin *next;
} builtin;
static builtin *builtins;

/* Whether a call is one that the interpreter's own function lets through. */
static bool is_safe(const builtin *b, PyObject *const *args, Py_ssize_t n) {
    if (!n || !PyType_Check(args[0])) return false;
    PyTypeObject *type = (PyTypeObject *)args[0];
    return PyType_IsSubtype(type, b->maker) && maker_of(type) == b->maker;
}

static PyObject *call_new(PyObject *function, PyObject *const *args, size_t nargsf, PyObject *kwnames) {
    Py_ssize_t n = PyVectorcall_NARGS(nargsf), named = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
    const builtin *b = builtins;
    while (b && (PyObject *)b->function != function) b = b->next;
    bool ours = b && is_safe(b, args, n) && is_born((PyTypeObject *)args[0]);
    Py_ssize_t skipped = ours; /* the class */
    PyObject *rest = PyTuple_New(n - skipped), *kwds = named ? PyDict_New() : NULL, *made = NULL;
    for (Py_ssize_t i = skipped; rest && i < n; i++) PyTuple_SET_ITEM(rest, i - skipped, Py_NewRef(args[i]));
    bool failed = !rest || (named && !kwds);
    for (Py_ssize_t i = 0; !failed && i < named; i++)
        failed = PyDict_SetItem(kwds, PyTuple_GET_ITEM(kwnames, i), args[n + i]);
    if (!failed && ours)
        made = make(b->maker, (PyTypeObject *)args[0], rest, kwds);
    else if (!failed)
        made =
            b && b->plain ? b->plain(function, args, nargsf, kwnames) : PyCFunction_Type.tp_call(function, rest, kwds);
    Py_XDECREF(rest);
    Py_XDECREF(kwds);
    if (made && ours) tell(made);
    return made;
}

/* From CPython 3.15 on, it takes an array of arguments. Specialised instructions call such a function by its
 * definition, not by its vectorcall; one whose definition says that it takes a tuple has none. */
static bool takes_array(const PyCFunctionObject *function) {
    return function->vectorcall && function->m_ml->ml_flags == (METH_FASTCALL | METH_KEYWORDS);
}

static void lead_builtin(PyTypeObject *maker) {
    for (const builtin *b = builtins; b; b = b->next)
        if (b->maker == maker) return;
    PyObject *dict = PyType_GetDict(maker), *found = dict ? PyDict_GetItemString(dict, "__new__") : NULL;
    Py_XDECREF(dict);
    PyCFunctionObject *function = found && PyCFunction_CheckExact(found) ? (PyCFunctionObject *)found : NULL;
    if (!function || (function->vectorcall && !takes_array(function))) return;
    builtin *made = PyMem_RawMalloc(sizeof *made);
    if (!made) return;
    *made = (builtin){
        (PyCFunctionObject *)Py_NewRef(found), maker, function->vectorcall, function->m_ml, *function->m_ml, builtins};
    made->unspecialised.ml_flags = METH_VARARGS | METH_KEYWORDS;
    if (made->plain) function->m_ml = &made->unspecialised;
    function->vectorcall = call_new;
    builtins = made;
}

static void lead_builtins_back(void) {
    for (builtin *b = builtins, *next; b; b = next) {
        next = b->next;
        b->function->vectorcall = b->plain;
        b->function->m_ml = b->definition;
        Py_DECREF(b->function);
        PyMem_RawFree(b);
    }
    builtins = NULL;
}

/* ---- classes that come later ------------------------------------------------------------------------------------- */

static newfunc plain_new_type;

static PyObject *new_type(PyTypeObject *meta, PyObject *args, PyObject *kwds) {
    PyObject *made = (plain_new_type ? plain_new_type : PyType_Type.tp_new)(meta, args, kwds);
    if (made && PyType_Check(made) && births) lead((PyTypeObject *)made);
    return made;
}

static void lead_meta(PyTypeObject *meta) {
    if (meta->tp_new == plain_new_type) meta->tp_new = new_type;
}
static void lead_meta_back(PyTypeObject *meta) {
    if (meta->tp_new == new_type) meta->tp_new = plain_new_type;
}

/* ---- from the first to the last ---------------------------------------------------------------------------------- */

static bool is_instance(PyObject *object, void *type) { return PyType_IsSubtype(Py_TYPE(object), type); }

void mwpy_births_begin(struct mwpy_root *root, PyObject *object) {
    PyTypeObject *type = (PyTypeObject *)object;
    for (const birth *b = births; b; b = b->next)
        if (b->type == type && b->root == root) return;
    birth *made = is_heap(type) && !(type->tp_flags & Py_TPFLAGS_IMMUTABLETYPE) ? PyMem_RawMalloc(sizeof *made) : NULL;
    if (!made) return;
    *made = (birth){type, root, births};
    births = made;
    if (!plain_new_type) {
        plain_new_type = PyType_Type.tp_new;
        for_all(&PyType_Type, lead_meta);
    }
    lead_builtin(maker_of(type));
    for_all(type, lead);
    size_t n;
    PyObject **all = mwpy_find_objects(is_instance, type, &n);
    for (size_t i = 0; i < n; i++) mwpy_born(root, all[i]);
    PyMem_RawFree(all);
}

void mwpy_births_end(struct mwpy_root *root, PyObject *object) {
    for (birth **link = &births, *b; (b = *link);) {
        if (b->root != root || b->type != (PyTypeObject *)object) {
            link = &b->next;
            continue;
        }
        *link = b->next;
        PyMem_RawFree(b);
    }
    if (Py_REFCNT(object)) for_all((PyTypeObject *)object, lead);
    if (births || !plain_new_type) return;
    lead_builtins_back();
    for_all(&PyType_Type, lead_meta_back);
    plain_new_type = NULL;
}

void mwpy_births_leave(struct mwpy_root *root) {
    for (birth *b = births, *next; b; b = next) {
        next = b->next;
        if (b->root == root) {
            mwpy_births_end(root, (PyObject *)b->type);
            next = births;
        }
    }
}
