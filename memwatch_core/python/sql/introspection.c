/* introspection.c - reads the program's objects without calling its code, and makes classes look like their base.
 * memwatch_core/native/tracing.pyi documents the functions. */
#include "sql/introspection.h"
#include "sql/tokens.h"

/* ---- an attribute, past whatever the program has in its place ---------------------------------------------------- */

/* A member of a class written in C, or of `__slots__`: reading it runs no Python code. */
static bool is_plain_descriptor(PyObject *found) {
    return Py_IS_TYPE(found, &PyMemberDescr_Type) || Py_IS_TYPE(found, &PyGetSetDescr_Type);
}

static bool is_descriptor(PyObject *found) { return Py_TYPE(found)->tp_descr_get || Py_TYPE(found)->tp_descr_set; }

/* The first plain descriptor of this name in the class's MRO, borrowed; NULL: none. */
static PyObject *plain_descriptor(PyTypeObject *type, PyObject *name) {
    PyObject *mro = type->tp_mro;
    for (Py_ssize_t i = 0; mro && i < PyTuple_GET_SIZE(mro); i++) {
        PyObject *members = ((PyTypeObject *)PyTuple_GET_ITEM(mro, i))->tp_dict;
        PyObject *found = members ? PyDict_GetItemWithError(members, name) : NULL;
        if (found && is_plain_descriptor(found)) return found;
        if (!found && PyErr_Occurred()) return NULL;
    }
    return NULL;
}

static PyObject *in_dict(PyObject *of, PyObject *name) {
    PyObject *members = PyObject_GenericGetDict(of, NULL);
    if (!members) return NULL; /* AttributeError: it has none */
    PyObject *found = PyDict_Check(members) ? Py_XNewRef(PyDict_GetItemWithError(members, name)) : NULL;
    Py_DECREF(members);
    return found;
}

static PyObject *attribute(PyObject *of, PyObject *name) {
    PyTypeObject *type = Py_TYPE(of);
    PyObject *found = _PyType_Lookup(type, name);
    if (!found || !is_descriptor(found)) return PyObject_GenericGetAttr(of, name);
    if (!is_plain_descriptor(found)) found = plain_descriptor(type, name); /* hidden by a property or function */
    if (found) return Py_TYPE(found)->tp_descr_get(found, of, (PyObject *)type);
    return PyErr_Occurred() ? NULL : in_dict(of, name);
}

PyObject *mwpy_peek(PyObject *module, PyObject *const *args, Py_ssize_t n) {
    (void)module;
    if (n != 2 || !PyUnicode_CheckExact(args[1]))
        return PyErr_Format(PyExc_TypeError, "peek() takes an object and a name");
    PyObject *value = attribute(args[0], args[1]);
    if (value) return value;
    if (PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError)) return NULL;
        PyErr_Clear();
    }
    Py_RETURN_NONE;
}

/* ---- a class that looks like its base ---------------------------------------------------------------------------- */

static int move_member(PyObject *kind, const char *from, const char *to) {
    PyObject *before = PyUnicode_InternFromString(from), *after = to ? PyUnicode_InternFromString(to) : NULL;
    PyObject *member = before ? PyDict_GetItemWithError(((PyTypeObject *)kind)->tp_dict, before) : NULL;
    int error = 0;
    if (!member || (to && !after)) {
        if (!PyErr_Occurred()) PyErr_Format(PyExc_TypeError, "disguise(): the class has no %s", from);
        error = -1;
    } else {
        Py_INCREF(member);
        if (to) error = PyType_Type.tp_setattro(kind, after, member); /* bypassing its metaclass */
        if (!error) error = PyType_Type.tp_setattro(kind, before, NULL);
        Py_DECREF(member);
    }
    Py_XDECREF(before);
    Py_XDECREF(after);
    return error;
}

PyObject *mwpy_disguise(PyObject *module, PyObject *const *args, Py_ssize_t n) {
    (void)module;
    if (n != 2 || !PyType_Check(args[0]) || !PyType_Check(args[1]))
        return PyErr_Format(PyExc_TypeError, "disguise() takes a class and its base");
    PyTypeObject *kind = (PyTypeObject *)args[0], *base = (PyTypeObject *)args[1];
    if (move_member(args[0], "_memwatch", MWPY_SLOT) || move_member(args[0], "__slots__", NULL)) return NULL;
    if (base->tp_flags & Py_TPFLAGS_IMMUTABLETYPE) { /* can't be renamed, and outlives the subclass */
        kind->tp_name = base->tp_name;               /* with its module, as in messages */
        kind->tp_flags |= Py_TPFLAGS_IMMUTABLETYPE;
    }
    Py_RETURN_NONE;
}
