/* attributes.c - see attributes.h. */
#define Py_BUILD_CORE_MODULE 1
#include "interpreter.h"
#include "places/attributes.h"

#include <string.h>

#include "places/layout.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wsign-compare"
#include "internal/pycore_object.h"
#pragma GCC diagnostic pop

#if PY_VERSION_HEX >= 0x030C0000

/* Builtin types whose own memory never changes: what a subclass of one adds is in its dict. */
static bool is_unchanging(const PyTypeObject *type) {
    const PyTypeObject *known[] = {&PyBaseObject_Type, &PyLong_Type,  &PyFloat_Type,     &PyComplex_Type,
                                   &PyUnicode_Type,    &PyBytes_Type, &PyFrozenSet_Type, &PyTuple_Type};
    for (size_t i = 0; i < Py_ARRAY_LENGTH(known); i++)
        if (type == known[i]) return true;
    return !strcmp(type->tp_name, "types.SimpleNamespace");
}

/* What a class statement adds to an object is slots, and a word each for __dict__ and weak references. A type of C's
 * may add what only it knows, and slots may lie where they aren't found. */
static bool is_transparent(const PyTypeObject *type) {
    size_t slots;
    const PyMemberDef *slot = mwpy_members_of(type, &slots);
    bool dict = type->tp_dictoffset != type->tp_base->tp_dictoffset && !(type->tp_flags & Py_TPFLAGS_MANAGED_DICT);
    bool weak =
        type->tp_weaklistoffset != type->tp_base->tp_weaklistoffset && !(type->tp_flags & Py_TPFLAGS_MANAGED_WEAKREF);
    Py_ssize_t words = (Py_ssize_t)slots + dict + weak;
    for (size_t i = 0; i < slots; i++)
        if (!mwpy_member_is_fixed(&slot[i])) return false;
    return type->tp_basicsize - type->tp_base->tp_basicsize <= words * (Py_ssize_t)sizeof(PyObject *);
}

bool mwpy_has_dict(PyObject *object) {
    const PyTypeObject *type = Py_TYPE(object);
    return PyType_Check(object) || PyModule_Check(object) || type->tp_dictoffset ||
           type->tp_flags & Py_TPFLAGS_MANAGED_DICT;
}

bool mwpy_has_slots(PyObject *object) {
    size_t slots = 0;
    for (const PyTypeObject *type = Py_TYPE(object); type && !slots; type = type->tp_base)
        mwpy_members_of(type, &slots);
    return slots && !PyType_Check(object);
}

bool mwpy_has_attributes(PyObject *object, const char **why) {
    const PyTypeObject *base = Py_TYPE(object);
    if (PyType_Check(object)) {
        *why = "a builtin class never changes";
        return ((PyTypeObject *)object)->tp_flags & Py_TPFLAGS_HEAPTYPE &&
               !(((PyTypeObject *)object)->tp_flags & Py_TPFLAGS_IMMUTABLETYPE);
    }
    if (PyModule_Check(object)) return true;
    while (base->tp_flags & Py_TPFLAGS_HEAPTYPE && base->tp_base && !(base->tp_flags & Py_TPFLAGS_IMMUTABLETYPE) &&
           is_transparent(base))
        base = base->tp_base;
    *why = "it keeps its contents in memory of its own, which isn't seen: watch the object that holds it, or a dict";
    if (!is_unchanging(base)) return false;
    *why = "it has neither a __dict__ nor slots, so that it never changes: watch what holds it";
    if (!mwpy_has_slots(object)) return mwpy_has_dict(object);
    *why = "its class has a way of its own to free its objects, so that their end isn't seen: watch the object that "
           "holds it, or a dict";
    return mwpy_layout_can(Py_TYPE(object));
}

PyObject *mwpy_attributes_now(PyObject *object) {
    if (PyType_Check(object)) {
        PyObject *dict = PyType_GetDict((PyTypeObject *)object);
        Py_XDECREF(dict); /* the type has it */
        return dict;
    }
    if (PyModule_Check(object)) return PyModule_GetDict(object);
    if (Py_TYPE(object)->tp_flags & Py_TPFLAGS_MANAGED_DICT) {
#if PY_VERSION_HEX >= 0x030D0000
        return (PyObject *)_PyObject_GetManagedDict(object);
#else
        PyDictOrValues at = *_PyObject_DictOrValuesPointer(object);
        return _PyDictOrValues_IsValues(at) ? NULL : _PyDictOrValues_GetDict(at);
#endif
    }
    PyObject **at = _PyObject_GetDictPtr(object);
    return at ? *at : NULL;
}

