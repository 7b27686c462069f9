/* node_secrets.c - see node_secrets.h. */
#include "places/node_secrets.h"

#include <string.h>

#include "places/attributes.h"
#include "places/cell.h"
#include "places/glob.h"
#include "places/node.h"
#include "places/node_items.h"
#include "places/node_members.h"
#include "places/node_table.h"
#include "places/slab.h"
#include "places/slot_keys.h"

/* ---- patterns ---------------------------------------------------------------------------------------------------- */

static PyObject *patterns; /* tuple of bytes; NULL: none */

bool mwpy_is_secret_name(const char *name, size_t n) {
    for (Py_ssize_t i = 0; patterns && i < PyTuple_GET_SIZE(patterns); i++) {
        PyObject *pattern = PyTuple_GET_ITEM(patterns, i);
        if (mwpy_glob(PyBytes_AS_STRING(pattern), (size_t)PyBytes_GET_SIZE(pattern), name, n, true)) return true;
    }
    return false;
}

int mwpy_secrets_set(PyObject *all) {
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(all); i++)
        if (!PyBytes_CheckExact(PyTuple_GET_ITEM(all, i))) {
            PyErr_SetString(PyExc_TypeError, "a tuple of bytes is expected");
            return -1;
        }
    Py_XSETREF(patterns, PyTuple_GET_SIZE(all) ? Py_NewRef(all) : NULL);
    mwpy_secrets.on |= patterns != NULL;
    return 0;
}

/* ---- what a node has been ---------------------------------------------------------------------------------------- */

/* Of a node that another one takes the place of now; NULL: none. */
static const mwpy_secrets_kept *going_on;

static void keep_key(mwpy_secrets_kept *kept, const mwpy_node *node, PyObject *key, mwpy_cell_number number) {
    if (!key || number == MWPY_NO_CELL || !(*mwpy_cell_judged(&node->root->cells, number) & 1)) return;
    if (!kept->keys) kept->keys = PySet_New(NULL);
    if (!kept->keys || PySet_Add(kept->keys, key)) kept->whole = true; /* no memory: rather more than less */
}

void mwpy_secrets_keep(mwpy_secrets_kept *kept, const mwpy_node *node) {
    Py_ssize_t at = 0;
    PyObject *key, *number;
    *kept = (mwpy_secrets_kept){.whose = mwpy_node_whose(node), .whole = node->secret};
    while (node->cells && PyDict_Next(node->cells, &at, &key, &number))
        keep_key(kept, node, key, (mwpy_cell_number)PyLong_AsUnsignedLong(number));
    for (size_t i = 0; node->layout && node->slots && i < node->layout->count; i++)
        keep_key(kept, node, node->layout->slots[i].key, node->slots[i]);
    PyErr_Clear();
}

const mwpy_secrets_kept *mwpy_secrets_go_on(const mwpy_secrets_kept *kept) {
    const mwpy_secrets_kept *before = going_on;
    going_on = kept;
    return before;
}

/* Whether a key was a secret of the node whose place this one takes. */
static bool went_on(const mwpy_node *node, PyObject *key) {
    return key && going_on && going_on->keys && going_on->whose == mwpy_node_whose(node) && mwpy_key_is_plain(key) &&
           PySet_Contains(going_on->keys, key) == 1;
}

/* ---- which places ------------------------------------------------------------------------------------------------ */

static bool any; /* node is a secret, or was */

static void hide_held(mwpy_node *node, mwpy_cell_number number) {
    mwpy_cells *cells = &node->root->cells;
    if (number == MWPY_NO_CELL) return;
    mwpy_cell hidden = *mwpy_cell_at(cells, number);
    if (mwpy_cell_hide(cells, &hidden)) mwpy_cell_write(cells, number, &hidden, MW_SHADOW_SILENT, 0);
}

static void hide_index(mwpy_node *node, PyObject *index) {
    Py_ssize_t at = 0;
    PyObject *key, *number;
    while (index && PyDict_Next(index, &at, &key, &number))
        hide_held(node, (mwpy_cell_number)PyLong_AsUnsignedLong(number));
}

