/* node_spots.c - see node_spots.h.
 *
 * When a spot goes, only what was reached by it is looked at: first everything to which no other way is as short, then
 * the ways that are left to it, the shortest first (Ramalingam and Reps, 1996). It needs no memory. */
#include "places/node_spots.h"

#include "places/node.h"
#include "places/slab.h"

mwpy_spot *mwpy_node_spot(const mwpy_node *parent, PyObject *key) {
    PyObject *address = parent->links ? PyDict_GetItemWithError(parent->links, key) : NULL;
    return address ? PyLong_AsVoidPtr(address) : NULL;
}

static void put_spot(mwpy_spot *spot, mwpy_spot **link) {
    spot->next = *link;
    spot->link = link;
    if (spot->next) spot->next->link = &spot->next;
    *link = spot;
}

static void unlink_spot(mwpy_spot *spot) {
    *spot->link = spot->next;
    if (spot->next) spot->next->link = spot->link;
}

int mwpy_spot_add(mwpy_node *parent, PyObject *key, mwpy_node *child) {
    if (!parent->links && !(parent->links = PyDict_New())) return -1;
    mwpy_spot *spot = PyMem_Malloc(sizeof *spot);
    PyObject *address = spot ? PyLong_FromVoidPtr(spot) : NULL;
    if (!address || PyDict_SetItem(parent->links, key, address)) {
        Py_XDECREF(address);
        PyMem_Free(spot);
        return -1;
    }
    Py_DECREF(address);
    bool other = child->spots || mwpy_node_is_top(child);
    *spot = (mwpy_spot){.parent = parent,
                        .child = child,
                        .key = Py_NewRef(key),
                        .uncounted = parent->items && !parent->place,
                        .other = other};
    if (other) mwpy_aliases_change(1);
    put_spot(spot, child->spots ? &child->spots->next : &child->spots); /* the first one names the child */
    return 0;
}

void mwpy_spot_free(mwpy_spot *spot) {
    unlink_spot(spot);
    size_t fewer = spot->other + (spot->times > 1 && !spot->uncounted ? spot->times - 1 : 0);
    if (fewer || spot->child->spots) mwpy_aliases_change(-(ptrdiff_t)fewer);
    if (PyDict_DelItem(spot->parent->links, spot->key)) PyErr_Clear();
    Py_DECREF(spot->key);
    PyMem_Free(spot);
}

void mwpy_spot_names(mwpy_spot *spot) {
    mwpy_node *child = spot->child;
    if (child->spots != spot) {
        unlink_spot(spot);
        put_spot(spot, &child->spots);
    }
    mwpy_cells_rename(&child->root->cells);
}

/* ---- ways -------------------------------------------------------------------------------------------------------- */

/* Nodes that have lost their way, in the order of their levels. */
typedef struct lost {
    mwpy_node *first, **end;
} lost;

/* Those to which a way is known again, by its length. */
static mwpy_node *ways[MWPY_DEPTH_MOST + 1];

static mwpy_spot *next_below(const mwpy_node *node, Py_ssize_t *at) {
    PyObject *key, *address;
    return node->links && PyDict_Next(node->links, at, &key, &address) ? PyLong_AsVoidPtr(address) : NULL;
}

/* By the nearest of its spots, of parents that are nearer than `level`. NULL: there is none. */
static mwpy_spot *nearest(const mwpy_node *node, int level) {
    mwpy_spot *found = NULL;
    for (mwpy_spot *spot = node->spots; spot; spot = spot->next)
        if (spot->parent->root == node->root && spot->parent->level < level) {
            found = spot;
            level = spot->parent->level;
        }
    return found;
}

static void lose(lost *all, mwpy_node *node) {
    node->lost = true;
    node->next_dying = NULL;
    *all->end = node;
    all->end = &node->next_dying;
}

static void lose_below(lost *all, const mwpy_node *node) {
    Py_ssize_t at = 0;
    for (mwpy_spot *spot; (spot = next_below(node, &at));) {
        mwpy_node *child = spot->child;
        bool named = child->spots == spot && child->root == node->root && !mwpy_node_is_top(child);
        if (named && child->level != MWPY_UNREACHED && !child->lost) lose(all, child);
    }
}

/* Keeps those that have no other way as short as the one they had, and what only they lead to. */
static void sort_out(lost *all) {
    for (mwpy_node **link = &all->first, *node; (node = *link);) {
        mwpy_spot *other = nearest(node, node->level);
        if (!other) {
            node->level = MWPY_UNREACHED;
            lose_below(all, node);
            link = &node->next_dying;
            continue;
        }
        node->lost = false;
        *link = node->next_dying;
        if (!*link) all->end = link;
        mwpy_spot_names(other);
    }
}

static void forget_way(mwpy_node *node) {
    if (!node->way) return;
    *node->way = node->next_way;
    if (node->next_way) node->next_way->way = node->way;
    node->way = NULL;
}

/* It is reached by this spot, as far as is known. */
static void find_way(mwpy_spot *spot) {
    mwpy_node *node = spot->child;
    int level = spot->parent->level + 1;
    forget_way(node);
    mwpy_spot_names(spot);
    node->next_way = ways[level];
    node->way = &ways[level];
    if (node->next_way) node->next_way->way = &node->next_way;
    ways[level] = node;
}

/* A node has the shortest of its ways: there may be one by it to what it holds. What is too deep now isn't found there
 * any more. */
static void go_below(const mwpy_node *node) {
    Py_ssize_t at = 0;
    for (mwpy_spot *spot; (spot = next_below(node, &at));) {
        const mwpy_node *child = spot->child;
        if (!mwpy_is_near(child, node->root, node->level + 1))
            mwpy_spot_free(spot);
        else if (child->lost && (!child->way || child->spots->parent->level > node->level))
            find_way(spot);
    }
}

static void find_ways(const lost *all) {
    int level = MWPY_DEPTH_MOST;
    for (mwpy_node *node = all->first; node; node = node->next_dying) {
        mwpy_spot *spot = nearest(node, MWPY_UNREACHED);
        if (!spot || !mwpy_is_near(node, node->root, spot->parent->level + 1)) continue;
        find_way(spot);
        if (spot->parent->level < level) level = spot->parent->level;
    }
    for (; level <= MWPY_DEPTH_MOST; level++)
        for (mwpy_node *node; (node = ways[level]);) {
            forget_way(node);
            node->lost = false;
            node->level = level;
            go_below(node);
        }
}

/* Those that nothing leads to. */
static mwpy_node *unreached(lost *all) {
    sort_out(all);
    find_ways(all);
    for (mwpy_node **link = &all->first, *node; (node = *link);) {
        if (node->lost)
            link = &node->next_dying;
        else
            *link = node->next_dying;
        node->lost = false;
    }
    return all->first;
}

mwpy_node *mwpy_ways_lost(mwpy_node *node) {
    lost all = {NULL, &all.first};
    lose(&all, node);
    return unreached(&all);
}

mwpy_node *mwpy_ways_end(mwpy_node *node) {
    lost all = {NULL, &all.first};
    node->level = MWPY_UNREACHED;
    lose_below(&all, node);
    return unreached(&all);
}
