/* node.c - see node.h. */
#include "places/node.h"

#include <string.h>

#include "base/compiler.h"
#include "origins/endings.h"
#include "origins/utf8.h"
#include "places/attributes.h"
#include "places/births.h"
#include "places/cell.h"
#include "places/glob.h"
#include "places/known_types.h"
#include "places/layout.h"
#include "places/node_items.h"
#include "places/node_members.h"
#include "places/node_route.h"
#include "places/node_secrets.h"
#include "places/node_spots.h"
#include "places/node_table.h"
#include "places/reports.h"
#include "places/slab.h"
#include "places/types.h"

enum { ABSENT_FEW = 64 };

mwpy_root *mwpy_roots;

/* An owner whose end isn't told may be gone, and another object at its address: then its dict isn't the one that is
 * watched. */
mwpy_node *mwpy_node_behind(PyObject *dict_or_owner, const mwpy_node *node) {
    for (;;) {
        mwpy_node *next = node ? mwpy_table_next(dict_or_owner, node) : mwpy_table_get(dict_or_owner);
        if (!next || next->dict == dict_or_owner || next->layout || next->items || next->members) return next;
        if (mwpy_attributes_now(dict_or_owner) == next->dict) return next;
        mwpy_table_take(next->owner, next);
        next->owner = NULL;
    }
}

mwpy_node *mwpy_node_of(PyObject *dict_or_owner) {
    mwpy_node *node = mwpy_node_behind(dict_or_owner, NULL);
    while (node && node->place) node = mwpy_node_behind(dict_or_owner, node);
    return node;
}

PyObject *mwpy_node_whose(const mwpy_node *node) { return node->owner ? node->owner : node->dict; }

static bool is_top(const mwpy_node *node) { return mwpy_node_is_top(node); }

/* ---- cells of keys ----------------------------------------------------------------------------------------------- */

static bool is_class(const mwpy_node *node) { return node->owner && PyType_Check(node->owner); }

static bool is_of_pattern(PyObject *pattern, PyObject *name) {
    char text[MWPY_PATH];
    size_t n = 0;
    for (Py_ssize_t i = 0; i < PyUnicode_GET_LENGTH(name) && n + 4 <= sizeof text; i++)
        n += mwpy_put_utf8(text + n, PyUnicode_READ_CHAR(name, i));
    const char *each = PyBytes_AS_STRING(pattern), *end = each + PyBytes_GET_SIZE(pattern);
    for (size_t length; each <= end; each += length + 1)
        if (mwpy_glob(each, length = strlen(each), text, n, false)) return true;
    return false;
}

bool mwpy_node_wants(const mwpy_node *node, PyObject *key) {
    const mwpy_choice *choice = &node->root->choice;
    if (unlikely(node->place != NULL)) return mwpy_key_is(key, node->place);
    if (node->level && !(choice->module && is_class(node))) return true;
    bool plain = PyUnicode_CheckExact(key);
    if (choice->skip && plain && PySet_Contains(choice->skip, key) == 1) return false;
    if (node->level) return true;
    if (choice->fields && !(plain && PySet_Contains(choice->fields, key) == 1)) return false;
    return !choice->pattern || (plain && is_of_pattern(choice->pattern, key));
}

/* As mwpy_node_wants(). A place may be stored to by a key that is equal to its own. */
static bool wants(mwpy_node *node, PyObject **key) {
    if (likely(!node->place)) return mwpy_node_wants(node, *key);
    if (!mwpy_key_is_plain(*key)) node->strange = true;
    if (!mwpy_key_is(*key, node->place)) return false;
    *key = node->place;
    return true;
}

static PyObject *number_of(PyObject *index, PyObject *key) {
    return index ? PyDict_GetItemWithError(index, key) : NULL;
}

static struct mwpy_recent *recent_of(mwpy_node *node, const PyObject *key) {
    return &node->recent[(uintptr_t)key / 16 % MWPY_RECENT];
}

static void forget_recent(mwpy_node *node) {
    for (size_t i = 0; i < MWPY_RECENT; i++) Py_CLEAR(node->recent[i].key);
}

static mwpy_cell_number cell_of(mwpy_node *node, PyObject *key) {
    struct mwpy_recent *recent = recent_of(node, key);
    if (likely(recent->key == key)) return recent->number;
    PyObject *number = NULL;
    if (mwpy_key_is_plain(key)) {
        number = number_of(node->cells, key);
    } else if (node->odd) {
        PyObject *address = PyLong_FromVoidPtr(key);
        number = address ? number_of(node->odd, address) : NULL;
        Py_XDECREF(address);
    }
    PyErr_Clear();
    if (!number) return MWPY_NO_CELL;
    mwpy_cell_number found = (mwpy_cell_number)PyLong_AsUnsignedLong(number);
    if (PyUnicode_CheckExact(key)) {
        Py_XSETREF(recent->key, Py_NewRef(key));
        recent->number = found;
    }
    return found;
}

