/* list_methods.c - see list_methods.h.
 *
 * Each method does what it always did. Where none of the program's code can run meanwhile, it does so in the writable
 * view: an insert at the front of a list is one change then, and not a fault for each item behind it. The descriptors
 * in list.__dict__ stay the same objects, which compiled code and other people's caches refer to: what they call is
 * exchanged. Code in C that doesn't come by here makes faults (node_items.c). */
#include "places/list_methods.h"

#include <string.h>

#include "base/compiler.h"
#include "places/reports.h"
#include "places/storage.h"

enum {
    QUIET = MWPY_LIST_QUIET,
    LOSES = MWPY_LIST_LOSES,
    GROWS = MWPY_LIST_GROWS,
    MOVES = MWPY_LIST_MOVES,
    FIRST = MWPY_LIST_FIRST
};

static bool begins(mwpy_list_turn *turn, PyObject *list, unsigned how, Py_ssize_t index) {
    return mwpy_report.list_begins(turn, list, how, index);
}
static void ends(mwpy_list_turn *turn) { mwpy_report.list_ends(turn); }

static bool is_watched(PyObject *list) { return unlikely(mwpy_storage_has(((PyListObject *)list)->ob_item)); }

/* ---- what runs none of the program's code ------------------------------------------------------------------------ */

static bool is_index(PyObject *key) { return PyLong_CheckExact(key) || key == Py_None; }

static bool is_plain_key(PyObject *key) {
    if (PyLong_CheckExact(key)) return true;
    if (!PySlice_Check(key)) return false;
    PySliceObject *slice = (PySliceObject *)key;
    return is_index(slice->start) && is_index(slice->stop) && is_index(slice->step);
}

static bool is_plain_source(PyObject *items) { return !items || PyList_CheckExact(items) || PyTuple_CheckExact(items); }

/* -1: it is none of the list's. */
static Py_ssize_t index_of(PyObject *list, PyObject *key) {
    if (!PyLong_CheckExact(key)) return -1;
    int overflow;
    long long index = PyLong_AsLongLongAndOverflow(key, &overflow);
    if (index < 0) index += Py_SIZE(list);
    return overflow || index < 0 || index >= Py_SIZE(list) ? -1 : (Py_ssize_t)index;
}

/* Whether list's code lets the items of a slice go from the first one on: of every second one, for instance. */
static bool goes_first(PyObject *key, bool deleted) {
    PyObject *step = PySlice_Check(key) ? ((PySliceObject *)key)->step : Py_None;
    if (!PyLong_CheckExact(step)) return step != Py_None;
    int overflow;
    long long by = PyLong_AsLongLongAndOverflow(step, &overflow);
    return by != 1 && (deleted || overflow > 0 || by > 1);
}

/* ---- methods ----------------------------------------------------------------------------------------------------- */

typedef PyObject *(*fast)(PyObject *, PyObject *const *, Py_ssize_t);
typedef PyObject *(*fast_with_names)(PyObject *, PyObject *const *, Py_ssize_t, PyObject *);

enum method { APPEND, CLEAR, EXTEND, INSERT, POP, REMOVE, REVERSE, SORT, METHODS };
static struct {
    PyMethodDescrObject *descriptor; /* strong, while it is exchanged */
    PyMethodDef *plain, ours;
} methods[METHODS];

static PyCFunction plain_method(enum method m) { return methods[m].plain->ml_meth; }

static PyObject *append(PyObject *list, PyObject *item) {
    mwpy_list_turn turn;
    if (!is_watched(list) || !begins(&turn, list, QUIET | GROWS, -1)) return plain_method(APPEND)(list, item);
    PyObject *result = plain_method(APPEND)(list, item);
    ends(&turn);
    return result;
}

static PyObject *clear(PyObject *list, PyObject *unused) {
    mwpy_list_turn turn;
    if (!is_watched(list) || !begins(&turn, list, QUIET | LOSES, -1)) return plain_method(CLEAR)(list, unused);
    PyObject *result = plain_method(CLEAR)(list, unused);
    ends(&turn);
    return result;
}