static bool has_str_keys(PyObject *dict) {
    Py_ssize_t at = 0;
    PyObject *key;
    while (PyDict_Next(dict, &at, &key, NULL))
        if (!PyUnicode_CheckExact(key)) return false;
    return true;
}

/* Attributes may be kept in the object itself, where CPython 3.13 stores to them without telling the dict: giving the
 * object another dict for a moment takes them out. Filled anew, the dict has a table of its own, which the
 * interpreter's specialised instructions read as fast as before. Order, identity and references stay. */
static int detach(PyObject *object, PyObject *dict) {
    PyObject *other = PyDict_New();
    if (!other || PyObject_GenericSetDict(object, other, NULL) || PyObject_GenericSetDict(object, dict, NULL)) {
        Py_XDECREF(other);
        return -1;
    }
    Py_DECREF(other);
    PyObject *copy = has_str_keys(dict) ? PyDict_Copy(dict) : NULL;
    int failed = PyErr_Occurred() != NULL;
    if (copy) {
        PyDict_Clear(dict);
        failed = PyDict_Update(dict, copy);
        Py_DECREF(copy);
    }
    return failed ? -1 : 0;
}

PyObject *mwpy_attributes(PyObject *object) {
    const char *why = "it has no __dict__";
    if (!mwpy_has_attributes(object, &why) || !mwpy_has_dict(object)) {
        PyErr_SetString(PyExc_TypeError, why);
        return NULL;
    }
    if (PyType_Check(object)) return PyType_GetDict((PyTypeObject *)object);
    if (PyModule_Check(object)) return Py_NewRef(PyModule_GetDict(object));
    PyObject *dict = PyObject_GenericGetDict(object, NULL);
    if (dict && detach(object, dict)) Py_CLEAR(dict);
    return dict;
}

/* ---- assignments to __dict__ ------------------------------------------------------------------------------------- */

typedef struct guarded {
    PyGetSetDef ours;
    const PyGetSetDef *plain;
    struct guarded *next;
} guarded;
static guarded *all;

static PyObject *get_dict(PyObject *self, void *closure) {
    const PyGetSetDef *plain = ((guarded *)closure)->plain;
    return plain->get(self, plain->closure);
}

static int set_dict(PyObject *self, PyObject *value, void *closure) {
    const PyGetSetDef *plain = ((guarded *)closure)->plain;
    PyObject *before = Py_XNewRef(mwpy_attributes_now(self)); /* it may be watched, and must live until it isn't */
    int result = plain->set(self, value, plain->closure);
    if (!result && before != mwpy_attributes_now(self)) mwpy_attributes_replaced(self, before);
    Py_XDECREF(before);
    return result;
}

static PyGetSetDef *guard(PyGetSetDef *plain) {
    for (guarded *g = all; g; g = g->next)
        if (g->plain == plain || &g->ours == plain) return &g->ours;
    guarded *made = PyMem_RawMalloc(sizeof *made); /* descriptors point to it as long as there are any */
    if (!made) return plain;
    *made = (guarded){*plain, plain, all};
    made->ours.get = get_dict;
    made->ours.set = set_dict;
    made->ours.closure = made;
    all = made;
    return &made->ours;
}

void mwpy_attributes_guard(PyTypeObject *type) {
    PyObject *name = PyUnicode_InternFromString("__dict__"), *mro = type->tp_mro;
    for (Py_ssize_t i = 0; name && mro && i < PyTuple_GET_SIZE(mro); i++) {
        PyObject *dict = PyType_GetDict((PyTypeObject *)PyTuple_GET_ITEM(mro, i));
        PyObject *found = dict ? PyDict_GetItemWithError(dict, name) : NULL;
        if (found && Py_IS_TYPE(found, &PyGetSetDescr_Type) && ((PyGetSetDescrObject *)found)->d_getset->set)
            ((PyGetSetDescrObject *)found)->d_getset = guard(((PyGetSetDescrObject *)found)->d_getset);
        Py_XDECREF(dict);
    }
    Py_XDECREF(name);
    PyErr_Clear();
}
#endif
