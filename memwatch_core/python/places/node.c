/* node.c - see node.h. */
#include "places/node.h"

#include <string.h>

#include "errors.h"
#include "places/attributes.h"
#include "places/known_types.h"
#include "places/node_table.h"
#include "base/compiler.h"

#if PY_VERSION_HEX >= 0x030C0000

enum { PATH = 2048, KEY_TEXT = 256, CHAIN_MOST = 1000, ABSENT_FEW = 64 };

mwpy_root *mwpy_roots;

/* An owner may be gone, and another object at its address: then its dict isn't the one that is watched. */
mwpy_node *mwpy_node_of(PyObject *dict_or_owner) {
    mwpy_node *node = mwpy_table_get(dict_or_owner);
    if (!node || node->dict == dict_or_owner) return node;
    PyObject *dict = mwpy_attributes_now(dict_or_owner);
    if (dict == node->dict) return node;
    mwpy_table_take(node->owner, node);
    node->owner = NULL;
    return NULL;
}

/* ---- spots: where a node is found -------------------------------------------------------------------------------- */

/* Whether the way up from a parent leads to the watched object, and not through the node itself. */
static bool leads_up(const mwpy_node *parent, const mwpy_node *node) {
    for (int i = 0; parent && i < CHAIN_MOST; i++, parent = parent->spots[0].parent) {
        if (parent == node || !parent->spots_n || parent->root != node->root) return false;
        if (!parent->spots[0].parent) return true;
    }
    return false;
}

static int add_spot(mwpy_node *node, mwpy_node *parent, PyObject *key) {
    if (node->spots_n == node->spots_most) {
        size_t most = node->spots_most ? 2 * node->spots_most : 1;
        mwpy_spot *grown = PyMem_Realloc(node->spots, most * sizeof *grown);
        if (!grown) return -1;
        node->spots = grown;
        node->spots_most = most;
    }
    node->spots[node->spots_n++] = (mwpy_spot){parent, Py_XNewRef(key)};
    return 0;
}

/* The spot at this key of a parent; spots_n: there is none. */
static size_t find_spot(const mwpy_node *node, const mwpy_node *parent, PyObject *key) {
    size_t i = 0;
    for (; i < node->spots_n; i++)
        if (node->spots[i].parent == parent && key && PyObject_RichCompareBool(node->spots[i].key, key, Py_EQ) == 1)
            break;
    return i;
}

/* The path of a key, or its end where it is too long. Returns how many bytes. */
static size_t path_of(const mwpy_node *node, PyObject *key, char out[PATH]) {
    size_t start = PATH;
    for (int i = 0; node && key && i < CHAIN_MOST; i++) {
        char text[KEY_TEXT];
        size_t n = mwpy_key_text(text, sizeof text, key, node->attributes);
        if (n > start) break;
        start -= n;
        memcpy(out + start, text, n);
        key = node->spots[0].key;
        node = node->spots[0].parent;
    }
    memmove(out, out + start, PATH - start);
    return PATH - start;
}

/* ---- cells of keys ----------------------------------------------------------------------------------------------- */

static bool is_wanted(const mwpy_node *node, PyObject *key) {
    const mwpy_root *root = node->root;
    if (node->level || (!root->fields && !root->skip)) return true;
    bool plain = PyUnicode_CheckExact(key);
    if (root->fields) return plain && PySet_Contains(root->fields, key) == 1;
    return !plain || PySet_Contains(root->skip, key) != 1;
}

static PyObject *number_of(PyObject *index, PyObject *key) {
    return index ? PyDict_GetItemWithError(index, key) : NULL;
}

static mwpy_cell_number cell_of(const mwpy_node *node, PyObject *key) {
    PyObject *number = NULL;
    if (mwpy_key_is_plain(key)) {
        number = number_of(node->cells, key);
    } else if (node->odd) {
        PyObject *address = PyLong_FromVoidPtr(key);
        number = address ? number_of(node->odd, address) : NULL;
        Py_XDECREF(address);
    }
    PyErr_Clear();
    return number ? (mwpy_cell_number)PyLong_AsUnsignedLong(number) : MWPY_NO_CELL;
}