/* Cells of keys that are gone are kept, because they often come again; but not more than there are others. */
static void sweep(mwpy_root *root) {
    for (mwpy_node *node = root->nodes; node; node = node->after) {
        PyObject *keys = node->cells ? PyDict_Keys(node->cells) : NULL;
        for (Py_ssize_t i = 0; keys && i < PyList_GET_SIZE(keys); i++) {
            PyObject *key = PyList_GET_ITEM(keys, i);
            mwpy_cell_number number = cell_of(node, key);
            if (number == MWPY_NO_CELL || mwpy_cell_at(&root->cells, number)->kind != MWPY_ABSENT) continue;
            if (!PyDict_DelItem(node->cells, key)) mwpy_cell_give_back(&root->cells, number);
        }
        forget_recent(node);
        Py_XDECREF(keys);
    }
    PyErr_Clear();
    root->absent = 0;
}

mwpy_cell_number mwpy_node_take_cell(mwpy_node *node, PyObject *key) {
    mwpy_root *root = node->root;
    if (root->absent > ABSENT_FEW && !root->cells.free_n) {
        size_t handed_out = 0;
        for (unsigned i = 0; i < root->cells.slabs; i++) handed_out += root->cells.slab[i].used;
        if (root->absent > handed_out / 2) sweep(root);
    }
    mwpy_cell_number number = mwpy_cell_take(&root->cells);
    if (number == MWPY_NO_CELL) return number;
    bool plain = mwpy_key_is_plain(key);
    if (!plain && !node->odd) node->odd = PyDict_New();
    PyObject *index = plain ? node->cells : node->odd;
    PyObject *kept = plain ? Py_NewRef(key) : PyLong_FromVoidPtr(key), *value = PyLong_FromUnsignedLong(number);
    bool failed = !index || !kept || !value || PyDict_SetItem(index, kept, value);
    Py_XDECREF(kept);
    Py_XDECREF(value);
    if (!failed) return number;
    PyErr_Clear();
    mwpy_cell_give_back(&root->cells, number);
    return MWPY_NO_CELL;
}

static __attribute__((noinline)) void tell_path(mwpy_node *node, PyObject *key, mwpy_cell_number number) {
    char text[MWPY_KEY_TEXT];
    mwpy_node_tell(node, number, text, key ? mwpy_node_key_text(node, key, text) : 0);
}

void mwpy_node_write(mwpy_node *node, PyObject *key, mwpy_cell_number number, mwpy_cell *now, mw_shadow why) {
    mwpy_cells *cells = &node->root->cells;
    mwpy_node_hide(node, key, number, now);
    bool judged = unlikely(cells->judged != NULL) && why != MW_SHADOW_SILENT;
    if (why != MW_SHADOW_SILENT && unlikely(!mwpy_cell_is_told(cells, number))) tell_path(node, key, number);
    if (judged) mwpy_node_is_subject(node, key, NULL, number);
    mwpy_cell_write(cells, number, now, why, 0);
    if (judged) mw_set_subject(NULL, 0);
}

static void write_cell(mwpy_node *node, PyObject *key, mwpy_cell_number number, mwpy_cell *now, mw_shadow why) {
    bool was_absent = mwpy_cell_at(&node->root->cells, number)->kind == MWPY_ABSENT;
    node->root->absent += (now->kind == MWPY_ABSENT) - was_absent;
    mwpy_node_write(node, key, number, now, why);
}

/* An address is given to another key once this one is gone. */
static void forget_odd(mwpy_node *node, PyObject *key, mwpy_cell_number number) {
    PyObject *address = PyLong_FromVoidPtr(key);
    if (address && !PyDict_DelItem(node->odd, address)) {
        node->root->absent--;
        mwpy_cell_give_back(&node->root->cells, number);
    }
    PyErr_Clear();
    Py_XDECREF(address);
}

/* ---- nodes come and go ------------------------------------------------------------------------------------------- */

static mwpy_node *follow(mwpy_root *root, mwpy_node *parent, PyObject *key, PyObject *value, int level);
static void end(mwpy_node *node, bool alive);
bool mwpy_is_near(const mwpy_node *node, const mwpy_root *root, int level) {
    if (root->choice.module && is_class(node)) return level < MWPY_DEPTH_MOST;
    level -= node->classes;
    return node->attributes ? level < root->depth : level <= root->depth;
}

static mwpy_node *dying; /* nodes that nothing leads to any more; a chain of them isn't taken apart by recursion */
static bool ending;

static bool is_reached(const mwpy_node *node) { return is_top(node) || node->level != MWPY_UNREACHED; }

static void end_dying(void) {
    ending = true;
    while (dying) {
        mwpy_node *node = dying;
        dying = node->next_dying;
        node->dying = false;
        if (!is_reached(node)) end(node, true);
    }
    ending = false;
}

