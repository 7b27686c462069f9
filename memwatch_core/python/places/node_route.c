/* node_route.c - see node_route.h. */
#define Py_BUILD_CORE_MODULE 1
#include "interpreter.h"
#include "places/node_route.h"

#include "places/attributes.h"
#include "places/births.h"
#include "places/cell.h"
#include "places/layout.h"
#include "places/node.h"
#include "places/node_items.h"
#include "places/node_secrets.h"
#include "places/node_table.h"
#include "places/place.h"
#include "places/reports.h"
#include "places/slab.h"

typedef struct mwpy_route {
    PyObject *names; /* tuple */
    uint64_t brackets;
    int n;
    mwpy_cell_number cell; /* of what it leads to */
    unsigned born;         /* instances, so far */
    bool led;              /* to something */
    mwpy_node *nodes[];
} mwpy_route;

static bool in_brackets(const mwpy_route *route, int i) { return route->brackets >> i & 1; }

bool mwpy_node_leads(const mwpy_node *node) { return !mwpy_node_is_top(node); }

/* ---- an object and one of its places ----------------------------------------------------------------------------- */

/* The word of an object in which a slot of this name lies; NULL: it has none. */
static PyObject **slot_of(const mwpy_node *node, size_t *i) {
    const mwpy_layout *layout = node->layout;
    for (*i = 0; layout && *i < layout->count; ++*i)
        if (layout->slots[*i].name && mwpy_key_is(layout->slots[*i].name, node->place))
            return mwpy_slot_in(node->owner, layout, *i);
    return NULL;
}

bool mwpy_route_is_slot(const mwpy_node *node, PyObject *value) {
    if (!node->step || !value || !Py_IS_TYPE(value, &PyMemberDescr_Type)) return false;
    return (PyObject *)PyDescr_TYPE(value) == node->owner; /* which may be gone, and its dict still there */
}

/* What lies at a node's place now; NULL: nothing. Borrowed. */
static PyObject *held(const mwpy_node *node) {
    size_t i;
    PyObject **slot = node->owner ? slot_of(node, &i) : NULL, *key, *value;
    if (slot) return *slot;
    if (node->indexed) return mwpy_items_at(node);
    for (Py_ssize_t at = 0; node->dict && PyDict_Next(node->dict, &at, &key, &value);)
        if (mwpy_key_is(key, node->place)) return mwpy_route_is_slot(node, value) ? NULL : value;
    return NULL;
}

static void detach(mwpy_node *node, bool alive) {
    if (node->owner && PyType_Check(node->owner) && !mwpy_node_leads(node)) mwpy_births_end(node->root, node->owner);
    if (node->indexed) mwpy_items_leave(node, alive);
    if (node->dict) mwpy_node_leave_dict(node, alive);
    if (node->owner) mwpy_table_take(node->owner, node);
    for (size_t i = 0; node->layout && i < node->layout->count; i++) node->slots[i] = MWPY_NO_CELL; /* the route's */
    mwpy_layout *layout = mwpy_slots_close(node);
    node->owner = NULL;
    if (layout) mwpy_layout_give_back(layout);
}

/* An attribute: of its slot, or of its dict. */
static int attach_attribute(mwpy_node *node, PyObject *object) {
    const char *why;
    size_t i;
    if (PyDict_Check(object) || PyList_Check(object) || PyAnySet_Check(object) || !mwpy_has_attributes(object, &why))
        return -1;
    node->owner = object;
    if (mwpy_table_put(object, node)) return -1;
    if (mwpy_slots_open(node) && mwpy_has_slots(object)) return -1;
    if (slot_of(node, &i)) return 0;
    PyObject *dict = mwpy_dict_of(object);
    Py_XDECREF(dict);  /* the object has it */
    node->dict = dict; /* of a class whose instances have a slot as well: it says when the class is gone */
    return !dict || mwpy_table_put(dict, node) || mwpy_dict_watch(dict) ? -1 : 0;
}

static int attach_key(mwpy_node *node, PyObject *object) {
    if (PyList_Check(object)) return mwpy_items_join(node, object);
    if (!PyDict_Check(object)) return -1;
    PyObject *dict = mwpy_dict_of(object);
    Py_XDECREF(dict);
    node->dict = dict;
    return !dict || mwpy_table_put(dict, node) || mwpy_dict_watch(dict) ? -1 : 0;
}

