/* tokens.c - the last statement of an object that runs statements, such as a cursor. */
#include "sql/tokens.h"
#include <stddef.h>
#include <structmember.h>

PyTypeObject *mwpy_tokens_type;

static PyObject *slot_name;

int mwpy_intern_slot(void) { return (slot_name = PyUnicode_InternFromString(MWPY_SLOT)) ? 0 : -1; }

/* The object is gone. `object`: (beside, address). */
static PyObject *forget(PyObject *object, PyObject *ref) {
    PyObject *beside = PyTuple_GET_ITEM(object, 0), *address = PyTuple_GET_ITEM(object, 1);
    PyObject *held = PyDict_GetItemWithError(beside, address);
    if (!held && PyErr_Occurred()) return NULL;
    if (held && PyList_GET_ITEM(held, MWPY_REFERENCE) == ref && PyDict_DelItem(beside, address)) return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef forget_method = {"forget", forget, METH_O, NULL};

/* Consumes `ref`, unless it fails. */
static PyObject *empty(PyObject *ref) {
    PyObject *held = PyList_New(MWPY_ITEMS);
    if (!held) return NULL;
    PyList_SET_ITEM(held, MWPY_TOKEN, Py_NewRef(Py_None));
    PyList_SET_ITEM(held, MWPY_REFERENCE, ref);
    PyList_SET_ITEM(held, MWPY_FETCHING, Py_NewRef(Py_False));
    return held;
}

static PyObject *hold_beside(mwpy_tokens *self, PyObject *address, PyObject *of) {
    PyObject *key = PyTuple_Pack(2, self->beside, address);
    PyObject *callback = key ? PyCFunction_New(&forget_method, key) : NULL;
    PyObject *ref = callback ? PyWeakref_NewRef(of, callback) : NULL;
    PyObject *held = ref ? empty(ref) : NULL;
    Py_XDECREF(key);
    Py_XDECREF(callback);
    if (!held) {
        Py_XDECREF(ref);
        return NULL;
    }
    if (PyDict_SetItem(self->beside, address, held)) Py_CLEAR(held);
    return held;
}

/* The object's slot, if its class has one. Ignores any __getattribute__ of the program's. A new reference; NULL with
 * `*has` false: no slot. */
static PyObject *in_slot(PyObject *of, bool *has) {
    PyObject *slot = _PyType_Lookup(Py_TYPE(of), slot_name);
    *has = slot && Py_IS_TYPE(slot, &PyMemberDescr_Type);
    if (!*has) return NULL;
    PyObject *held = PyMemberDescr_Type.tp_descr_get(slot, of, (PyObject *)Py_TYPE(of));
    if (!held && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear();
        return Py_NewRef(Py_None);
    }
    return held;
}

PyObject *mwpy_slot(PyObject *module, PyObject *of) {
    (void)module;
    bool has;
    PyObject *value = in_slot(of, &has);
    return has ? value : Py_NewRef(Py_None);
}

static int fill_slot(PyObject *of, PyObject *value) {
    return PyMemberDescr_Type.tp_descr_set(_PyType_Lookup(Py_TYPE(of), slot_name), of, value);
}

PyObject *mwpy_set_slot(PyObject *module, PyObject *const *args, Py_ssize_t n) {
    (void)module;
    bool has = false;
    if (n == 2) Py_XDECREF(in_slot(args[0], &has));
    if (!has) return PyErr_Format(PyExc_TypeError, "set_slot() takes an object of a composed class, and a value");
    if (fill_slot(args[0], args[1])) return NULL;
    Py_RETURN_NONE;
}

PyObject *mwpy_held(mwpy_tokens *self, PyObject *of, bool create) {
    bool has;
    PyObject *held = in_slot(of, &has);
    if (has) {
        if (held != Py_None || !create) return held;
        Py_SETREF(held, empty(Py_NewRef(Py_None)));
        if (!held) return NULL;
        if (fill_slot(of, held)) Py_CLEAR(held);
        return held;
    }
    PyObject *address = PyLong_FromVoidPtr(of);
    if (!address) return NULL;
    held = PyDict_GetItemWithError(self->beside, address);
    if (held && ((PyWeakReference *)PyList_GET_ITEM(held, MWPY_REFERENCE))->wr_object == of)
        Py_INCREF(held);
    else if (PyErr_Occurred())
        held = NULL;
    else
        held = create ? hold_beside(self, address, of) : Py_NewRef(Py_None);
    Py_DECREF(address);
    return held;
}

PyObject *mwpy_token_in(PyObject *held) {
    if (!PyList_Check(held) || !PyList_GET_SIZE(held)) return Py_NewRef(Py_None);
    return Py_NewRef(PyList_GET_ITEM(held, MWPY_TOKEN));
}

static PyObject *get(PyObject *self, PyObject *of) {
    PyObject *held = mwpy_held((mwpy_tokens *)self, of, false);
    if (!held) return NULL;
    PyObject *token = mwpy_token_in(held);
    Py_DECREF(held);
    return token;
}

static PyObject *set(PyObject *self, PyObject *const *args, Py_ssize_t n) {
    if (n != 2) return PyErr_Format(PyExc_TypeError, "set() takes an object and its token");
    PyObject *held = mwpy_held((mwpy_tokens *)self, args[0], true);
    if (!held) return NULL;
    int error = PyList_SetItem(held, MWPY_TOKEN, Py_NewRef(args[1]));
    Py_DECREF(held);
    if (error) return NULL;
    Py_RETURN_NONE;
}

static PyObject *make(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    if (PyTuple_GET_SIZE(args) || keywords) return PyErr_Format(PyExc_TypeError, "Tokens() takes no arguments");
    mwpy_tokens *self = (mwpy_tokens *)type->tp_alloc(type, 0);
    if (self && !(self->beside = PyDict_New())) Py_CLEAR(self);
    return (PyObject *)self;
}

static int traverse(PyObject *object, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(((mwpy_tokens *)object)->beside);
    return 0;
}

static int clear(PyObject *object) {
    Py_CLEAR(((mwpy_tokens *)object)->beside);
    return 0;
}

static PyMethodDef methods[] = {
    {"get", get, METH_O, NULL},
    {"set", (PyCFunction)(void (*)(void))set, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef members[] = {
    {"beside", T_OBJECT, offsetof(mwpy_tokens, beside), READONLY, "By address: lists of a token and a weak reference."},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "The token of the statement that an object ran last: a cursor, or whatever else runs statements."},
    {Py_tp_new, make},
    {Py_tp_traverse, traverse},
    {Py_tp_clear, clear},
    {Py_tp_dealloc, mwpy_plain_dealloc},
    {Py_tp_methods, methods},
    {Py_tp_members, members},
    {0, NULL},
};

PyType_Spec mwpy_tokens_spec = {"memwatch_core.native.tracing.Tokens", sizeof(mwpy_tokens), 0,
                                Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE, slots};