static void end_soon(mwpy_node *nodes) {
    for (mwpy_node *next; nodes; nodes = next) {
        next = nodes->next_dying;
        nodes->dying = true;
        nodes->next_dying = dying;
        dying = nodes;
    }
    if (!ending) end_dying();
}

/* It isn't about to end, for now. */
static void spare(mwpy_node *node) {
    for (mwpy_node **link = &dying; node->dying; link = &(*link)->next_dying)
        if (*link == node) {
            *link = node->next_dying;
            node->dying = false;
        }
}

/* If a node is nearer by this spot, it shows more of what it holds, which comes nearer too. */
static void approach(mwpy_spot *spot) {
    mwpy_node *node = spot->child;
    int level = spot->parent->level + 1;
    if (node->root != spot->parent->root || is_top(node) || level >= node->level) return;
    spare(node);
    mwpy_spot_names(spot);
    node->level = level++;
    node->classes = spot->parent->classes + is_class(node);
    Py_ssize_t at = 0;
    PyObject *key, *value;
    while (node->dict && PyDict_Next(node->dict, &at, &key, &value))
        if (mwpy_key_is_plain(key)) follow(node->root, node, key, value, level);
    for (size_t i = 0; node->layout && node->owner && i < node->layout->count; i++) {
        PyObject *slot = node->layout->slots[i].key;
        value = slot ? *mwpy_slot_in(node->owner, node->layout, i) : NULL;
        if (value) follow(node->root, node, slot, value, level);
    }
    if (node->items) mwpy_items_follow(node);
}

void mwpy_node_lose(mwpy_node *parent, PyObject *key) {
    mwpy_spot *spot = mwpy_node_spot(parent, key);
    if (!spot) return;
    mwpy_node *node = spot->child;
    bool first = node->spots == spot;
    mwpy_spot_free(spot);
    if (first && is_reached(node) && !is_top(node) && node->root->top) end_soon(mwpy_ways_lost(node));
}

/* Whose watch a node was found in as well, and where. */
typedef struct holder {
    const void *parent; /* the address of one that is watched, or was */
    mwpy_root *root;
    PyObject *key;
    size_t times;
    bool place;
} holder;

static mwpy_node *parent_of(const holder *h) {
    mwpy_node *node = mwpy_table_get(h->parent);
    while (node && (node->root != h->root || mwpy_node_whose(node) != h->parent || !node->place == h->place))
        node = mwpy_table_next(h->parent, node);
    return node;
}

/* That watch goes on with what was found there. */
static void go_on(const holder *h, PyObject *value) {
    mwpy_node *parent = parent_of(h);
    if (!parent) return;
    follow(parent->root, parent, h->key, value, parent->level + 1);
    mwpy_spot *spot = mwpy_node_spot(parent, h->key);
    if (spot && spot->uncounted) mwpy_spot_counts(spot, h->times);
}

static void give_back_cells(mwpy_node *node, PyObject *index) {
    mwpy_root *root = node->root;
    Py_ssize_t at = 0;
    PyObject *key, *number;
    while (index && PyDict_Next(index, &at, &key, &number)) {
        mwpy_cell_number cell = (mwpy_cell_number)PyLong_AsUnsignedLong(number);
        root->absent -= mwpy_cell_at(&root->cells, cell)->kind == MWPY_ABSENT;
        mwpy_cell_empty(&root->cells, cell);
    }
}

void mwpy_node_leave_dict(mwpy_node *node, bool alive) {
    mwpy_table_take(node->dict, node);
    if (alive && !mwpy_table_get(node->dict)) mwpy_dict_unwatch(node->dict);
    node->dict = NULL;
}

static void leave_root(mwpy_node *node) {
    mwpy_root *root = node->root;
    if (node->before)
        node->before->after = node->after;
    else
        root->nodes = node->after;
    if (node->after) node->after->before = node->before;
    root->count--;
    root->ended++;
}

