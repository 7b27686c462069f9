/* node_secrets.c - see node_secrets.h. */
#include "places/node_secrets.h"

#include <string.h>

#include "places/cell.h"
#include "places/node.h"
#include "places/node_items.h"
#include "places/node_members.h"
#include "places/node_table.h"
#include "places/slab.h"

/* ---- patterns ---------------------------------------------------------------------------------------------------- */

static PyObject *patterns; /* tuple of bytes; NULL: none */

static char folded(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 'a' - 'A') : c; }

/* "*" stands for any characters, "?" for one, a letter for itself in either case. */
static bool matches(const char *pattern, size_t n, const char *name, size_t length) {
    size_t p = 0, at = 0, star = n, from = 0;
    while (at < length) {
        if (p < n && pattern[p] == '*') {
            star = p++;
            from = at;
        } else if (p < n && (pattern[p] == '?' || folded(pattern[p]) == folded(name[at]))) {
            at++;
            while (pattern[p] == '?' && at < length && ((unsigned char)name[at] & 0xC0) == 0x80) at++;
            p++;
        } else if (star < n) {
            p = star + 1;
            at = ++from;
        } else {
            return false;
        }
    }
    while (p < n && pattern[p] == '*') p++;
    return p == n;
}

bool mwpy_is_secret_name(const char *name, size_t n) {
    for (Py_ssize_t i = 0; patterns && i < PyTuple_GET_SIZE(patterns); i++) {
        PyObject *pattern = PyTuple_GET_ITEM(patterns, i);
        if (matches(PyBytes_AS_STRING(pattern), (size_t)PyBytes_GET_SIZE(pattern), name, n)) return true;
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

/* ---- which places ------------------------------------------------------------------------------------------------ */

static bool any; /* node is a secret, or was */

static void hide_held(mwpy_node *node, mwpy_cell_number number) {
    mwpy_cells *cells = &node->root->cells;
    if (number == MWPY_NO_CELL) return;
    mwpy_cell hidden = *mwpy_cell_at(cells, number);
    if (mwpy_cell_hide(cells, &hidden)) mwpy_cell_write(cells, number, &hidden, MW_SHADOW_SILENT);
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

/* It, and what is found in it. */
static void turn(mwpy_node *node) {
    any = true;
    node->secret = true;
    node->next_turning = NULL;
    for (mwpy_node *last = node; node; node = node->next_turning) {
        Py_ssize_t at = 0;
        PyObject *key, *address;
        hide_all(node);
        while (node->links && PyDict_Next(node->links, &at, &key, &address)) {
            mwpy_node *child = ((mwpy_spot *)PyLong_AsVoidPtr(address))->child;
            if (child->secret) continue;
            child->secret = true;
            child->next_turning = NULL;
            last = last->next_turning = child;
        }
    }
}

void mwpy_root_hide(mwpy_root *root) {
    mwpy_secrets.on = true;
    mwpy_aliases.turn++; /* others of the same object look again */
    turn(root->top);
}

/* Whether another watch of the same owner has the place, and is a secret. */
static bool is_secret_elsewhere(const mwpy_node *node, PyObject *key) {
    PyObject *whose = mwpy_node_whose(node);
    if (node->place) key = node->place;
    for (mwpy_node *other = mwpy_table_get(whose); other; other = mwpy_table_next(whose, other))
        if (other != node && other->secret && (!other->place || (key && mwpy_key_is(key, other->place)))) return true;
    return false;
}

/* The answer holds until names may have become others. */
static bool is_secret(mwpy_node *node, PyObject *key, const char *text, size_t n, mwpy_cell_number number) {
    mwpy_cells *cells = &node->root->cells;
    if (node->secret) return true;
    if (!patterns && !any) return false;
    uint64_t *judged = mwpy_cell_judged(cells, number), now = 2 * (cells->renames + mwpy_aliases.turn) + 2;
    if ((*judged | 1) == (now | 1)) return *judged & 1;
    char own[MWPY_KEY_TEXT];
    if (!text) text = own;
    if (key) {
        n = mwpy_node_key_text(node, key, own);
        text = own;
    }
    bool secret =
        is_secret_elsewhere(node, key) || (patterns && mwpy_node_is_called(node, text, n, mwpy_is_secret_name));
    *judged = now | secret;
    return secret;
}

void mwpy_node_inherit_slowly(mwpy_node *parent, PyObject *key, mwpy_node *child) {
    char text[MWPY_KEY_TEXT];
    if (child->secret) return;
    bool secret = parent->secret;
    if (!secret && any) secret = is_secret_elsewhere(parent, parent->items || parent->members ? NULL : key);
    if (!secret && patterns)
        secret = mwpy_node_is_called(parent, text, mwpy_node_link_text(parent, key, text), mwpy_is_secret_name);
    if (secret) turn(child);
}

void mwpy_node_hide_slowly(mwpy_node *node, PyObject *key, const char *text, size_t n, mwpy_cell_number number,
                           mwpy_cell *cell) {
    if (!is_secret(node, key, text, n, number)) return;
    hide_held(node, number);
    mwpy_cell_hide(&node->root->cells, cell);
}
