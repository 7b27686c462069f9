/* slot_keys.c - see slot_keys.h. */
#include "places/slot_keys.h"

static PyObject *mark; /* their first item; nobody else has it */

PyObject *mwpy_slot_key(PyObject *name) {
    if (!mark) mark = PyObject_CallNoArgs((PyObject *)&PyBaseObject_Type);
    return mark ? PyTuple_Pack(2, mark, name) : NULL;
}

PyObject *mwpy_slot_key_name(PyObject *key) {
    bool is_one = mark && PyTuple_CheckExact(key) && PyTuple_GET_SIZE(key) && PyTuple_GET_ITEM(key, 0) == mark;
    return is_one ? PyTuple_GET_ITEM(key, 1) : NULL;
}