/* alive: dict and owner are still there; other watches that hold it then go on with it. */
static void end_now(mwpy_node *node, bool alive) {
    mwpy_root *root = node->root;
    if (node->suspect && node->dict) mwpy_node_audit(node);
    bool closing = !root->top;
    size_t n = 0, holders_n = 0;
    for (mwpy_spot *spot = node->spots; spot; spot = spot->next) n += spot->parent->root != root;
    holder *holders = alive && n ? PyMem_Calloc(n, sizeof *holders) : NULL;
    while (node->spots) {
        mwpy_spot *spot = node->spots;
        if (holders && spot->parent->root != root)
            holders[holders_n++] = (holder){mwpy_node_whose(spot->parent), spot->parent->root, Py_NewRef(spot->key),
                                            spot->times, spot->parent->place != NULL};
        mwpy_spot_free(spot);
    }
    mwpy_secrets_kept kept = {0};
    if (holders_n && unlikely(mwpy_secrets.on)) mwpy_secrets_keep(&kept, node);
    if (is_top(node)) root->top = NULL;
    PyObject *value = mwpy_node_whose(node);
    if (node->dict) mwpy_node_leave_dict(node, alive);
    if (node->owner) mwpy_table_take(node->owner, node);
    if (root->top && is_reached(node)) end_soon(mwpy_ways_end(node));
    Py_ssize_t at = 0;
    PyObject *key;
    while (node->links && PyDict_Next(node->links, &at, &key, NULL)) mwpy_node_lose(node, key); /* asks for no memory */
    leave_root(node);
    if (!closing) {
        give_back_cells(node, node->cells);
        give_back_cells(node, node->odd);
    }
    mwpy_layout *layout = mwpy_slots_close(node);
    if (node->indexed)
        mwpy_items_leave(node, alive);
    else if (node->items)
        mwpy_items_close(node, alive);
    if (node->members) mwpy_members_close(node, alive);
    Py_XDECREF(node->place);
    Py_XDECREF(node->links);
    Py_XDECREF(node->cells);
    Py_XDECREF(node->odd);
    forget_recent(node);
    PyMem_Free(node);
    const mwpy_secrets_kept *outer = mwpy_secrets_go_on(&kept);
    for (size_t i = 0; i < holders_n; i++) {
        go_on(&holders[i], value);
        Py_DECREF(holders[i].key);
    }
    mwpy_secrets_go_on(outer);
    Py_XDECREF(kept.keys);
    PyMem_Free(holders);
    if (layout) mwpy_layout_give_back(layout);
    PyErr_Clear();
}

static void end(mwpy_node *node, bool alive) {
    bool outer = ending;
    spare(node);
    ending = true;
    end_now(node, alive);
    ending = outer;
    if (!outer) end_dying();
}

/* Whether its contents lie in guarded memory when it is watched. */
static bool is_guarded(PyObject *object) { return PyList_Check(object) || PySet_Check(object); }

/* Whether a class says that it is of this module. */
static bool is_defined_in(PyObject *class, PyObject *module) {
    static PyObject *name;
    if (!name) name = PyUnicode_InternFromString("__module__");
    PyObject *dict = PyType_GetDict((PyTypeObject *)class), *said = mwpy_entry(dict, name);
    Py_XDECREF(dict); /* the class has it */
    PyErr_Clear();
    const char *why;
    return said && PyUnicode_CheckExact(said) && !PyUnicode_Compare(said, module) && mwpy_has_attributes(class, &why);
}

bool mwpy_is_followed(const mwpy_root *root, PyObject *value, int level) {
    const char *why;
    if (PyType_Check(value))
        return root->choice.module && level < MWPY_DEPTH_MOST && is_defined_in(value, root->choice.module);
    if (PyDict_Check(value) || is_guarded(value)) return level <= root->depth;
    return level < root->depth && !PyModule_Check(value) && mwpy_has_attributes(value, &why) &&
           !mwpy_is_declared(value);
}

/* From now on, what it holds is reported. 0, or -1: no memory, or it can't be. */
static int report(mwpy_node *node) {
    PyObject *dict = node->dict, *owner = node->owner;
    if (dict && (!node->cells || mwpy_table_put(dict, node))) return -1;
    if (owner && mwpy_table_put(owner, node)) return -1;
    if (owner && PyList_Check(owner)) return mwpy_items_open(node);
    if (owner && PySet_Check(owner)) return mwpy_members_open(node);
    if (owner && mwpy_slots_open(node) && mwpy_has_slots(owner)) return -1;
    return dict ? mwpy_dict_watch(dict) : 0;
}

static void join(mwpy_root *root, mwpy_node *node) {
    node->after = root->nodes;
    if (root->nodes) root->nodes->before = node;
    root->nodes = node;
    root->count++;
}

static mwpy_node *new_node(mwpy_root *root, PyObject *dict, PyObject *owner, int level) {
    mwpy_node *node = PyMem_Calloc(1, sizeof *node);
    if (!node) return NULL;
    bool attributes = owner && !is_guarded(owner);
    *node = (mwpy_node){.dict = dict, .owner = owner, .attributes = attributes, .root = root, .level = level};
    node->cells = dict ? PyDict_New() : NULL;
    if (report(node)) {
        mwpy_layout *layout = mwpy_slots_close(node);
        if (dict) mwpy_table_take(dict, node);
        if (owner) mwpy_table_take(owner, node);
        Py_XDECREF(node->cells);
        PyMem_Free(node);
        if (layout) mwpy_layout_give_back(layout);
        return NULL;
    }
    join(root, node);
    return node;
}

mwpy_node *mwpy_node_make(mwpy_root *root, PyObject *place) {
    mwpy_node *node = PyMem_Calloc(1, sizeof *node);
    if (!node) return NULL;
    *node = (mwpy_node){.place = Py_NewRef(place), .attributes = true, .root = root};
    join(root, node);
    return node;
}

void mwpy_node_end(mwpy_node *node, bool alive) { end(node, alive); }