static PyObject *extend(PyObject *list, PyObject *source) {
    mwpy_list_turn turn;
    unsigned how = GROWS | (is_plain_source(source) ? QUIET : 0);
    if (!is_watched(list) || !begins(&turn, list, how, -1)) return plain_method(EXTEND)(list, source);
    PyObject *result = plain_method(EXTEND)(list, source);
    ends(&turn);
    return result;
}

static PyObject *insert(PyObject *list, PyObject *const *args, Py_ssize_t n) {
    mwpy_list_turn turn;
    fast plain = (fast)(void (*)(void))plain_method(INSERT);
    unsigned how = n && PyLong_CheckExact(args[0]) ? QUIET : 0;
    if (!is_watched(list) || !begins(&turn, list, how, -1)) return plain(list, args, n);
    PyObject *result = plain(list, args, n);
    ends(&turn);
    return result;
}

/* What it takes out is its result, and lives. */
static PyObject *pop(PyObject *list, PyObject *const *args, Py_ssize_t n) {
    mwpy_list_turn turn;
    fast plain = (fast)(void (*)(void))plain_method(POP);
    unsigned how = !n || PyLong_CheckExact(args[0]) ? QUIET : LOSES;
    Py_ssize_t index = n ? index_of(list, args[0]) : Py_SIZE(list) - 1;
    if (!is_watched(list) || !begins(&turn, list, how, index)) return plain(list, args, n);
    PyObject *result = plain(list, args, n);
    ends(&turn);
    return result;
}

static int set_item(PyObject *list, PyObject *key, PyObject *value);

/* As list.remove() of CPython does: comparisons, which may be the program's, and then one deletion, which is quiet. */
static PyObject *remove_item(PyObject *list, PyObject *value) {
    if (!is_watched(list)) return plain_method(REMOVE)(list, value);
    for (Py_ssize_t i = 0; i < Py_SIZE(list); i++) {
        PyObject *item = Py_NewRef(PyList_GET_ITEM(list, i));
        int equal = PyObject_RichCompareBool(item, value, Py_EQ);
        Py_DECREF(item);
        if (equal < 0) return NULL;
        if (!equal) continue;
        if (i >= Py_SIZE(list)) Py_RETURN_NONE; /* the comparison has made it shorter */
        PyObject *key = PyLong_FromSsize_t(i);
        int failed = !key || set_item(list, key, NULL);
        Py_XDECREF(key);
        return failed ? NULL : Py_NewRef(Py_None);
    }
    PyErr_SetString(PyExc_ValueError, "list.remove(x): x not in list");
    return NULL;
}

static PyObject *reverse(PyObject *list, PyObject *unused) {
    mwpy_list_turn turn;
    if (!is_watched(list) || !begins(&turn, list, QUIET | MOVES, -1)) return plain_method(REVERSE)(list, unused);
    PyObject *result = plain_method(REVERSE)(list, unused);
    ends(&turn);
    return result;
}

/* Comparisons find the list empty, and what they store to it is thrown away: the items can be anywhere. */
static PyObject *sort(PyObject *list, PyObject *const *args, Py_ssize_t n, PyObject *names) {
    mwpy_list_turn turn;
    fast_with_names plain = (fast_with_names)(void (*)(void))plain_method(SORT);
    if (!is_watched(list) || !begins(&turn, list, QUIET | MOVES, -1)) return plain(list, args, n, names);
    PyObject *result = plain(list, args, n, names);
    ends(&turn);
    return result;
}