/* 0, or -1: it has no such places, or there is no memory. */
static int attach(mwpy_node *node, PyObject *object) {
    int failed = node->attributes ? attach_attribute(node, object) : attach_key(node, object);
    PyErr_Clear();
    if (failed) detach(node, true);
    return failed;
}

/* ---- a route ----------------------------------------------------------------------------------------------------- */

/* Whose place it is; NULL: nothing's. */
static PyObject *object_of(const mwpy_node *node) {
    return node->indexed ? mwpy_items_list(node) : mwpy_node_whose(node);
}

static mwpy_node *behind(const mwpy_node *node) { return node->root->route->nodes[node->step]; }

static void forget_links(mwpy_node *node) {
    Py_ssize_t at = 0;
    PyObject *key;
    while (node->links && PyDict_Next(node->links, &at, &key, NULL)) {
        mwpy_node_lose(node, key);
        at = 0;
    }
}

/* Where the cell of the top is looked for. */
static void put_cell(mwpy_node *top) {
    size_t i;
    if (slot_of(top, &i)) top->slots[i] = top->root->route->cell;
}

/* Under which key something is followed. */
static PyObject *link_key(const mwpy_node *top) {
    size_t i;
    return top->owner && slot_of(top, &i) ? top->layout->slots[i].key : top->place;
}

/* The top has another object, or none. */
static void arrive(mwpy_node *top, mw_shadow why) {
    PyObject *now = held(top);
    mwpy_cell_number cell = top->root->route->cell;
    mwpy_cell found;
    put_cell(top);
    top->item = now;
    top->root->route->led |= now != NULL;
    mwpy_cell_describe(&found, now);
    mwpy_node_hide(top, top->place, cell, &found);
    bool same = !memcmp(&found, mwpy_cell_at(&top->root->cells, cell), mwpy_cell_size(&found));
    if (!same) mwpy_node_write(top, top->place, cell, &found, why);
    forget_links(top);
    if (now) mwpy_node_follow(top, link_key(top), now);
    if (top->owner && PyType_Check(top->owner)) mwpy_births_begin(top->root, top->owner);
}

void mwpy_node_leads_to(mwpy_node *node, PyObject *now, mw_shadow why) {
    mwpy_node *next = behind(node);
    PyObject *before = object_of(next);
    node->item = now;
    if (now && now == before) return;
    if (before) detach(next, true);
    if (now && attach(next, now)) mwpy_node_leaves(node, node->place, now, MWPY_LEFT_KIND);
    if (mwpy_node_leads(next))
        mwpy_node_leads_to(next, held(next), why);
    else
        arrive(next, why);
}

bool mwpy_node_leads_on(mwpy_node *node, mw_shadow why) {
    PyObject *now = held(node);
    if (now == node->item) return false;
    mwpy_node_leads_to(node, now, why);
    return true;
}

void mwpy_node_item_is(mwpy_node *node, PyObject *now, mw_shadow why) {
    if (mwpy_node_leads(node))
        mwpy_node_leads_to(node, now, why);
    else if (now != node->item)
        arrive(node, why);
}

void mwpy_node_strays(mwpy_node *node, bool alive) {
    mw_shadow why = mwpy_is_finalizing() ? MW_SHADOW_SILENT : MW_SHADOW_FOUND;
    detach(node, alive);
    if (mwpy_node_leads(node))
        mwpy_node_leads_to(node, NULL, why);
    else
        arrive(node, why);
}

bool mwpy_route_led(const mwpy_route *route) { return route->led; }

void mwpy_route_close(mwpy_root *root) {
    PyObject *owner = root->top ? root->top->owner : NULL;
    if (owner && PyType_Check(owner)) mwpy_births_end(root, owner);
    Py_CLEAR(root->route->names);
}

static mwpy_route *make(PyObject *names, uint64_t brackets) {
    int n = (int)PyTuple_GET_SIZE(names);
    mwpy_route *route = PyMem_Calloc(1, sizeof *route + (size_t)n * sizeof *route->nodes);
    if (!route) return NULL;
    *route = (mwpy_route){.names = Py_NewRef(names), .brackets = brackets, .n = n, .cell = MWPY_NO_CELL};
    return route;
}

