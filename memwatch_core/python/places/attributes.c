/* attributes.c - see attributes.h. */
#define Py_BUILD_CORE_MODULE 1
#include "interpreter.h"
#include "places/attributes.h"

#include <string.h>

#include "places/layout.h"
#include "places/members.h"
#include "places/node_table.h"
#include "places/reports.h"
#include "places/types.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wsign-compare"
#include "internal/pycore_dict.h"
#include "internal/pycore_object.h"
#pragma GCC diagnostic pop

/* Builtin types whose own memory never changes: what a subclass of one adds is in its dict. */
static bool is_unchanging(const PyTypeObject *type) {
    const PyTypeObject *known[] = {&PyBaseObject_Type, &PyLong_Type,     &PyBool_Type,  &PyFloat_Type,
                                   &PyComplex_Type,    &PyUnicode_Type,  &PyBytes_Type, &PyFrozenSet_Type,
                                   &PyTuple_Type,      Py_TYPE(Py_None), &PyRange_Type};
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
    *why = "it has neither a __dict__ nor slots, so that it never changes: watch what holds it, or the place where it "
           "lies: watch_place(owner, \"name\")";
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
#elif PY_VERSION_HEX < 0x030C0000
        return *_PyObject_ManagedDictPointer(object);
#else
        PyDictOrValues at = *_PyObject_DictOrValuesPointer(object);
        return _PyDictOrValues_IsValues(at) ? NULL : _PyDictOrValues_GetDict(at);
#endif
    }
    PyObject **at = _PyObject_GetDictPtr(object);
    return at ? *at : NULL;
}

/* ---- assignments to __dict__ ------------------------------------------------------------------------------------- */

typedef struct guarded {
    PyGetSetDef ours;
    const PyGetSetDef *plain;
    struct guarded *next;
} guarded;
static guarded *all;

static PyObject *get_plain(PyObject *self, void *closure) {
    const PyGetSetDef *plain = ((guarded *)closure)->plain;
    return plain->get(self, plain->closure);
}

static int set_dict(PyObject *self, PyObject *value, void *closure) {
    const PyGetSetDef *plain = ((guarded *)closure)->plain;
    PyObject *before = Py_XNewRef(mwpy_attributes_now(self)); /* it may be watched, and must live until it isn't */
    int result = plain->set(self, value, plain->closure);
    if (!result && before != mwpy_attributes_now(self)) mwpy_report.dict_replaced(self, before);
    Py_XDECREF(before);
    return result;
}

static const PyGetSetDef *guarded_setter(PyTypeObject *type);

/* An object of another class now: assignments to its `__dict__` go through that one's descriptor. */
static int set_class(PyObject *self, PyObject *value, void *closure) {
    const PyGetSetDef *plain = ((guarded *)closure)->plain;
    int result = plain->set(self, value, plain->closure);
    if (!result && mwpy_table_get(self)) guarded_setter(Py_TYPE(self));
    return result;
}

static PyGetSetDef *guard(PyGetSetDef *plain, setter set) {
    for (guarded *g = all; g; g = g->next)
        if (g->plain == plain || &g->ours == plain) return &g->ours;
    guarded *made = PyMem_RawMalloc(sizeof *made); /* descriptors point to it as long as there are any */
    if (!made) return plain;
    *made = (guarded){*plain, plain, all};
    made->ours.get = get_plain;
    made->ours.set = set;
    made->ours.closure = made;
    all = made;
    return &made->ours;
}

/* The descriptors by which an attribute of this type's objects may be assigned to: from *i on in its MRO. */
static PyGetSetDescrObject *next_setter(PyTypeObject *type, const char *attribute, Py_ssize_t *i) {
    PyGetSetDescrObject *found = NULL;
    PyObject *name = PyUnicode_InternFromString(attribute), *mro = type->tp_mro;
    for (; name && mro && !found && *i < PyTuple_GET_SIZE(mro); ++*i) {
        PyObject *dict = PyType_GetDict((PyTypeObject *)PyTuple_GET_ITEM(mro, *i));
        PyObject *descriptor = dict ? PyDict_GetItemWithError(dict, name) : NULL;
        if (descriptor && Py_IS_TYPE(descriptor, &PyGetSetDescr_Type) &&
            ((PyGetSetDescrObject *)descriptor)->d_getset->set)
            found = (PyGetSetDescrObject *)descriptor;
        Py_XDECREF(dict);
    }
    Py_XDECREF(name);
    PyErr_Clear();
    return found;
}

