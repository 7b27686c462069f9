/* places.c - see places.h. */
#define Py_BUILD_CORE_MODULE 1
#include "places/places.h"

#include <string.h>

#include "interpreter.h"
#include "origins/endings.h"
#include "origins/frames.h"
#include "places/attributes.h"
#include "places/births.h"
#include "places/cell.h"
#include "places/declared.h"
#include "places/dict_entries.h"
#include "places/dicts.h"
#include "places/known_types.h"
#include "places/node.h"
#include "places/node_items.h"
#include "places/node_members.h"
#include "places/node_route.h"
#include "places/node_secrets.h"
#include "places/node_spots.h"
#include "places/place.h"
#include "places/reports.h"
#include "places/slab.h"
#include "places/storage.h"
#include "places/value.h"
#include "places/words.h"

PyDoc_STRVAR(why_not_doc, "why_no_places(object)\n--\n\nNone if open_places() takes it, otherwise why not.");
PyDoc_STRVAR(open_doc, "open_places(object, name, metadata, flags, depth, most, fields, skip, info[, key])\n--\n\n"
                       "Watches an object or a dict where it lies; the id of its variable.\n\n"
                       "metadata: JSON without its last brace. fields, skip: frozenset of str, or None.\n"
                       "key: watches this place alone, as place_of() has said it.\n"
                       "Raises CoreError, JournalFullError, MemoryError; TypeError as why_no_places() says.");
PyDoc_STRVAR(open_names_doc,
             "open_names(object, name, metadata, flags, depth, most, skip, pattern, classes, quiet, info)\n--\n\n"
             "As open_places(), of the names of a module or a class that a pattern (bytes, or None) is of.\n\n"
             "classes: a module's name, whose classes are followed; quiet: what defines a function, a class or a\n"
             "module isn't told.");
PyDoc_STRVAR(open_route_doc, "open_route(object, name, metadata, flags, depth, most, names, brackets, info)\n--\n\n"
                             "As open_places(), of the place that a tuple of names leads to, whatever they mean by\n"
                             "then. brackets: a bit for each that is a key or an index.");
PyDoc_STRVAR(route_end_doc, "route_end(object, names, brackets)\n--\n\nWhat such names lead to now, in words.");
PyDoc_STRVAR(widen_names_doc,
             "widen_names(id, pattern, classes)\n--\n\nA watch of names is of those of another pattern too, or of all\n"
             "(None), and of the classes of a module (None: as before).");
PyDoc_STRVAR(keep_doc, "keep_places(id)\n--\n\nclose_places() doesn't end this watch.");
PyDoc_STRVAR(has_held_doc, "has_held(id)\n--\n\nWhether a place that is watched has ever held something.");
PyDoc_STRVAR(tell_unmet_doc,
             "tell_unmet(id, near)\n--\n\nRecords that the name of a watch was never there; near: bytes,\n"
             "one that is like it.");
PyDoc_STRVAR(place_doc,
             "place_of(object, key)\n--\n\n(path, key to give to the others, value in words, None, info of the watch\n"
             "of the whole object that has this place, or None, whether it is a secret in a watch that there is), or\n"
             "(path, None, '', why it can't be watched alone, None, False).");
PyDoc_STRVAR(find_doc, "find_places(object[, key])\n--\n\n(variable id, bytes, info, is the watched object itself,\n"
                       "objects that weren't followed), or None: it isn't watched where it lies; with a key: this\n"
                       "place isn't watched alone.");
PyDoc_STRVAR(describe_doc, "describe_places(object, metadata[, key])\n--\n\nRecords other metadata for an object, or\n"
                           "a place of it, that is watched.");
PyDoc_STRVAR(judge_doc,
             "judge_places(variable, program, handle)\n--\n\nHas the events of an object judged that is watched in\n"
             "place; program None: not by this handle any more. False: there is no such watch.");
PyDoc_STRVAR(info_doc,
             "info_of_places(variable)\n--\n\nWhat its open_places() was given; None: there is no such watch.");
PyDoc_STRVAR(close_doc,
             "close_places(object[, key])\n--\n\nEnds the watch of an object, and those of places of it; or\n"
             "of one place alone. False: there was none.");
PyDoc_STRVAR(audit_doc,
             "audit_places()\n--\n\nCompares all that is watched with what was recorded of it, and records what\n"
             "differs; how many places that were.");