/* What lies under a key that isn't plain isn't followed: the key would have to be compared. */
static void follow_key(mwpy_node *node, PyObject *key, PyObject *value) {
    if (!mwpy_may_be_followed(value)) return;
    if (mwpy_key_is_plain(key))
        follow(node->root, node, key, value, node->level + 1);
    else if (mwpy_is_followed(node->root, value, node->level + 1 - node->classes))
        mwpy_node_leaves(node, key, value, MWPY_LEFT_KEY);
}

/* Gives each key its cell, and follows what is found there. */
static void fill(mwpy_node *node) {
    Py_ssize_t at = 0;
    PyObject *key, *value;
    bool known = mwpy_left_known;
    mwpy_left_known = false;
    mwpy_slots_fill(node);
    if (node->items) mwpy_items_fill(node);
    if (node->members) mwpy_members_fill(node);
    while (node->dict && PyDict_Next(node->dict, &at, &key, &value)) {
        mwpy_cell_number number = wants(node, &key) ? mwpy_node_take_cell(node, key) : MWPY_NO_CELL;
        if (number == MWPY_NO_CELL) continue;
        mwpy_cell now;
        mwpy_cell_describe(&now, value);
        node->root->absent++; /* as it is before it is written */
        write_cell(node, key, number, &now, MW_SHADOW_SILENT);
        follow_key(node, key, value);
    }
    mwpy_secrets_judge(node);
    mwpy_left_known = known;
}

/* The node of a value's dict, whose owner isn't known yet, or a new one. NULL: there is no memory, or it can't be
 * watched. */
static mwpy_node *node_for(mwpy_root *root, PyObject *value, int level, bool *known) {
    PyObject *dict = is_guarded(value) ? NULL : mwpy_dict_of(value), *owner = dict == value ? NULL : value;
    mwpy_node *node = dict ? mwpy_node_of(dict) : NULL;
    *known = node != NULL;
    if (*known && owner && !node->owner && !mwpy_table_put(owner, node)) {
        node->owner = owner;
        if (!mwpy_slots_open(node)) mwpy_slots_fill(node);
    }
    if (!*known && !PyErr_Occurred()) node = new_node(root, dict, owner, level);
    Py_XDECREF(dict); /* its owner, or who holds it, keeps it */
    return node;
}

/* A node of another watch than the one that would follow so many levels below it. */
static bool goes_less_far(const mwpy_node *node, int levels) {
    const mwpy_root *root = node->root;
    const mwpy_choice *choice = &root->choice;
    if (!is_reached(node)) return false; /* the other one will go on with it */
    return root->depth - node->level + node->classes < levels ||
           (is_top(node) && (choice->fields || choice->skip || choice->pattern));
}

static mwpy_node *follow(mwpy_root *root, mwpy_node *parent, PyObject *key, PyObject *value, int level) {
    int deep = level - parent->classes;
    if (!mwpy_is_followed(root, value, deep)) {
        mwpy_node_leaves_kind(parent, key, value, deep);
        return NULL;
    }
    mwpy_node *node = mwpy_node_of(value);
    mwpy_spot *spot = mwpy_node_spot(parent, key);
    if (spot && node == spot->child) {
        approach(spot);
        return node;
    }
    if (spot) {
        mwpy_node_lose(parent, key);
        node = mwpy_node_of(value); /* it may have ended with what was there */
    }
    bool known = node != NULL;
    if (!known && root->count < root->most) node = node_for(root, value, level, &known);
    if (!node || mwpy_spot_add(parent, key, node)) {
        bool refused = PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_MemoryError);
        if (node && !known) end(node, true);
        PyErr_Clear();
        root->refused++;
        mwpy_node_leaves(parent, key, value,
                         root->count >= root->most ? MWPY_LEFT_MOST
                         : refused                 ? MWPY_LEFT_KIND
                                                   : MWPY_LEFT_MEMORY);
        return NULL;
    }
    mwpy_node_inherit(parent, key, node);
    if (!known) node->classes = parent->classes + is_class(node);
    if (!known) fill(node);
    if (known && node->root != root && goes_less_far(node, root->depth - deep))
        mwpy_node_leaves(parent, key, value, MWPY_LEFT_OTHER_WATCH);
    if (known) approach(mwpy_node_spot(parent, key));
    return node;
}

void mwpy_node_follow(mwpy_node *parent, PyObject *key, PyObject *value) {
    if (!value || !mwpy_may_be_followed(value) || !follow(parent->root, parent, key, value, parent->level + 1))
        if (parent->links) mwpy_node_lose(parent, key);
}

/* ---- watches ----------------------------------------------------------------------------------------------------- */

/* A name as UTF-8; NULL: no memory. */
static char *called(PyObject *name, size_t *n) {
    Py_ssize_t length = PyUnicode_GET_LENGTH(name);
    char *text = PyMem_Malloc(MWPY_CALLED);
    *n = 0;
    for (Py_ssize_t i = 0; text && i < length && *n + 4 <= MWPY_CALLED; i++)
        *n += mwpy_put_utf8(text + *n, PyUnicode_READ_CHAR(name, i));
    return text;
}