/* Has every assignment to `__dict__` of this type's objects reported, and says how the interpreter itself does it;
 * NULL: the class has a `__dict__` of its own making. The last answer is kept: a version tag stands for a type's MRO
 * and all that is in it. */
static const PyGetSetDef *guarded_setter(PyTypeObject *type) {
    static const PyTypeObject *last;
    static unsigned last_version;
    static const PyGetSetDef *last_setter;
    if (type == last && type->tp_version_tag == last_version && last_version) return last_setter;
    const PyGetSetDef *first = NULL;
    PyGetSetDescrObject *setter;
    mwpy_version_of(type);
    for (Py_ssize_t i = 0; (setter = next_setter(type, "__class__", &i));)
        setter->d_getset = guard(setter->d_getset, set_class);
    for (Py_ssize_t i = 0; (setter = next_setter(type, "__dict__", &i));) {
        setter->d_getset = guard(setter->d_getset, set_dict);
        for (guarded *g = all; g && !first; g = g->next)
            if (&g->ours == setter->d_getset) first = g->plain;
    }
    last = type;
    last_version = type->tp_version_tag;
    return last_setter = first;
}

/* ---- the dict of an object --------------------------------------------------------------------------------------- */

/* Whether changes of a dict are reported. CPython 3.13 stores attributes into the object whose dict it is, without a
 * report, until the object has got another one. */
static bool is_told(PyObject *dict) {
#if PY_VERSION_HEX >= 0x030D0000 && PY_VERSION_HEX < 0x030E0000
    const PyDictValues *values = ((PyDictObject *)dict)->ma_values;
    return !values || !values->embedded;
#else
    (void)dict;
    return true;
#endif
}

#if PY_VERSION_HEX < 0x030C0000

/* What it kept in the object itself, the dict has already, from which the interpreter doesn't part it again. */
static int detach(PyObject *object, PyObject *dict) {
    (void)dict;
    bool told = guarded_setter(Py_TYPE(object)) || !(Py_TYPE(object)->tp_flags & Py_TPFLAGS_MANAGED_DICT);
    if (!told) PyErr_SetString(PyExc_TypeError, "its class has a __dict__ of its own making");
    return told ? 0 : -1;
}

#else

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
    if (!(Py_TYPE(object)->tp_flags & Py_TPFLAGS_MANAGED_DICT)) return 0;
    const PyGetSetDef *setter = guarded_setter(Py_TYPE(object));
    PyObject *other = PyDict_New();
    int refused =
        !setter || !other || setter->set(object, other, setter->closure) || setter->set(object, dict, setter->closure);
    Py_XDECREF(other);
    if (refused) {
        if (!PyErr_Occurred()) PyErr_SetString(PyExc_TypeError, "its class has a __dict__ of its own making");
        return -1;
    }
    PyObject *copy = has_str_keys(dict) ? PyDict_Copy(dict) : NULL;
    int failed = PyErr_Occurred() != NULL;
    if (copy) {
        PyDict_Clear(dict);
        failed = PyDict_Update(dict, copy);
        Py_DECREF(copy);
    }
    return failed ? -1 : 0;
}
#endif

static PyObject *attributes(PyObject *object) {
    const char *why = NULL;
    if (!mwpy_has_attributes(object, &why)) {
        PyErr_SetString(PyExc_TypeError, why);
        return NULL;
    }
    if (PyType_Check(object)) return PyType_GetDict((PyTypeObject *)object);
    if (PyModule_Check(object)) return Py_NewRef(PyModule_GetDict(object));
    if (!mwpy_has_dict(object)) return NULL;
    PyObject *dict = PyObject_GenericGetDict(object, NULL);
    if (dict && !mwpy_table_get(dict) && detach(object, dict)) Py_CLEAR(dict);
    return dict;
}

PyObject *mwpy_dict_of(PyObject *object) {
    if (!PyDict_Check(object)) return attributes(object);
    if (is_told(object)) return Py_NewRef(object);
    PyErr_SetString(PyExc_TypeError, "it is the __dict__ of an object: watch the object");
    return NULL;
}