static const struct {
    const char *name;
    int flags;
    PyCFunction ours;
} wanted[METHODS] = {
    [APPEND] = {"append", METH_O, append},
    [CLEAR] = {"clear", METH_NOARGS, clear},
    [EXTEND] = {"extend", METH_O, extend},
    [INSERT] = {"insert", METH_FASTCALL, (PyCFunction)(void (*)(void))insert},
    [POP] = {"pop", METH_FASTCALL, (PyCFunction)(void (*)(void))pop},
    [REMOVE] = {"remove", METH_O, remove_item},
    [REVERSE] = {"reverse", METH_NOARGS, reverse},
    [SORT] = {"sort", METH_FASTCALL | METH_KEYWORDS, (PyCFunction)(void (*)(void))sort},
};

/* ---- operators --------------------------------------------------------------------------------------------------- */

static ssizeobjargproc plain_set_index;
static objobjargproc plain_set_item;
static binaryfunc plain_concat;
static ssizeargfunc plain_repeat;
static initproc plain_init;

static int set_index(PyObject *list, Py_ssize_t index, PyObject *value) {
    mwpy_list_turn turn;
    bool inside = index >= 0 && index < Py_SIZE(list);
    if (!inside || !is_watched(list) || !begins(&turn, list, QUIET | LOSES, index))
        return plain_set_index(list, index, value);
    int result = plain_set_index(list, index, value);
    ends(&turn);
    return result;
}

static int set_item(PyObject *list, PyObject *key, PyObject *value) {
    mwpy_list_turn turn;
    if (!is_watched(list)) return plain_set_item(list, key, value);
    bool quiet = is_plain_key(key) && (PyLong_CheckExact(key) || is_plain_source(value));
    unsigned how = LOSES | (quiet ? QUIET : 0) | (goes_first(key, !value) ? FIRST : 0);
    if (!begins(&turn, list, how, index_of(list, key))) return plain_set_item(list, key, value);
    int result = plain_set_item(list, key, value);
    ends(&turn);
    return result;
}

static PyObject *concat(PyObject *list, PyObject *source) {
    mwpy_list_turn turn;
    unsigned how = GROWS | (is_plain_source(source) ? QUIET : 0);
    if (!is_watched(list) || !begins(&turn, list, how, -1)) return plain_concat(list, source);
    PyObject *result = plain_concat(list, source);
    ends(&turn);
    return result;
}

static PyObject *repeat(PyObject *list, Py_ssize_t n) {
    mwpy_list_turn turn;
    if (!is_watched(list) || !begins(&turn, list, QUIET | (n > 0 ? GROWS : LOSES), -1)) return plain_repeat(list, n);
    PyObject *result = plain_repeat(list, n);
    ends(&turn);
    return result;
}

/* What it holds goes before the new items are asked for. */
static int init(PyObject *list, PyObject *args, PyObject *names) {
    bool good = PyTuple_GET_SIZE(args) <= 1 && (!names || !PyDict_GET_SIZE(names)) && methods[EXTEND].plain;
    mwpy_list_turn turn;
    if (!is_watched(list) || !begins(&turn, list, good ? QUIET | LOSES : LOSES, -1))
        return plain_init(list, args, names);
    int result = good ? PyList_SetSlice(list, 0, PY_SSIZE_T_MAX, NULL) : plain_init(list, args, names);
    ends(&turn);
    if (!good || result || !PyTuple_GET_SIZE(args)) return result;
    PyObject *extended = extend(list, PyTuple_GET_ITEM(args, 0));
    Py_XDECREF(extended);
    return extended ? 0 : -1;
}

/* A field of a type, if it is list's own function or ours. */
#define EXCHANGE(field, old, new)                                                                                      \
    if ((field) == (old)) (field) = (new)