mwpy_root *mwpy_root_make(PyObject *name, PyObject *metadata, uint32_t flags, int depth, size_t most,
                          const mwpy_choice *choice, size_t cells) {
    mwpy_root *root = PyMem_Calloc(1, sizeof *root);
    if (root) {
        *root = (mwpy_root){.depth = depth, .most = most, .choice = *choice};
        Py_XINCREF(choice->fields);
        Py_XINCREF(choice->skip);
        Py_XINCREF(choice->pattern);
        Py_XINCREF(choice->module);
        root->cells.name = Py_NewRef(name);
        root->cells.metadata = Py_NewRef(metadata);
        root->cells.flags = flags;
        root->called = called(name, &root->called_n);
        root->next = mwpy_roots;
        root->link = &mwpy_roots;
        if (root->next) root->next->link = &root->next;
        mwpy_roots = root;
    }
    if (!root || !root->called)
        PyErr_NoMemory();
    else
        mwpy_cells_open(&root->cells, cells);
    if (!PyErr_Occurred()) return root;
    if (root) mwpy_root_close(root);
    return NULL;
}

mwpy_root *mwpy_root_open(PyObject *object, PyObject *name, PyObject *metadata, uint32_t flags, int depth, size_t most,
                          const mwpy_choice *choice, PyObject *place) {
    PyObject *dict = is_guarded(object) ? NULL : mwpy_dict_of(object);
    if (PyErr_Occurred()) return NULL;
    if (!place && mwpy_node_of(dict ? dict : object)) {
        PyErr_SetString(PyExc_TypeError, dict ? "its __dict__ is watched already" : "it is watched already");
        Py_XDECREF(dict);
        return NULL;
    }
    mwpy_root *root =
        mwpy_root_make(name, metadata, flags, depth, most, choice, dict && !place ? (size_t)PyDict_GET_SIZE(dict) : 0);
    if (root && !(root->top = new_node(root, dict, dict == object ? NULL : object, 0)) && !PyErr_Occurred())
        PyErr_NoMemory();
    Py_XDECREF(dict);
    if (PyErr_Occurred()) {
        if (root) mwpy_root_close(root);
        return NULL;
    }
    root->top->place = Py_XNewRef(place);
    if (flags & MW_SECRET) mwpy_root_hide(root);
    fill(root->top);
    return root;
}

void mwpy_root_close(mwpy_root *root) {
    if (root->route) mwpy_route_close(root);
    mwpy_births_leave(root);
    root->top = NULL;
    while (root->nodes) end(root->nodes, true);
    mwpy_root_tells_left(root);
    PyMem_RawFree(root->left);
    PyMem_Free(root->route);
    *root->link = root->next;
    if (root->next) root->next->link = root->link;
    mwpy_cells_close(&root->cells);
    Py_XDECREF(root->info);
    Py_XDECREF(root->choice.fields);
    Py_XDECREF(root->choice.skip);
    Py_XDECREF(root->choice.pattern);
    Py_XDECREF(root->choice.module);
    PyMem_Free(root->called);
    PyMem_Free(root);
}

void mwpy_node_died(mwpy_node *node) {
    mwpy_root *root = node->root;
    if (node->step > 1) {
        mwpy_node_strays(node, false);
        return;
    }
    bool top = is_top(node) || node->step == 1;
    PyObject *now;
    if (top) root->cells.ending = mwpy_how_it_ends(root->cells.name, &now);
    end(node, false);
    if (top) mwpy_root_close(root);
}

void mwpy_node_leaves_owner(mwpy_node *node) {
    if (node->step > 1) {
        mwpy_node_strays(node, true);
        return;
    }
    for (size_t i = 0; i < node->layout->count; i++)
        if (node->layout->slots[i].key) mwpy_node_lose(node, node->layout->slots[i].key);
    mwpy_layout *layout = mwpy_slots_close(node);
    mwpy_table_take(node->owner, node);
    node->owner = NULL;
    while (node->spots) mwpy_spot_free(node->spots); /* the owner was found there */
    if (!is_top(node)) end(node, true);
    mwpy_layout_give_back(layout);
}

/* ---- changes ----------------------------------------------------------------------------------------------------- */

static unsigned how_it_came(const mwpy_cell *cell) { return cell->flags & (MWPY_CELL_CLEARED | MWPY_CELL_REPLACED); }

/* Whether a cell says the same; if so, in the same way, so that it is told as no change. */
static bool is_same(mwpy_cell *now, const mwpy_cell *cell) {
    uint16_t flags = now->flags, how = (uint16_t)how_it_came(cell);
    if (likely(!how && now->used == 8)) return !memcmp(now, cell, offsetof(mwpy_cell, payload) + 8); /* a number */
    if (unlikely(how)) now->flags |= how;
    bool same = !memcmp(now, cell, mwpy_cell_size(now));
    if (unlikely(how) && !same) now->flags = flags;
    return same;
}

