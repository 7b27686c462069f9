/* place.c - see place.h. */
#include "places/place.h"

#include "places/attributes.h"
#include "places/cell.h"
#include "places/members.h"
#include "places/types.h"

enum { KEY_TEXT = 256 };

/* What a class has under a name, without asking its metaclass. Borrowed. */
static PyObject *in_class(const PyTypeObject *type, PyObject *name) {
    PyObject *mro = type->tp_mro, *found = NULL;
    for (Py_ssize_t i = 0; mro && !found && i < PyTuple_GET_SIZE(mro); i++) {
        PyObject *dict = PyType_GetDict((PyTypeObject *)PyTuple_GET_ITEM(mro, i));
        found = mwpy_entry(dict, name);
        Py_XDECREF(dict); /* the class has it */
    }
    return found;
}

static PyObject *in_dict(PyObject *dict, PyObject *plain) {
    Py_ssize_t at = 0;
    PyObject *key, *value;
    while (dict && PyDict_Next(dict, &at, &key, &value))
        if (mwpy_key_is(key, plain)) return value;
    return NULL;
}

static PyObject *slot_in(PyObject *owner, PyObject *descriptor, bool *is_slot) {
    size_t count;
    *is_slot = descriptor && Py_IS_TYPE(descriptor, &PyMemberDescr_Type) && !PyType_Check(owner) &&
               mwpy_members_of(PyDescr_TYPE(descriptor), &count) &&
               ((PyMemberDescrObject *)descriptor)->d_member->type == Py_T_OBJECT_EX;
    return *is_slot ? *(PyObject **)((char *)owner + ((PyMemberDescrObject *)descriptor)->d_member->offset) : NULL;
}

static PyObject *why_no_attribute(PyObject *owner, PyObject *dict, mwpy_place *place) {
    PyObject *descriptor = in_class(Py_TYPE(owner), place->key);
    bool is_slot;
    place->held = slot_in(owner, descriptor, &is_slot);
    if (is_slot) return NULL;
    if (descriptor && PyObject_TypeCheck(descriptor, &PyProperty_Type))
        return PyUnicode_FromString("it is a property, whose value is computed: watch the attributes that it is "
                                    "computed from");
    place->held = in_dict(dict, place->key);
    if (!place->held && descriptor && Py_TYPE(descriptor)->tp_descr_set)
        return PyUnicode_FromFormat("the object's __dict__ doesn't have it now: a descriptor of the class keeps it "
                                    "(%.100s). Read it first, where that brings it there; otherwise watch what holds "
                                    "it",
                                    Py_TYPE(descriptor)->tp_name);
    return dict ? NULL : PyUnicode_FromString("the object has neither such a slot nor a __dict__");
}

static PyObject *said(void) {
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    PyObject *text = PyObject_Str(error); /* ours, or the sentence itself */
    Py_XDECREF(type);
    Py_XDECREF(error);
    Py_XDECREF(traceback);
    return text;
}

/* NULL without an exception: nothing speaks against it. */
static PyObject *why_not(PyObject *owner, PyObject *key, mwpy_place *place) {
    bool is_dict = PyDict_Check(owner);
    if (PyList_Check(owner) || PyAnySet_Check(owner))
        return PyUnicode_FromString("an item of a list or a set can't be watched alone: watch the whole of it");
    const char *why;
    if (!is_dict && !mwpy_has_attributes(owner, &why)) return PyUnicode_FromString(why);
    if (!is_dict && !PyUnicode_Check(key)) return PyUnicode_FromString("an attribute's name is a str");
    if (Py_TYPE(key)->tp_hash == PyObject_HashNotImplemented)
        return PyUnicode_FromFormat("a %.100s is no key of a dict: it has no hash", Py_TYPE(key)->tp_name);
    if (!(place->key = mwpy_key_plain(key)))
        return PyErr_Occurred() ? NULL
                                : PyUnicode_FromFormat("a key of type %.100s is compared by identity, or by code of "
                                                       "its own, which isn't run: watch the whole dict",
                                                       Py_TYPE(key)->tp_name);
    PyObject *dict = mwpy_dict_of(owner);
    Py_XDECREF(dict); /* the owner has it */
    if (PyErr_Occurred()) return PyErr_ExceptionMatches(PyExc_TypeError) ? said() : NULL;
    if (!is_dict) return why_no_attribute(owner, dict, place);
    place->held = in_dict(dict, place->key);
    return NULL;
}

int mwpy_place_find(PyObject *owner, PyObject *key, mwpy_place *place) {
    *place = (mwpy_place){0};
    place->why = why_not(owner, key, place);
    if (place->why) Py_CLEAR(place->key);
    if (!PyErr_Occurred()) {
        char text[KEY_TEXT];
        size_t n = mwpy_key_text(text, sizeof text, place->key ? place->key : key, !PyDict_Check(owner));
        place->text = PyUnicode_DecodeUTF8(text, (Py_ssize_t)n, "replace");
    }
    if (!PyErr_Occurred()) return 0;
    Py_CLEAR(place->why);
    Py_CLEAR(place->key);
    return -1;
}