PyDoc_STRVAR(close_all_doc, "close_all_places()\n--\n\nEnds all watches of objects.");
PyDoc_STRVAR(declare_doc,
             "declare_types(all)\n--\n\nSays how values of types are written, as memwatch_core.type_formats\n"
             "makes it; instead of all that was said before.");
PyDoc_STRVAR(set_secrets_doc,
             "set_secrets(patterns)\n--\n\nWhich variables and places are secrets, from now on: a tuple\n"
             "of bytes, UTF-8, with * and ?; instead of all that was said before.");
PyDoc_STRVAR(is_secret_doc, "is_secret(name)\n--\n\nWhether one of these patterns matches a name.");
PyDoc_STRVAR(written_doc,
             "written(value)\n--\n\nA value as a cell would say it in words; without running code of its own.");
static PyObject *declare_types(PyObject *module, PyObject *all) {
    (void)module;
    mwpy_declare(all);
    mwpy_forget_types();
    Py_RETURN_NONE;
}

static PyObject *set_secrets(PyObject *module, PyObject *all) {
    (void)module;
    if (!PyTuple_CheckExact(all)) {
        PyErr_SetString(PyExc_TypeError, "a tuple is expected");
        return NULL;
    }
    if (mwpy_secrets_set(all)) return NULL;
    Py_RETURN_NONE;
}

static PyObject *is_secret(PyObject *module, PyObject *name) {
    (void)module;
    PyObject *text = PyUnicode_AsEncodedString(name, "utf-8", "surrogatepass");
    if (!text) return NULL;
    bool yes = mwpy_is_secret_name(PyBytes_AS_STRING(text), (size_t)PyBytes_GET_SIZE(text));
    Py_DECREF(text);
    return PyBool_FromLong(yes);
}

static PyObject *written(PyObject *module, PyObject *value) {
    (void)module;
    mwpy_words t = mwpy_no_words(MWPY_WORDS);
    mwpy_say_described(&t, value);
    return PyUnicode_DecodeUTF8(t.at, (Py_ssize_t)t.n, "surrogatepass");
}

static PyObject *why_not(PyObject *module, PyObject *object) {
    (void)module;
    const char *why = NULL;
    if (PyDict_Check(object) || PyList_Check(object) || PySet_Check(object) || mwpy_has_attributes(object, &why))
        Py_RETURN_NONE;
    return PyUnicode_FromString(why);
}

static PyObject *or_null(PyObject *object) { return object == Py_None ? NULL : object; }

/* A store to a container's guarded memory. */
static void stored(const void *address, size_t length) {
    mwpy_node *node = mwpy_storage_node(address);
    if (!node || !mwpy_current_thread() || mwpy_is_finalizing()) return;
    mwpy_aside aside = mwpy_set_aside();
    if (node->items) mwpy_list_stored(node, address, length);
    if (node->members) mwpy_set_stored(node, address, length);
#if PY_VERSION_HEX < 0x030C0000
    if (node->entries) mwpy_dict_stored(node, address, length);
#endif
    mwpy_put_back(aside);
}

static void freed(void *address) {
    mwpy_node *node = mwpy_storage_node(address);
    mwpy_aside aside = mwpy_set_aside();
    if (node->items)
        mwpy_list_freed(node);
    else if (node->members)
        mwpy_set_freed(node);
#if PY_VERSION_HEX < 0x030C0000
    else
        mwpy_dict_freed(node, address);
#endif
    mwpy_put_back(aside);
}

/* Who takes the reports. 0, or -1 with an exception: this object's dict can't be reported of. */
static int begin(PyObject *object) {
    mwpy_report = (mwpy_reports){mwpy_dict_changes,
                                 mwpy_dict_replaced,
                                 mwpy_slot_changes,
                                 mwpy_object_ends,
                                 mwpy_class_changed,
                                 mwpy_list_resized,
                                 freed,
                                 mwpy_list_begins,
                                 mwpy_list_ends};
    mw_set_guard_hook(stored);
    mwpy_born = mwpy_route_bears;
#if PY_VERSION_HEX < 0x030C0000
    bool has_dict = PyDict_Check(object) || (!PyList_Check(object) && !PySet_Check(object) && mwpy_has_dict(object));
    if (!mwpy_dicts_tell() && has_dict && !PyErr_Occurred())
        PyErr_SetString(PyExc_TypeError,
                        "this build of CPython 3.11 doesn't tell of all changes of a dict: use 3.12 or "
                        "later, or watch a list, a set or an object that has slots only");
    if (PyErr_Occurred()) return -1;
#else
    (void)object;
#endif
    return 0;
}