/* how: with all others at once, as the flag of a cell says; 0: alone. */
static void change_cell(mwpy_node *node, PyObject *key, mwpy_cell_number number, PyObject *value, mw_shadow why,
                        unsigned how) {
    const mwpy_cell *cell = mwpy_cell_at(&node->root->cells, number);
    mwpy_cell now;
    mwpy_cell_describe(&now, value);
    mwpy_node_hide(node, key, number, &now);
    bool same = unlikely(how_it_came(cell)) && is_same(&now, cell);
    if (!same && why == MW_SHADOW_NOW) now.flags |= (uint16_t)how;
    write_cell(node, key, number, &now, why);
}

bool mwpy_node_agrees(mwpy_node *node, PyObject *key, mwpy_cell_number number, PyObject *held, mwpy_cell *found,
                      mw_shadow *why) {
    mwpy_cell_describe(found, held);
    mwpy_node_hide(node, key, number, found);
    if (likely(is_same(found, mwpy_cell_at(&node->root->cells, number)))) return true;
    mwpy_spot *spot = held && mwpy_key_is_plain(key) ? mwpy_node_spot(node, key) : NULL;
    if (spot && (spot->child->dict == held || spot->child->owner == held)) *why = MW_SHADOW_SILENT;
    return false;
}

/* Tells what was changed unseen, or with the dict (MW_SHADOW_NOW); whether it was. */
static bool check(mwpy_node *node, PyObject *key, mwpy_cell_number number, PyObject *held, mw_shadow why) {
    mwpy_cell found;
    if (unlikely(node->step) && mwpy_route_is_slot(node, held)) held = NULL;
    if (likely(mwpy_node_agrees(node, key, number, held, &found, &why))) return false;
    if (why == MW_SHADOW_NOW) found.flags |= MWPY_CELL_REPLACED;
    write_cell(node, key, number, &found, why);
    return why != MW_SHADOW_SILENT;
}

/* What a key that is about to change has; of the interpreter's that say so too late, what it had. */
static PyObject *held_under(const mwpy_node *node, PyObject *key) {
#if PY_VERSION_HEX >= 0x030C0000
    return PyDict_GetItemWithError(node->dict, key);
#else
    (void)node, (void)key;
    return mwpy_dict_before;
#endif
}

/* What a statement makes that gives it its name: a function, a class, a module. */
static bool is_definition(PyObject *value) {
    return value &&
           (Py_TYPE(value)->tp_descr_get || PyType_Check(value) || PyModule_Check(value) || PyCFunction_Check(value));
}

void mwpy_node_holds(mwpy_node *node, PyObject *key, mwpy_cell_number number, PyObject *now, mw_shadow why) {
    change_cell(node, key, number, now, why, 0);
    mwpy_node_follow(node, key, now);
}

/* A key that is compared by code of its own comes where one had been, at the same address, that went unseen. */
static mwpy_cell_number went_unseen(mwpy_node *node, PyObject *key, mwpy_cell_number number) {
    change_cell(node, key, number, NULL, MW_SHADOW_FOUND, 0);
    forget_odd(node, key, number);
    return MWPY_NO_CELL;
}

/* Of a node that only leads to what is watched: what it leads to now. */
static bool leads_on(mwpy_node *node, PyObject *now) {
    if (!mwpy_node_leads(node)) return false;
    mwpy_node_leads_to(node, now, MW_SHADOW_NOW);
    return true;
}

/* A new name is a definition, which this watch doesn't tell. */
static bool defines(const mwpy_node *node, PyObject *now) { return node->root->choice.quiet && is_definition(now); }

void mwpy_node_change(mwpy_node *node, PyObject *key, PyObject *now, bool added) {
    if (!wants(node, &key)) return;
    if (unlikely(node->step) && leads_on(node, now)) return;
    mwpy_cell_number number = cell_of(node, key);
    mw_shadow why = number == MWPY_NO_CELL && defines(node, now) ? MW_SHADOW_SILENT : MW_SHADOW_NOW;
    bool plain = mwpy_key_is_plain(key);
    if (unlikely(added && !plain && number != MWPY_NO_CELL)) number = went_unseen(node, key, number);
    if (number == MWPY_NO_CELL) {
        node->suspect |= !added; /* there is a key that is equal to this one, and another object: found later */
        if (!(added || node->place) || !now || (number = mwpy_node_take_cell(node, key)) == MWPY_NO_CELL) return;
        node->root->absent++;
    }
    bool readable = plain && !node->odd && !node->strange; /* no key is compared by code of its own */
    PyObject *held = readable ? held_under(node, key) : NULL;
    if (readable) check(node, key, number, held, MW_SHADOW_FOUND);
    change_cell(node, key, number, now, why, 0);
    if (!plain && !now) forget_odd(node, key, number);
    if (held && held == now) return;
    if (plain && node->links) mwpy_node_lose(node, key);
    if (now) follow_key(node, key, now);
}