static int make_nodes(mwpy_root *root) {
    mwpy_route *route = root->route;
    for (int i = 0; i < route->n; i++) {
        mwpy_node *node = mwpy_node_make(root, PyTuple_GET_ITEM(route->names, i));
        if (!node) return -1;
        node->step = i + 1;
        node->attributes = !in_brackets(route, i);
        route->nodes[i] = node;
    }
    root->top = route->nodes[route->n - 1];
    root->top->cells = PyDict_New();
    route->cell = root->top->cells ? mwpy_node_take_cell(root->top, root->top->place) : MWPY_NO_CELL;
    return route->cell == MWPY_NO_CELL ? -1 : 0;
}

mwpy_root *mwpy_route_open(PyObject *object, PyObject *name, PyObject *metadata, uint32_t flags, int depth, size_t most,
                           PyObject *names, uint64_t brackets) {
    const mwpy_choice all = {0};
    mwpy_root *root = mwpy_root_make(name, metadata, flags, depth, most, &all, 1);
    if (!root) return NULL;
    root->route = make(names, brackets);
    if (!root->route || make_nodes(root)) {
        if (!PyErr_Occurred()) PyErr_NoMemory();
    } else if (object && attach(root->route->nodes[0], object)) {
        PyErr_SetString(PyExc_TypeError, "it has no names");
    }
    if (PyErr_Occurred()) {
        mwpy_root_close(root);
        return NULL;
    }
    if (flags & MW_SECRET) mwpy_root_hide(root);
    if (object) mwpy_node_leads_on(root->route->nodes[0], MW_SHADOW_SILENT);
    return root;
}

static PyObject *item_of(PyObject *list, PyObject *index) {
    Py_ssize_t i = PyLong_CheckExact(index) ? PyLong_AsSsize_t(index) : PY_SSIZE_T_MAX, n = PyList_GET_SIZE(list);
    if (i < 0) i += n;
    return i >= 0 && i < n ? PyList_GET_ITEM(list, i) : NULL;
}

static PyObject *held_in(PyObject *object, PyObject *key) {
    mwpy_place place;
    if (mwpy_place_find(object, key, &place)) return NULL;
    Py_XDECREF(place.text);
    Py_XDECREF(place.why);
    Py_XDECREF(place.key);
    return place.held;
}

PyObject *mwpy_route_end(PyObject *object, PyObject *names, uint64_t brackets) {
    for (Py_ssize_t i = 0; object && i < PyTuple_GET_SIZE(names); i++) {
        PyObject *key = PyTuple_GET_ITEM(names, i);
        bool list = PyList_Check(object), container = list || PyDict_Check(object);
        if (container != (bool)(brackets >> i & 1)) return NULL;
        object = list ? item_of(object, key) : held_in(object, key);
        PyErr_Clear();
    }
    return object;
}

/* ---- instances --------------------------------------------------------------------------------------------------- */

/* Whether its place is watched by this watch already. */
static bool is_there(const mwpy_root *root, PyObject *instance) {
    const mwpy_node *node = mwpy_table_get(instance);
    while (node && (node->root != root || node->owner != instance)) node = mwpy_table_next(instance, node);
    return node != NULL;
}

void mwpy_route_bears(mwpy_root *root, PyObject *instance) {
    mwpy_route *route = root->route;
    size_t i;
    if (is_there(root, instance)) return;
    unsigned number = ++route->born;
    mwpy_node *node = root->count < root->most ? mwpy_node_make(root, root->top->place) : NULL;
    if (!node) {
        root->refused++;
        mwpy_node_leaves(root->top, root->top->place, instance, MWPY_LEFT_MOST);
        return;
    }
    node->number = number;
    node->cells = PyDict_New();
    if (!node->cells || attach(node, instance)) {
        PyErr_Clear();
        mwpy_node_leaves(root->top, root->top->place, instance, MWPY_LEFT_KIND);
        mwpy_node_end(node, true);
        return;
    }
    if (slot_of(node, &i)) {
        mwpy_slots_fill(node);
    } else {
        PyObject *now = held(node);
        mwpy_cell_number cell = now ? mwpy_node_take_cell(node, node->place) : MWPY_NO_CELL;
        if (cell != MWPY_NO_CELL) {
            root->absent++;
            mwpy_node_holds(node, node->place, cell, now, MW_SHADOW_SILENT);
        }
    }
    mwpy_secrets_judge(node);
}
