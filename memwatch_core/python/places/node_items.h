/* node_items.h - the half of a node that lies in a list: its items. */
#ifndef MEMWATCH_PYTHON_NODE_ITEMS_H
#define MEMWATCH_PYTHON_NODE_ITEMS_H
#include "places/node.h"
#include "places/reports.h"

/* The list keeps its items in guarded memory from now on. 0; -1: no memory; -2: it is being sorted. */
int mwpy_items_open(mwpy_node *node);
/* Follows what the items are. */
void mwpy_items_fill(mwpy_node *node);
/* The same of a node that has come nearer. */
void mwpy_items_follow(mwpy_node *node);
/* How often a list holds what is found at a spot. */
void mwpy_spot_counts(mwpy_spot *spot, size_t times);
/* Compares the items with what was recorded of them, and tells what differs. Returns how many do. */
size_t mwpy_items_compare(mwpy_node *node, mw_shadow why);
/* Gives the list ordinary memory again, if it lives. */
/* Gives each of its cells to a function, before it becomes a secret's. */
void mwpy_items_hide(mwpy_node *node, void (*hide_held)(mwpy_node *node, mwpy_cell_number number));
void mwpy_items_close(mwpy_node *node, bool alive);
/* One item of a list, by its index, is a node's place: of the list as it is by then. A negative index counts from its
 * end. 0, or -1: no memory, or the place is no index. */
int mwpy_items_join(mwpy_node *node, PyObject *list);
void mwpy_items_leave(mwpy_node *node, bool alive);
/* The list of such a node, and what lies at its index; NULL: nothing. Borrowed. */
PyObject *mwpy_items_list(const mwpy_node *node);
PyObject *mwpy_items_at(const mwpy_node *node);
/* Where, from an index on, an item of this address is; -1: nowhere. */
Py_ssize_t mwpy_items_index(const mwpy_node *node, const void *item, Py_ssize_t from);

/* What is reported of lists: see reports.h. */
void mwpy_list_stored(mwpy_node *node, const void *address, size_t length);
void *mwpy_list_resized(void *address, size_t bytes);
void mwpy_list_freed(mwpy_node *node);
bool mwpy_list_begins(mwpy_list_turn *turn, PyObject *list, unsigned how, Py_ssize_t index);
void mwpy_list_ends(mwpy_list_turn *turn);
#endif