static void hide_all(mwpy_node *node) {
    hide_index(node, node->cells);
    hide_index(node, node->odd);
    for (size_t i = 0; node->layout && i < node->layout->count; i++) hide_held(node, node->slots[i]);
    if (node->items) mwpy_items_hide(node, hide_held);
    if (node->members) mwpy_members_hide(node, hide_held);
}

static void turn_next(mwpy_node *node, mwpy_node **last) {
    if (node->secret) return;
    node->secret = true;
    node->next_turning = NULL;
    *last = (*last)->next_turning = node;
}

/* Places of an object that others watch alone, or its dict. */
static void turn_places_of(PyObject *whose, mwpy_node **last) {
    for (mwpy_node *other = mwpy_table_get(whose); other; other = mwpy_table_next(whose, other)) turn_next(other, last);
}

/* It, what is found in it, and what others have of that. */
static void turn(mwpy_node *node) {
    any = true;
    node->secret = true;
    node->next_turning = NULL;
    for (mwpy_node *last = node; node; node = node->next_turning) {
        Py_ssize_t at = 0;
        PyObject *key, *address;
        hide_all(node);
        while (node->links && PyDict_Next(node->links, &at, &key, &address))
            turn_next(((mwpy_spot *)PyLong_AsVoidPtr(address))->child, &last);
        if (node->place) continue;
        if (node->owner) turn_places_of(node->owner, &last);
        if (node->dict) turn_places_of(node->dict, &last);
    }
}

/* Whether a place has a secret's name. Where it is longer than what is kept of it, any could be. key: NULL, or what the
 * text says. */
static bool is_called(const mwpy_node *node, PyObject *key, const char *text, size_t n) {
    enum { LONG = MWPY_WORDS / 2 };
    if (n == MWPY_NAME_CUT || (key && n > LONG && mwpy_key_text_is_cut(key, node->attributes))) return true;
    return mwpy_node_is_called(node, text, n, mwpy_is_secret_name);
}

/* By what a node has a place that is watched alone: of a slot by its own key, not by its name. */
static PyObject *key_in(const mwpy_node *node, PyObject *key, mwpy_cell_number *number) {
    *number = MWPY_NO_CELL;
    for (size_t i = 0; node->layout && i < node->layout->count; i++) {
        const mwpy_class_slot *slot = &node->layout->slots[i];
        if (!slot->name || node->slots[i] == MWPY_NO_CELL) continue;
        if (!mwpy_key_is(key, slot->name) && !mwpy_key_is(key, slot->key)) continue;
        *number = node->slots[i];
        return slot->key;
    }
    PyObject *found = node->cells && mwpy_key_is_plain(key) ? PyDict_GetItemWithError(node->cells, key) : NULL;
    if (found) *number = (mwpy_cell_number)PyLong_AsUnsignedLong(found);
    return key;
}

/* Once it is a secret, it stays one. */
static bool was_secret(const mwpy_node *node, mwpy_cell_number number) {
    return number != MWPY_NO_CELL && *mwpy_cell_judged(&node->root->cells, number) & 1;
}

static bool is_place(const mwpy_node *node, PyObject *key) {
    PyObject *name = key ? mwpy_slot_key_name(key) : NULL;
    return key && mwpy_key_is(name ? name : key, node->place);
}

/* Whether a node has a place as a secret. */
static bool is_secret_in(const mwpy_node *node, PyObject *key) {
    char text[MWPY_KEY_TEXT];
    mwpy_cell_number number;
    if (node->place && !is_place(node, key)) return false;
    if (node->secret) return true;
    if (!key || node->items || node->members) return false;
    key = key_in(node, key, &number);
    return was_secret(node, number) || (patterns && is_called(node, key, text, mwpy_node_key_text(node, key, text)));
}

