/* node_members.h - the part of a node that lies in a set: its members. */
#ifndef MEMWATCH_PYTHON_NODE_MEMBERS_H
#define MEMWATCH_PYTHON_NODE_MEMBERS_H
#include "places/node.h"

/* The set keeps its table in guarded memory from now on. 0, or -1: no memory. */
int mwpy_members_open(mwpy_node *node);
/* Gives each member its cell. */
void mwpy_members_fill(mwpy_node *node);
/* Compares the members with their cells, and tells what differs. Returns how many do. */
size_t mwpy_members_compare(mwpy_node *node, mw_shadow why);
/* Gives the set ordinary memory again, if it lives. */
/* Gives each of its cells to a function, before it becomes a secret's. */
void mwpy_members_hide(mwpy_node *node, void (*hide_held)(mwpy_node *node, mwpy_cell_number number));
void mwpy_members_close(mwpy_node *node, bool alive);

/* What is reported of sets: see reports.h. */
void mwpy_set_stored(mwpy_node *node, const void *address, size_t length);
void mwpy_set_freed(mwpy_node *node);
#endif