static void lead_operators(PyTypeObject *type, bool ours) {
    PySequenceMethods *sequence = type->tp_as_sequence;
    PyMappingMethods *mapping = type->tp_as_mapping;
    if (ours) {
        EXCHANGE(sequence->sq_ass_item, plain_set_index, set_index);
        EXCHANGE(mapping->mp_ass_subscript, plain_set_item, set_item);
        EXCHANGE(sequence->sq_inplace_concat, plain_concat, concat);
        EXCHANGE(sequence->sq_inplace_repeat, plain_repeat, repeat);
        EXCHANGE(type->tp_init, plain_init, init);
    } else {
        EXCHANGE(sequence->sq_ass_item, set_index, plain_set_index);
        EXCHANGE(mapping->mp_ass_subscript, set_item, plain_set_item);
        EXCHANGE(sequence->sq_inplace_concat, concat, plain_concat);
        EXCHANGE(sequence->sq_inplace_repeat, repeat, plain_repeat);
        EXCHANGE(type->tp_init, init, plain_init);
    }
}

/* list.__setitem__ and its like call a function of their own. */
static void lead_wrappers(PyObject *dict, bool ours) {
    const struct {
        const char *name;
        void *plain, *ours;
    } all[] = {
        {"__setitem__", (void *)plain_set_item, (void *)set_item},
        {"__delitem__", (void *)plain_set_item, (void *)set_item},
        {"__iadd__", (void *)plain_concat, (void *)concat},
        {"__imul__", (void *)plain_repeat, (void *)repeat},
        {"__init__", (void *)plain_init, (void *)init},
    };
    for (size_t i = 0; i < Py_ARRAY_LENGTH(all); i++) {
        PyObject *found = PyDict_GetItemString(dict, all[i].name);
        PyWrapperDescrObject *wrapper =
            found && Py_IS_TYPE(found, &PyWrapperDescr_Type) ? (PyWrapperDescrObject *)found : NULL;
        if (wrapper && wrapper->d_wrapped == (ours ? all[i].plain : all[i].ours))
            wrapper->d_wrapped = ours ? all[i].ours : all[i].plain;
    }
}

/* ---- taken and given back ---------------------------------------------------------------------------------------- */

static void take_methods(PyObject *dict) {
    for (int m = 0; m < METHODS; m++) {
        PyObject *found = PyDict_GetItemString(dict, wanted[m].name);
        if (!found || !Py_IS_TYPE(found, &PyMethodDescr_Type)) continue;
        PyMethodDescrObject *descriptor = (PyMethodDescrObject *)found;
        if (descriptor->d_method->ml_flags != wanted[m].flags) continue; /* its faults are seen */
        methods[m].plain = descriptor->d_method;
        methods[m].ours = *descriptor->d_method;
        methods[m].ours.ml_meth = wanted[m].ours;
        methods[m].descriptor = (PyMethodDescrObject *)Py_NewRef(found);
        descriptor->d_method = &methods[m].ours;
    }
}

static void give_methods_back(void) {
    for (int m = 0; m < METHODS; m++) {
        if (!methods[m].descriptor) continue;
        methods[m].descriptor->d_method = methods[m].plain;
        Py_CLEAR(methods[m].descriptor);
    }
}

static size_t uses;

static void lead(bool ours) {
    PyObject *dict = PyType_GetDict(&PyList_Type);
    if (!dict) return;
    lead_operators(&PyList_Type, ours);
    lead_wrappers(dict, ours);
    if (ours)
        take_methods(dict);
    else
        give_methods_back();
    Py_DECREF(dict);
}

/* A class made before has list's functions in its own fields; they do no harm there later. */
void mwpy_list_methods_take(PyTypeObject *type) {
    if (!uses++) {
        if (!plain_init) {
            plain_set_index = PyList_Type.tp_as_sequence->sq_ass_item;
            plain_set_item = PyList_Type.tp_as_mapping->mp_ass_subscript;
            plain_concat = PyList_Type.tp_as_sequence->sq_inplace_concat;
            plain_repeat = PyList_Type.tp_as_sequence->sq_inplace_repeat;
            plain_init = PyList_Type.tp_init;
        }
        lead(true);
    }
    for (; type && type != &PyList_Type; type = type->tp_base)
        if (type->tp_flags & Py_TPFLAGS_HEAPTYPE) lead_operators(type, true);
}

void mwpy_list_methods_give_back(void) {
    if (!--uses) lead(false);
}
