/* value.c - see value.h. */
#include "places/value.h"

#include "places/known_types.h"
#include "places/words.h"

static void put_dict(mwpy_words *t, PyObject *dict, int level) {
    Py_ssize_t at = 0;
    PyObject *key, *value;
    mwpy_say_string(t, "{");
    for (Py_ssize_t i = 0; !t->cut && PyDict_Next(dict, &at, &key, &value); i++) {
        if (i) mwpy_say_string(t, ", ");
        mwpy_say_value(t, key, level + 1);
        mwpy_say_string(t, ": ");
        mwpy_say_value(t, value, level + 1);
    }
    mwpy_say_string(t, "}");
}

/* An entry that was taken out has the hash -1, which no object has. */
static void put_set(mwpy_words *t, PyObject *set, int level) {
    const PySetObject *s = (PySetObject *)set;
    bool frozen = PyFrozenSet_CheckExact(set);
    Py_ssize_t shown = 0;
    if (!PySet_GET_SIZE(set)) {
        mwpy_say_string(t, frozen ? "frozenset()" : "set()");
        return;
    }
    mwpy_say_string(t, frozen ? "frozenset({" : "{");
    for (Py_ssize_t i = 0; i <= s->mask && !t->cut; i++) {
        if (!s->table[i].key || s->table[i].hash == -1) continue;
        if (shown++) mwpy_say_string(t, ", ");
        mwpy_say_value(t, s->table[i].key, level + 1);
    }
    mwpy_say_string(t, frozen ? "})" : "}");
}

static bool is_container(PyObject *value) {
    return PyList_CheckExact(value) || PyTuple_CheckExact(value) || PyDict_CheckExact(value) ||
           PyAnySet_CheckExact(value);
}

void mwpy_say_value(mwpy_words *t, PyObject *value, int level) {
    t->nested |= level > 0;
    if (level > 0) mwpy_say_part(t);
    if (value == Py_None || value == Py_True || value == Py_False)
        mwpy_say_string(t, value == Py_None ? "None" : value == Py_True ? "True" : "False");
    else if (PyUnicode_CheckExact(value))
        mwpy_say_str(t, value, '\'');
    else if (PyLong_CheckExact(value))
        mwpy_say_int(t, value);
    else if (PyFloat_CheckExact(value))
        mwpy_say_float(t, value);
    else if (PyBytes_CheckExact(value))
        mwpy_say_bytes(t, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value));
    else if (level >= MWPY_LEVELS && is_container(value))
        mwpy_say_string(t, "...");
    else if (PyList_CheckExact(value))
        mwpy_say_items(t, ((PyListObject *)value)->ob_item, PyList_GET_SIZE(value), "[", "]", level);
    else if (PyTuple_CheckExact(value))
        mwpy_say_items(t, ((PyTupleObject *)value)->ob_item, PyTuple_GET_SIZE(value), "(",
                       PyTuple_GET_SIZE(value) == 1 ? ",)" : ")", level);
    else if (PyDict_CheckExact(value))
        put_dict(t, value, level);
    else if (PyAnySet_CheckExact(value))
        put_set(t, value, level);
    else if (!mwpy_say_known(t, value, level))
        mwpy_say_other(t, value);
}
