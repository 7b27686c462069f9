/* dicts.c - see dicts.h.
 *
 * A watcher is called in the midst of the dict's own code, which goes on with what it had read before: nothing of the
 * program's may run here, and no exception may be left or lost. */
#define Py_BUILD_CORE_MODULE 1
#include "places/dicts.h"

#include "base/compiler.h"
#include "interpreter.h"
#include "places/attributes.h"
#include "places/node.h"
#include "places/node_table.h"

static void take_over(mwpy_node *node, PyObject *source) {
    Py_ssize_t at = 0;
    PyObject *key, *value;
    while (PyDict_Next(source, &at, &key, &value)) mwpy_node_change(node, key, value, true);
}

static void change(mwpy_node *node, PyDict_WatchEvent event, PyObject *key, PyObject *now) {
    switch (event) {
    case PyDict_EVENT_ADDED: mwpy_node_change(node, key, now, true); break;
    case PyDict_EVENT_MODIFIED: mwpy_node_change(node, key, now, false); break;
    case PyDict_EVENT_DELETED: mwpy_node_change(node, key, NULL, false); break;
    case PyDict_EVENT_CLONED: take_over(node, key); break;
    case PyDict_EVENT_CLEARED: mwpy_node_clear(node); break;
    case PyDict_EVENT_DEALLOCATED: mwpy_node_died(node); break;
    }
}

int mwpy_dict_changes(PyDict_WatchEvent event, PyObject *dict, PyObject *key, PyObject *now) {
    bool gone = event == PyDict_EVENT_DEALLOCATED;
    mwpy_node *node = mwpy_node_behind(dict, NULL);
    if (!node || (mwpy_is_finalizing() && !gone)) return 0; /* modules are taken apart */
    mwpy_aside aside = mwpy_set_aside();
    while (node) {
        change(node, event, key, now);
        node = gone ? mwpy_node_behind(dict, NULL) : likely(!mwpy_table_others) ? NULL : mwpy_node_behind(dict, node);
    }
    mwpy_put_back(aside);
    return 0;
}

static mwpy_node *node_with(PyObject *dict, const PyObject *owner) {
    mwpy_node *node = mwpy_node_behind(dict, NULL);
    while (node && node->owner != owner) node = mwpy_node_behind(dict, node);
    return node;
}

void mwpy_dict_replaced(PyObject *owner, PyObject *before) {
    mwpy_node *node = before ? node_with(before, owner) : NULL;
    if (!node) return;
    mwpy_aside aside = mwpy_set_aside();
    PyObject *dict = mwpy_dict_of(owner); /* made now where it was deleted: later nobody would tell */
    for (; dict && node; node = node_with(before, owner)) mwpy_node_move(node, dict, MW_SHADOW_NOW);
    Py_XDECREF(dict);
    mwpy_put_back(aside);
}