static PyObject *opened(mwpy_root *root, PyObject *info) {
    if (!root) return NULL;
    root->info = Py_NewRef(info);
    mwpy_note_imports();
    return PyLong_FromUnsignedLong(root->cells.slab[0].id);
}

static bool is_depth(int depth) {
    if (depth >= 0 && depth <= MWPY_DEPTH_MOST) return true;
    PyErr_Format(PyExc_ValueError, "no depth: %d", depth);
    return false;
}

static PyObject *open_places(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *object, *name, *metadata, *fields, *skip, *info, *key = NULL;
    unsigned int flags;
    int depth;
    Py_ssize_t most;
    if (!PyArg_ParseTuple(args, "OUSIinOOO|O", &object, &name, &metadata, &flags, &depth, &most, &fields, &skip, &info,
                          &key) ||
        !is_depth(depth) || begin(object))
        return NULL;
    mwpy_choice choice = {.fields = or_null(fields), .skip = or_null(skip)};
    return opened(mwpy_root_open(object, name, metadata, flags, depth, (size_t)most, &choice, key), info);
}

static PyObject *open_names(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *object, *name, *metadata, *skip, *pattern, *classes, *info;
    unsigned int flags;
    int depth, quiet;
    Py_ssize_t most;
    if (!PyArg_ParseTuple(args, "OUSIinOOOpO", &object, &name, &metadata, &flags, &depth, &most, &skip, &pattern,
                          &classes, &quiet, &info) ||
        !is_depth(depth) || begin(object))
        return NULL;
    if ((pattern != Py_None && !PyBytes_CheckExact(pattern)) || (classes != Py_None && !PyUnicode_CheckExact(classes)))
        return PyErr_Format(PyExc_TypeError, "a pattern is bytes, a module's name a str");
    mwpy_choice choice = {
        .skip = or_null(skip), .pattern = or_null(pattern), .module = or_null(classes), .quiet = quiet != 0};
    return opened(mwpy_root_open(object, name, metadata, flags, depth, (size_t)most, &choice, NULL), info);
}

static bool is_route(PyObject *names) {
    bool is = PyTuple_CheckExact(names) && PyTuple_GET_SIZE(names) > 0 && PyTuple_GET_SIZE(names) < 64;
    for (Py_ssize_t i = 0; is && i < PyTuple_GET_SIZE(names); i++) is = mwpy_key_is_plain(PyTuple_GET_ITEM(names, i));
    if (!is) PyErr_SetString(PyExc_TypeError, "a route is a tuple of plain keys");
    return is;
}

static PyObject *open_route(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *object, *name, *metadata, *names, *info;
    unsigned int flags;
    int depth;
    Py_ssize_t most;
    unsigned long long brackets;
    if (!PyArg_ParseTuple(args, "OUSIinOKO", &object, &name, &metadata, &flags, &depth, &most, &names, &brackets,
                          &info) ||
        !is_depth(depth) || !is_route(names) || begin(object))
        return NULL;
    object = or_null(object);
    return opened(mwpy_route_open(object, name, metadata, flags, depth, (size_t)most, names, brackets), info);
}

static mwpy_root *root_of(unsigned id) {
    mwpy_root *root = mwpy_roots;
    while (root && root->cells.slab[0].id != id) root = root->next;
    return root;
}

static PyObject *widen_names(PyObject *module, PyObject *args) {
    (void)module;
    unsigned id;
    PyObject *pattern, *classes;
    if (!PyArg_ParseTuple(args, "IOO", &id, &pattern, &classes)) return NULL;
    mwpy_root *root = root_of(id);
    if (root && mwpy_root_widen(root, or_null(pattern), or_null(classes))) return NULL;
    Py_RETURN_NONE;
}

/* Its first cell is that of the end of a route. */
static bool has_led(const mwpy_root *root) {
    const mwpy_slab_of_cells *slab = &root->cells.slab[0];
    return mwpy_route_led(root->route) || slab->used > 1 || slab->told[0].stamp;
}

