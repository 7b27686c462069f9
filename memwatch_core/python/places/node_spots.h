/* node_spots.h - where nodes are found, and by which of those spots they are reached.
 *
 * A node is as deep as the shortest way to it from the watched object says. Its first spot is the last step of such a
 * way, and names it: so its parent is nearer than it is, and names never go in a circle. */
#ifndef MEMWATCH_PYTHON_NODE_SPOTS_H
#define MEMWATCH_PYTHON_NODE_SPOTS_H
#include "places/node.h"

enum { MWPY_DEPTH_MOST = 100, MWPY_UNREACHED = INT_MAX / 2 };

/* Where something is followed under a key; NULL: nowhere. */
mwpy_spot *mwpy_node_spot(const mwpy_node *parent, PyObject *key);
/* 0, or -1: no memory. The key has no spot yet. */
int mwpy_spot_add(mwpy_node *parent, PyObject *key, mwpy_node *child);
/* Takes a spot out of its parent's links and its child's list. */
void mwpy_spot_free(mwpy_spot *spot);
/* From now on the child is called by this spot. */
void mwpy_spot_names(mwpy_spot *spot);

/* A node isn't found any more where its name says: it, and what lies below, are reached in other ways, or no longer.
 * Returns those that aren't, whose level is MWPY_UNREACHED now, as a chain of next_dying. */
mwpy_node *mwpy_ways_lost(mwpy_node *node);
/* The same of what lies below a node that ends. */
mwpy_node *mwpy_ways_end(mwpy_node *node);
#endif
