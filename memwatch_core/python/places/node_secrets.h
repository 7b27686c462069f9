/* node_secrets.h - which places hold secrets, and what their cells say instead.
 *
 * A place is a secret if its watch is, if it lies below one that is, or if a pattern of [privacy] variables matches a
 * name that it has. What is below a secret place is secret under every other name too, for as long as it is watched.
 * Its cell has a keyed hash of what it would say. */
#ifndef MEMWATCH_PYTHON_NODE_SECRETS_H
#define MEMWATCH_PYTHON_NODE_SECRETS_H
#include "base/compiler.h"
#include "places/node.h"

/* Whether a variable of this name is a secret: `name` as UTF-8. */
bool mwpy_is_secret_name(const char *name, size_t n);
/* From now on, a tuple of bytes: patterns. 0, or -1 with an exception. */
int mwpy_secrets_set(PyObject *patterns);
/* A watch is a secret. */
void mwpy_root_hide(mwpy_root *root);
/* Whether a watch that there is has a place as a secret. key: plain. */
bool mwpy_place_is_secret(PyObject *owner, PyObject *key);
/* A node is there, with its cells: what other watches have of the same owner may be a secret by that. */
void mwpy_secrets_judge_slowly(mwpy_node *node);
static inline void mwpy_secrets_judge(mwpy_node *node) {
    if (unlikely(mwpy_secrets.on)) mwpy_secrets_judge_slowly(node);
}

/* What was a secret of a node that ends: another watch goes on with the same owner, and with that. */
typedef struct mwpy_secrets_kept {
    const void *whose;
    bool whole;
    PyObject *keys; /* set; NULL: none */
} mwpy_secrets_kept;
void mwpy_secrets_keep(mwpy_secrets_kept *kept, const mwpy_node *node);
/* From now on, until it is called with what this returns. */
const mwpy_secrets_kept *mwpy_secrets_go_on(const mwpy_secrets_kept *kept);

/* Something is found in a place now: whether it is a secret by that. Before its cells are filled. */
void mwpy_node_inherit_slowly(mwpy_node *parent, PyObject *key, mwpy_node *child);
static inline void mwpy_node_inherit(mwpy_node *parent, PyObject *key, mwpy_node *child) {
    if (unlikely(mwpy_secrets.on)) mwpy_node_inherit_slowly(parent, key, child);
}

/* In place of the length of a text: it is too long for one, so that it may be called by any name. */
enum { MWPY_NAME_CUT = MWPY_KEY_TEXT + 1 };
/* Hides what a cell is about to say, or to be compared with, and what it has said so far, if the place is a secret.
 * text: how the place is written behind its node. */
void mwpy_node_hide_slowly(mwpy_node *node, PyObject *key, const char *text, size_t n, mwpy_cell_number number,
                           mwpy_cell *cell);
static inline void mwpy_node_hide(mwpy_node *node, PyObject *key, mwpy_cell_number number, mwpy_cell *cell) {
    if (unlikely(mwpy_secrets.on)) mwpy_node_hide_slowly(node, key, NULL, 0, number, cell);
}
static inline void mwpy_node_hide_called(mwpy_node *node, const char *text, size_t n, mwpy_cell_number number,
                                         mwpy_cell *cell) {
    if (unlikely(mwpy_secrets.on)) mwpy_node_hide_slowly(node, NULL, text, n, number, cell);
}
#endif