static PyObject *has_held(PyObject *module, PyObject *args) {
    (void)module;
    unsigned id;
    if (!PyArg_ParseTuple(args, "I", &id)) return NULL;
    const mwpy_root *root = root_of(id);
    if (!root) Py_RETURN_TRUE; /* what it was of has ended */
    return PyBool_FromLong(root->route ? has_led(root) : root->cells.slab[0].used > 0);
}

static PyObject *keep_places(PyObject *module, PyObject *args) {
    (void)module;
    unsigned id;
    if (!PyArg_ParseTuple(args, "I", &id)) return NULL;
    mwpy_root *root = root_of(id);
    if (root) root->kept = true;
    Py_RETURN_NONE;
}

static PyObject *tell_unmet(PyObject *module, PyObject *args) {
    (void)module;
    unsigned id;
    const char *near;
    Py_ssize_t n;
    if (!PyArg_ParseTuple(args, "Iy#", &id, &near, &n)) return NULL;
    mwpy_root *root = root_of(id);
    if (root) mwpy_root_is_unmet(root, near, (size_t)n);
    Py_RETURN_NONE;
}

static PyObject *route_end(PyObject *module, PyObject *args) {
    PyObject *object, *names;
    unsigned long long brackets;
    if (!PyArg_ParseTuple(args, "OOK", &object, &names, &brackets) || !is_route(names)) return NULL;
    PyObject *held = mwpy_route_end(object, names, brackets);
    return held ? written(module, held) : PyUnicode_FromString("absent");
}

static PyObject *place_of(PyObject *module, PyObject *args) {
    PyObject *object, *key, *words;
    mwpy_place place;
    if (!PyArg_ParseTuple(args, "OO", &object, &key) || mwpy_place_find(object, key, &place)) return NULL;
    if (place.why) return Py_BuildValue("NOsNOO", place.text, Py_None, "", place.why, Py_None, Py_False);
    words = place.held ? written(module, place.held) : PyUnicode_FromString("absent");
    mwpy_node *whole = mwpy_node_of(object);
    bool there = whole && whole->root->top == whole && mwpy_node_whose(whole) == object &&
                 mwpy_node_wants(whole, place.key) && whole->root->info;
    PyObject *secret = mwpy_place_is_secret(object, place.key) ? Py_True : Py_False;
    return Py_BuildValue("NNNOOO", place.text, place.key, words, Py_None, there ? whole->root->info : Py_None, secret);
}

/* Whether it is the top of a watch of one place of an object. */
static bool is_place_of(const mwpy_node *node, PyObject *object) {
    return node->place && mwpy_node_is_top(node) && mwpy_node_whose(node) == object;
}

/* key: NULL for the node of the whole object. */
static mwpy_node *node_at(PyObject *object, PyObject *key) {
    if (!key) return mwpy_node_of(object);
    mwpy_node *node = mwpy_node_behind(object, NULL);
    while (node && !(is_place_of(node, object) && mwpy_key_is(key, node->place))) node = mwpy_node_behind(object, node);
    return node;
}

static PyObject *find_places(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *object, *key = NULL;
    if (!PyArg_ParseTuple(args, "O|O", &object, &key)) return NULL;
    mwpy_node *node = node_at(object, key);
    if (!node) Py_RETURN_NONE;
    mwpy_root *root = node->root;
    size_t size = 0;
    for (unsigned i = 0; i < root->cells.slabs; i++) size += root->cells.slab[i].pages * MW_PAGE_SIZE;
    return Py_BuildValue("InOOn", root->cells.slab[0].id, (Py_ssize_t)size, root->info ? root->info : Py_None,
                         root->top == node ? Py_True : Py_False, (Py_ssize_t)root->refused);
}

static PyObject *describe_places(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *object, *metadata, *key = NULL;
    if (!PyArg_ParseTuple(args, "OS|O", &object, &metadata, &key)) return NULL;
    mwpy_node *node = node_at(object, key);
    if (node && mwpy_cells_describe(&node->root->cells, metadata)) return NULL;
    Py_RETURN_NONE;
}

static PyObject *judge_places(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *program;
    unsigned id, handle;
    if (!PyArg_ParseTuple(args, "IOI", &id, &program, &handle)) return NULL;
    mwpy_root *root = mwpy_roots;
    while (root && root->cells.slab[0].id != id) root = root->next;
    if (program != Py_None && !PyBytes_CheckExact(program)) return PyErr_Format(PyExc_TypeError, "a program is bytes");
    if (root && mwpy_cells_judge(&root->cells, or_null(program), handle)) return NULL;
    return PyBool_FromLong(root != NULL);
}

