/* node_route.h - places that are watched by their names: `config["debug"]` of a module, whatever `config` is by then.
 *
 * A route has a node for each of its names. Those before the last one lead: what lies under their names is the object
 * of the next one, from the moment that it is put there. The last one is the top of the watch, whose only cell says
 * what the route leads to: nothing, if one of the names isn't there. Where it leads to an attribute of a class, each
 * instance has a node too, from birth. */
#ifndef MEMWATCH_PYTHON_NODE_ROUTE_H
#define MEMWATCH_PYTHON_NODE_ROUTE_H
#include "places/node.h"

/* Watches what a route leads to. object: NULL, it isn't there. names: a tuple of plain keys, two at least if it is;
 * brackets: which of them are keys or indexes, a bit for each. NULL with an exception. */
mwpy_root *mwpy_route_open(PyObject *object, PyObject *name, PyObject *metadata, uint32_t flags, int depth, size_t most,
                           PyObject *names, uint64_t brackets);
/* What such a route leads to now, borrowed; NULL: nothing. Sets no exception. */
PyObject *mwpy_route_end(PyObject *object, PyObject *names, uint64_t brackets);

/* An instance of a class, or of a subclass, is born; `root`: whose route leads to an attribute of that class. */
void mwpy_route_bears(mwpy_root *root, PyObject *instance);

/* ---- of its nodes ---- */

/* Whether `now` lies at a node's index of a list from now on is looked at. */
void mwpy_node_item_is(mwpy_node *node, PyObject *now, mw_shadow why);

/* Whether a node says where a route goes on: it has no cells. */
bool mwpy_node_leads(const mwpy_node *node);
/* The place of such a node is about to hold `now`, or nothing (NULL). */
void mwpy_node_leads_to(mwpy_node *node, PyObject *now, mw_shadow why);
/* The same of whatever it holds; whether that wasn't known. */
bool mwpy_node_leads_on(mwpy_node *node, mw_shadow why);
/* The object of a route's node is gone, which isn't the end of the watch. alive: its dict is still there. */
void mwpy_node_strays(mwpy_node *node, bool alive);
/* Whether it is what a class has under the name of a slot: how its instances have one, and none of its own. */
bool mwpy_route_is_slot(const mwpy_node *node, PyObject *value);
/* Whether a route has ever led to something. */
bool mwpy_route_led(const struct mwpy_route *route);
/* Its watch ends. */
void mwpy_route_close(mwpy_root *root);
#endif