/* Cells of keys that are gone are kept, because they often come again; but not more than there are others. */
static void sweep(mwpy_root *root) {
    for (mwpy_node *node = root->nodes; node; node = node->after) {
        PyObject *keys = PyDict_Keys(node->cells);
        for (Py_ssize_t i = 0; keys && i < PyList_GET_SIZE(keys); i++) {
            PyObject *key = PyList_GET_ITEM(keys, i);
            mwpy_cell_number number = cell_of(node, key);
            if (number == MWPY_NO_CELL || mwpy_cell_at(&root->cells, number)->kind != MWPY_ABSENT) continue;
            if (!PyDict_DelItem(node->cells, key)) mwpy_cell_give_back(&root->cells, number);
        }
        Py_XDECREF(keys);
    }
    PyErr_Clear();
    root->absent = 0;
}

static mwpy_cell_number take_cell(mwpy_node *node, PyObject *key) {
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

static void write_cell(mwpy_node *node, PyObject *key, mwpy_cell_number number, mwpy_cell *now, mw_shadow why) {
    mwpy_cells *cells = &node->root->cells;
    if (why != MW_SHADOW_SILENT && !mwpy_cell_is_told(cells, number)) {
        char path[PATH];
        mwpy_cell_tell(cells, number, path, path_of(node, key, path));
    }
    node->root->absent += (now->kind == MWPY_ABSENT) - (mwpy_cell_at(cells, number)->kind == MWPY_ABSENT);
    mwpy_cell_write(cells, number, now, why);
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
static void end(mwpy_node *node);

/* What lies under a key isn't found there any more. */
static void lose(mwpy_node *parent, PyObject *key, PyObject *value) {
    mwpy_node *node = mwpy_node_of(value);
    if (!node) return;
    size_t i = find_spot(node, parent, key);
    if (i == node->spots_n) return;
    Py_DECREF(node->spots[i].key);
    memmove(node->spots + i, node->spots + i + 1, (--node->spots_n - i) * sizeof *node->spots);
    for (size_t other = 0; other < node->spots_n; other++)
        if (!node->spots[other].parent || leads_up(node->spots[other].parent, node)) {
            mwpy_spot first = node->spots[0];
            node->spots[0] = node->spots[other];
            node->spots[other] = first;
            node->root->cells.renames += !i;
            return;
        }
    end(node);
}

static void lose_all(mwpy_node *node) {
    Py_ssize_t at = 0;
    PyObject *key, *value;
    while (PyDict_Next(node->dict, &at, &key, &value))
        if (mwpy_key_is_plain(key)) lose(node, key, value);
}

/* Objects of other watches that hold it go on with it. */
static void hand_over(PyObject *value, mwpy_spot *spots, size_t n) {
    for (size_t i = 0; i < n; i++) {
        mwpy_node *parent = spots[i].parent;
        if (parent) follow(parent->root, parent, spots[i].key, value, parent->level + 1);
        Py_XDECREF(spots[i].key);
    }
    PyMem_Free(spots);
}

static void end_node(mwpy_node *node, bool alive) {
    mwpy_root *root = node->root;
    mwpy_spot *spots = node->spots;
    size_t n = node->spots_n, others = 0;
    node->spots_n = 0; /* no way leads up through it */
    if (alive) {
        mwpy_dict_unwatch(node->dict);
        lose_all(node);
    }
    mwpy_table_take(node->dict, node);
    if (node->owner) mwpy_table_take(node->owner, node);
    if (node->before)
        node->before->after = node->after;
    else
        root->nodes = node->after;
    if (node->after) node->after->before = node->before;
    if (root->top == node) root->top = NULL;
    root->count--;
    for (PyObject *index = node->cells; index; index = index == node->cells ? node->odd : NULL) {
        Py_ssize_t at = 0;
        PyObject *key, *number;
        while (root->top && PyDict_Next(index, &at, &key, &number)) {
            mwpy_cell_number cell = (mwpy_cell_number)PyLong_AsUnsignedLong(number);
            mwpy_cell none = {0};
            root->absent -= mwpy_cell_at(&root->cells, cell)->kind == MWPY_ABSENT;
            mwpy_cell_write(&root->cells, cell, &none, MW_SHADOW_SILENT);
            mwpy_cell_give_back(&root->cells, cell);
        }
    }
    PyObject *value = node->owner ? node->owner : node->dict;
    Py_CLEAR(node->cells);
    Py_CLEAR(node->odd);
    PyMem_Free(node);
    for (size_t i = 0; i < n; i++) {
        if (alive && spots[i].parent && spots[i].parent->root != root)
            spots[others++] = spots[i];
        else
            Py_XDECREF(spots[i].key);
    }
    hand_over(value, spots, others);
}

static void end(mwpy_node *node) { end_node(node, true); }

static bool is_followed(const mwpy_root *root, PyObject *value, int level) {
    const char *why;
    if (PyDict_Check(value)) return level <= root->depth;
    return level < root->depth && !PyType_Check(value) && !PyModule_Check(value) && mwpy_has_attributes(value, &why) &&
           !mwpy_is_declared(value);
}

static mwpy_node *new_node(mwpy_root *root, PyObject *dict, PyObject *owner, int level) {
    mwpy_node *node = PyMem_Calloc(1, sizeof *node);
    if (!node) return NULL;
    *node = (mwpy_node){.dict = dict, .owner = owner, .attributes = owner != NULL, .root = root, .level = level};
    node->cells = PyDict_New();
    if (!node->cells || mwpy_table_put(dict, node) || (owner && mwpy_table_put(owner, node)) || mwpy_dict_watch(dict)) {
        mwpy_table_take(dict, node);
        if (owner) mwpy_table_take(owner, node);
        Py_XDECREF(node->cells);
        PyMem_Free(node);
        return NULL;
    }
    node->after = root->nodes;
    if (root->nodes) root->nodes->before = node;
    root->nodes = node;
    root->count++;
    return node;
}

/* Gives each key its cell, and follows what is found there. */
static void fill(mwpy_node *node) {
    Py_ssize_t at = 0;
    PyObject *key, *value;
    while (PyDict_Next(node->dict, &at, &key, &value)) {
        mwpy_cell_number number = is_wanted(node, key) ? take_cell(node, key) : MWPY_NO_CELL;
        if (number == MWPY_NO_CELL) continue;
        mwpy_cell now;
        mwpy_cell_describe(&now, value);
        node->root->absent++; /* as it is before it is written */
        write_cell(node, key, number, &now, MW_SHADOW_SILENT);
        if (mwpy_key_is_plain(key)) follow(node->root, node, key, value, node->level + 1);
    }
}

static mwpy_node *follow(mwpy_root *root, mwpy_node *parent, PyObject *key, PyObject *value, int level) {
    if (!is_followed(root, value, level)) return NULL;
    mwpy_node *node = mwpy_node_of(value);
    PyObject *dict = NULL;
    if (!node) {
        if (root->count >= root->most) {
            root->refused++;
            return NULL;
        }
        dict = PyDict_Check(value) ? Py_NewRef(value) : mwpy_attributes(value);
        if (!dict) PyErr_Clear();
        node = dict ? mwpy_node_of(dict) : NULL;
    }
    bool known = node != NULL;
    if (!known && dict) node = new_node(root, dict, dict == value ? NULL : value, level);
    Py_XDECREF(dict); /* its owner, or who holds it, keeps it */
    if (known && find_spot(node, parent, key) < node->spots_n) return node;
    if (!node || add_spot(node, parent, key)) {
        if (node && !known) end_node(node, true);
        root->refused++;
        return NULL;
    }
    if (!known) fill(node);
    return node;
}

/* ---- watches ----------------------------------------------------------------------------------------------------- */

mwpy_root *mwpy_root_open(PyObject *object, PyObject *name, PyObject *metadata, uint32_t flags, int depth, size_t most,
                          PyObject *fields, PyObject *skip) {
    PyObject *dict = PyDict_Check(object) ? Py_NewRef(object) : mwpy_attributes(object);
    if (!dict) return NULL;
    mwpy_root *root = PyMem_Calloc(1, sizeof *root);
    if (root) {
        *root = (mwpy_root){.depth = depth, .most = most, .fields = Py_XNewRef(fields), .skip = Py_XNewRef(skip)};
        root->cells.name = Py_NewRef(name);
        root->cells.metadata = Py_NewRef(metadata);
        root->cells.flags = flags;
        root->next = mwpy_roots;
        mwpy_roots = root;
    }
    if (!root)
        PyErr_NoMemory();
    else if (!mwpy_cells_open(&root->cells, (size_t)PyDict_GET_SIZE(dict)) &&
             !(root->top = new_node(root, dict, dict == object ? NULL : object, 0)) && !PyErr_Occurred())
        PyErr_NoMemory();
    Py_DECREF(dict);
    if (PyErr_Occurred() || add_spot(root->top, NULL, NULL)) {
        if (!PyErr_Occurred()) PyErr_NoMemory();
        if (root) mwpy_root_close(root);
        return NULL;
    }
    fill(root->top);
    return root;
}

void mwpy_root_close(mwpy_root *root) {
    root->top = NULL;
    while (root->nodes) end(root->nodes);
    for (mwpy_root **link = &mwpy_roots; *link; link = &(*link)->next)
        if (*link == root) {
            *link = root->next;
            break;
        }
    mwpy_cells_close(&root->cells);
    Py_XDECREF(root->info);
    Py_XDECREF(root->fields);
    Py_XDECREF(root->skip);
    PyMem_Free(root);
}

void mwpy_node_died(mwpy_node *node) {
    mwpy_root *root = node->root;
    bool top = root->top == node;
    lose_all(node); /* its values are still there */
    end_node(node, false);
    if (top) mwpy_root_close(root);
}

/* ---- changes ----------------------------------------------------------------------------------------------------- */

static void change_cell(mwpy_node *node, PyObject *key, mwpy_cell_number number, PyObject *value, mw_shadow why) {
    mwpy_cell now;
    mwpy_cell_describe(&now, value);
    write_cell(node, key, number, &now, why);
}

/* A container that is followed itself: its own events say what became of it. */
static bool speaks_for_itself(const mwpy_node *node, PyObject *key, PyObject *held) {
    mwpy_node *own = held && mwpy_key_is_plain(key) ? mwpy_node_of(held) : NULL;
    return own && find_spot(own, node, key) < own->spots_n;
}

/* What the dict holds must be what its cell says. If it isn't, that was changed unseen, and is told first: why says
 * how. Returns whether it was. */
static bool check(mwpy_node *node, PyObject *key, mwpy_cell_number number, PyObject *held, mw_shadow why) {
    const mwpy_cell *known = mwpy_cell_at(&node->root->cells, number);
    mwpy_cell found;
    mwpy_cell_describe(&found, held);
    if (likely(!memcmp(&found, known, mwpy_cell_size(&found)))) return false;
    bool explained = speaks_for_itself(node, key, held);
    write_cell(node, key, number, &found, explained ? MW_SHADOW_SILENT : why);
    return !explained;
}

/* What is most often stored isn't looked up. */
static bool may_be_followed(PyObject *value) {
    PyTypeObject *type = Py_TYPE(value);
    return type != &PyLong_Type && type != &PyUnicode_Type && type != &PyFloat_Type && value != Py_None;
}

void mwpy_node_change(mwpy_node *node, PyObject *key, PyObject *now) {
    if (!is_wanted(node, key)) return;
    if (node->suspect) mwpy_node_audit(node);
    mwpy_cell_number number = cell_of(node, key);
    bool plain = mwpy_key_is_plain(key);
    PyObject *held = plain && !node->odd ? PyDict_GetItemWithError(node->dict, key) : NULL;
    if (number == MWPY_NO_CELL) {
        if (!plain && node->odd) node->suspect = true; /* it may be equal to one that is there */
        if (!now || node->suspect || (number = take_cell(node, key)) == MWPY_NO_CELL) return;
        node->root->absent++;
    }
    if (held || (plain && !node->odd)) check(node, key, number, held, MW_SHADOW_FOUND);
    change_cell(node, key, number, now, MW_SHADOW_NOW);
    if (!plain && !now) forget_odd(node, key, number);
    if (!plain || held == now) return;
    if (held && may_be_followed(held)) lose(node, key, held);
    if (now && may_be_followed(now)) follow(node->root, node, key, now, node->level + 1);
}

void mwpy_node_clear(mwpy_node *node) {
    Py_ssize_t at = 0;
    PyObject *key, *value;
    if (node->suspect) mwpy_node_audit(node);
    while (PyDict_Next(node->dict, &at, &key, &value)) {
        mwpy_cell_number number = is_wanted(node, key) ? cell_of(node, key) : MWPY_NO_CELL;
        if (number == MWPY_NO_CELL) continue;
        check(node, key, number, value, MW_SHADOW_FOUND);
        change_cell(node, key, number, NULL, MW_SHADOW_NOW);
        if (mwpy_key_is_plain(key))
            lose(node, key, value);
        else
            forget_odd(node, key, number);
    }
}

/* No key is looked up in the dict: its keys may have comparisons of their own. */
static size_t compare(mwpy_node *node, mw_shadow why) {
    size_t changed = 0;
    Py_ssize_t at = 0;
    PyObject *key, *value, *gone = PyDict_Copy(node->cells);
    while (gone && PyDict_Next(node->dict, &at, &key, &value)) {
        if (!is_wanted(node, key)) continue;
        bool plain = mwpy_key_is_plain(key);
        mwpy_cell_number number = cell_of(node, key);
        if (number == MWPY_NO_CELL) {
            if ((number = take_cell(node, key)) == MWPY_NO_CELL) continue;
            node->root->absent++;
        }
        changed += check(node, key, number, value, why);
        if (plain && PyDict_DelItem(gone, key)) PyErr_Clear();
        if (plain) follow(node->root, node, key, value, node->level + 1);
    }
    at = 0;
    while (gone && PyDict_Next(gone, &at, &key, &value)) {
        mwpy_cell_number number = (mwpy_cell_number)PyLong_AsUnsignedLong(value);
        if (mwpy_cell_at(&node->root->cells, number)->kind == MWPY_ABSENT) continue;
        change_cell(node, key, number, NULL, why);
        changed++;
    }
    Py_XDECREF(gone);
    PyErr_Clear();
    return changed;
}

size_t mwpy_node_audit(mwpy_node *node) {
    node->suspect = false;
    return compare(node, MW_SHADOW_FOUND);
}

size_t mwpy_root_audit(mwpy_root *root) {
    size_t changed = 0;
    for (mwpy_node *node = root->nodes; node; node = node->after) changed += mwpy_node_audit(node);
    return changed;
}

/* What was found in one dict, and isn't in another. */
static void lose_replaced(mwpy_node *node, PyObject *before) {
    Py_ssize_t at = 0;
    PyObject *key, *value;
    while (PyDict_Next(before, &at, &key, &value))
        if (mwpy_key_is_plain(key) && (node->odd || PyDict_GetItemWithError(node->dict, key) != value))
            lose(node, key, value);
}

void mwpy_node_move(mwpy_node *node, PyObject *dict, mw_shadow why) {
    PyObject *before = node->dict;
    mwpy_dict_unwatch(before);
    mwpy_table_take(before, node);
    node->dict = dict;
    if (mwpy_table_put(dict, node) || mwpy_dict_watch(dict)) {
        node->dict = before;
        if (node->root->top == node)
            mwpy_root_close(node->root);
        else
            end_node(node, false);
        return;
    }
    compare(node, why);
    lose_replaced(node, before);
}
#endif