static PyObject *info_of_places(PyObject *module, PyObject *number) {
    (void)module;
    unsigned long id = PyLong_AsUnsignedLong(number);
    if (PyErr_Occurred()) return NULL;
    const mwpy_root *root = mwpy_roots;
    while (root && root->cells.slab[0].id != id) root = root->next;
    return Py_NewRef(root && root->info ? root->info : Py_None);
}

static mwpy_node *place_in(PyObject *object) {
    mwpy_node *node = mwpy_node_behind(object, NULL);
    while (node && (!is_place_of(node, object) || node->root->kept)) node = mwpy_node_behind(object, node);
    return node;
}

static PyObject *close_places(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *object, *key = NULL;
    if (!PyArg_ParseTuple(args, "O|O", &object, &key)) return NULL;
    mwpy_node *node = node_at(object, key);
    if (node && (node->root->top != node || node->root->kept)) node = NULL; /* a part of what is watched */
    if (!node && !key) node = place_in(object);
    bool any = node != NULL;
    for (; node; node = key ? NULL : place_in(object)) {
        mwpy_root_audit(node->root);
        node->root->cells.ending = mwpy_unwatched(2); /* above two functions of ours */
        mwpy_root_close(node->root);
    }
    return PyBool_FromLong(any);
}

static PyObject *audit_places(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    size_t changed = 0;
    for (mwpy_root *root = mwpy_roots; root; root = root->next) changed += mwpy_root_audit(root);
    return PyLong_FromSize_t(changed);
}

static PyObject *close_all_places(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    while (mwpy_roots) {
        mwpy_roots->cells.ending = (mw_ending){.why = MW_END_CLOSED};
        mwpy_root_close(mwpy_roots);
    }
    Py_RETURN_NONE;
}

/* None of the program's code runs within them, by the collector neither. */
#define WHOLE(function)                                                                                                \
    static PyObject *whole_##function(PyObject *module, PyObject *args) {                                              \
        int collected = mwpy_collector_stops();                                                                        \
        PyObject *result = function(module, args);                                                                     \
        mwpy_collector_goes_on(collected);                                                                             \
        return result;                                                                                                 \
    }
WHOLE(open_places)
WHOLE(open_names)
WHOLE(open_route)
WHOLE(route_end)
WHOLE(widen_names)
WHOLE(has_held)
WHOLE(keep_places)
WHOLE(tell_unmet)
WHOLE(place_of)
WHOLE(find_places)
WHOLE(describe_places)
WHOLE(judge_places)
WHOLE(close_places)
WHOLE(audit_places)
WHOLE(close_all_places)

PyMethodDef mwpy_places_functions[] = {
    {"why_no_places", why_not, METH_O, why_not_doc},
    {"open_places", whole_open_places, METH_VARARGS, open_doc},
    {"open_names", whole_open_names, METH_VARARGS, open_names_doc},
    {"open_route", whole_open_route, METH_VARARGS, open_route_doc},
    {"route_end", whole_route_end, METH_VARARGS, route_end_doc},
    {"widen_names", whole_widen_names, METH_VARARGS, widen_names_doc},
    {"keep_places", whole_keep_places, METH_VARARGS, keep_doc},
    {"has_held", whole_has_held, METH_VARARGS, has_held_doc},
    {"tell_unmet", whole_tell_unmet, METH_VARARGS, tell_unmet_doc},
    {"place_of", whole_place_of, METH_VARARGS, place_doc},
    {"find_places", whole_find_places, METH_VARARGS, find_doc},
    {"describe_places", whole_describe_places, METH_VARARGS, describe_doc},
    {"info_of_places", info_of_places, METH_O, info_doc},
    {"judge_places", whole_judge_places, METH_VARARGS, judge_doc},
    {"close_places", whole_close_places, METH_VARARGS, close_doc},
    {"audit_places", whole_audit_places, METH_NOARGS, audit_doc},
    {"close_all_places", whole_close_all_places, METH_NOARGS, close_all_doc},
    {"declare_types", declare_types, METH_O, declare_doc},
    {"set_secrets", set_secrets, METH_O, set_secrets_doc},
    {"is_secret", is_secret, METH_O, is_secret_doc},
    {"written", written, METH_O, written_doc},
    {NULL, NULL, 0, NULL},
};