static bool is_secret_of(PyObject *whose, const mwpy_node *but, PyObject *key) {
    for (mwpy_node *other = mwpy_table_get(whose); other; other = mwpy_table_next(whose, other))
        if (other != but && is_secret_in(other, key)) return true;
    return false;
}

/* Whether another watch of the same owner, or of its dict, has the place, and it is a secret there. */
static bool is_secret_elsewhere(const mwpy_node *node, PyObject *key) {
    if (node->place) key = node->place;
    return is_secret_of(mwpy_node_whose(node), node, key) ||
           (node->dict && node->owner && is_secret_of(node->dict, node, key));
}

bool mwpy_place_is_secret(PyObject *owner, PyObject *key) {
    PyObject *dict = PyDict_Check(owner) ? NULL : mwpy_attributes_now(owner);
    bool secret = is_secret_of(owner, NULL, key) || (dict && is_secret_of(dict, NULL, key)) ||
                  (patterns && mwpy_key_text_is_cut(key, !PyDict_Check(owner)));
    PyErr_Clear();
    return secret;
}

/* The answer holds until names may have become others. */
static bool is_secret(mwpy_node *node, PyObject *key, const char *text, size_t n, mwpy_cell_number number) {
    mwpy_cells *cells = &node->root->cells;
    if (node->secret) return true;
    if (!patterns && !any) return false;
    uint64_t *judged = mwpy_cell_judged(cells, number), now = 2 * (cells->renames + mwpy_aliases.turn) + 2;
    if (*judged & 1) return true;
    if (*judged == now) return false;
    char own[MWPY_KEY_TEXT];
    if (!text) text = own;
    if (key) {
        n = mwpy_node_key_text(node, key, own);
        text = own;
    }
    bool secret = went_on(node, key) || is_secret_elsewhere(node, key) || (patterns && is_called(node, key, text, n));
    *judged = now | secret;
    return secret;
}

/* ---- what others have of it -------------------------------------------------------------------------------------- */

/* The place of another node, which was there before, is found to be a secret now. */
static void judge_place(mwpy_node *node, PyObject *key) {
    mwpy_cell_number number = MWPY_NO_CELL;
    if (key) key = key_in(node, key, &number);
    if (number == MWPY_NO_CELL || was_secret(node, number)) return;
    *mwpy_cell_judged(&node->root->cells, number) = 0;
    if (is_secret(node, key, NULL, 0, number)) hide_held(node, number);
}

static void judge_of(PyObject *whose, mwpy_node *node) {
    for (mwpy_node *other = mwpy_table_get(whose); other; other = mwpy_table_next(whose, other))
        if (other != node && !other->secret) judge_place(other, node->place ? node->place : other->place);
}

void mwpy_secrets_judge_slowly(mwpy_node *node) {
    PyObject *whose = mwpy_node_whose(node);
    judge_of(whose, node);
    if (node->dict && node->dict != whose) judge_of(node->dict, node);
    PyErr_Clear();
}

void mwpy_root_hide(mwpy_root *root) {
    mwpy_secrets.on = true;
    mwpy_aliases.turn++; /* others of the same object look again */
    turn(root->top);
}

void mwpy_node_inherit_slowly(mwpy_node *parent, PyObject *key, mwpy_node *child) {
    char text[MWPY_KEY_TEXT];
    if (child->secret) return;
    bool secret = parent->secret;
    if (!secret) secret = going_on && going_on->whole && going_on->whose == mwpy_node_whose(child);
    if (!secret && (any || patterns))
        secret = is_secret_elsewhere(parent, parent->items || parent->members ? NULL : key);
    if (!secret && patterns)
        secret = is_called(parent, parent->items ? NULL : key, text, mwpy_node_link_text(parent, key, text));
    if (secret) turn(child);
}

void mwpy_node_hide_slowly(mwpy_node *node, PyObject *key, const char *text, size_t n, mwpy_cell_number number,
                           mwpy_cell *cell) {
    if (!is_secret(node, key, text, n, number)) return;
    hide_held(node, number);
    mwpy_cell_hide(&node->root->cells, cell);
}