void mwpy_node_clear(mwpy_node *node) {
    Py_ssize_t at = 0;
    PyObject *key, *value;
    if (node->suspect) mwpy_node_audit(node); /* before what it holds is gone */
    if (unlikely(node->step) && leads_on(node, NULL)) return;
    while (PyDict_Next(node->dict, &at, &key, &value)) {
        mwpy_cell_number number = wants(node, &key) ? cell_of(node, key) : MWPY_NO_CELL;
        if (number == MWPY_NO_CELL) continue;
        check(node, key, number, value, MW_SHADOW_FOUND);
        change_cell(node, key, number, NULL, MW_SHADOW_NOW, MWPY_CELL_CLEARED);
        if (mwpy_key_is_plain(key))
            mwpy_node_lose(node, key);
        else
            forget_odd(node, key, number);
    }
}

/* No key is looked up in the dict: its keys may have comparisons of their own. */
static size_t compare(mwpy_node *node, mw_shadow why) {
    bool known = mwpy_left_known;
    size_t changed = 0;
    Py_ssize_t at = 0;
    PyObject *key, *value, *gone = node->dict ? PyDict_Copy(node->cells) : NULL;
    while (gone && PyDict_Next(node->dict, &at, &key, &value)) {
        if (!wants(node, &key)) continue;
        bool plain = mwpy_key_is_plain(key);
        mwpy_cell_number number = cell_of(node, key);
        if (number == MWPY_NO_CELL) {
            if ((number = mwpy_node_take_cell(node, key)) == MWPY_NO_CELL) continue;
            node->root->absent++;
        }
        bool differs = check(node, key, number, value, why);
        changed += differs;
        mwpy_left_known = known || !differs;
        if (plain && PyDict_DelItem(gone, key)) PyErr_Clear();
        if (plain && !follow(node->root, node, key, value, node->level + 1)) mwpy_node_lose(node, key);
    }
    at = 0;
    while (gone && PyDict_Next(gone, &at, &key, &value)) {
        mwpy_cell_number number = cell_of(node, key); /* its cell may have been given to a key that came */
        if (number == MWPY_NO_CELL || mwpy_cell_at(&node->root->cells, number)->kind == MWPY_ABSENT) continue;
        change_cell(node, key, number, NULL, why, MWPY_CELL_REPLACED);
        mwpy_node_lose(node, key);
        changed++;
    }
    Py_XDECREF(gone);
    PyErr_Clear();
    mwpy_left_known = known;
    return changed;
}

size_t mwpy_node_audit(mwpy_node *node) {
    node->suspect = false;
    if (node->dict && PY_VERSION_HEX < 0x030C0000 && mwpy_dict_watch(node->dict)) node->suspect = true; /* no memory */
    if (node->items) return mwpy_items_compare(node, MW_SHADOW_FOUND);
    if (node->step && mwpy_node_leads(node)) return mwpy_node_leads_on(node, MW_SHADOW_FOUND);
    if (node->members) return mwpy_members_compare(node, MW_SHADOW_FOUND);
    return mwpy_slots_compare(node, MW_SHADOW_FOUND) + compare(node, MW_SHADOW_FOUND);
}

int mwpy_root_widen(mwpy_root *root, PyObject *pattern, PyObject *module) {
    mwpy_choice *choice = &root->choice;
    if (choice->pattern && pattern) {
        const char *both[] = {PyBytes_AS_STRING(choice->pattern), PyBytes_AS_STRING(pattern)};
        PyObject *wider = PyBytes_FromFormat("%s%c%s", both[0], 0, both[1]);
        if (!wider) return -1;
        Py_SETREF(choice->pattern, wider);
    } else {
        Py_CLEAR(choice->pattern);
    }
    if (module) Py_XSETREF(choice->module, Py_NewRef(module));
    if (root->top) compare(root->top, MW_SHADOW_SILENT);
    return 0;
}

size_t mwpy_root_audit(mwpy_root *root) {
    static size_t audits;
    size_t changed = 0, now = ++audits;
    for (mwpy_node *node = root->nodes, *after; node; node = after) {
        size_t ended = root->ended;
        if (node->audit != now) { /* each once: what it holds may be followed anew each time */
            node->audit = now;
            changed += mwpy_node_audit(node);
        }
        after = root->ended == ended ? node->after : root->nodes; /* the next one may be among them: all again */
    }
    mwpy_root_tells_left(root);
    return changed;
}

void mwpy_node_move(mwpy_node *node, PyObject *dict, mw_shadow why) {
    mwpy_node_leave_dict(node, true);
    node->dict = dict;
    if (mwpy_table_put(dict, node) || mwpy_dict_watch(dict)) {
        PyErr_Clear();
        mwpy_node_died(node);
        return;
    }
    if (node->step && mwpy_node_leads(node))
        mwpy_node_leads_on(node, why);
    else
        compare(node, why);
}
