/* node_slots.c - the half of a node that lies in its owner: slots. */
#include <string.h>

#include "base/compiler.h"
#include "places/cell.h"
#include "places/layout.h"
#include "places/node.h"
#include "places/node_route.h"
#include "places/node_table.h"
#include "places/slab.h"

int mwpy_slots_open(mwpy_node *node) {
    mwpy_layout *layout = PyType_Check(node->owner) ? NULL : mwpy_layout_take(Py_TYPE(node->owner));
    if (!layout) return -1;
    node->slots = PyMem_Malloc((layout->count + 1) * sizeof *node->slots);
    if (!node->slots) {
        mwpy_layout_give_back(layout);
        return -1;
    }
    node->layout = layout;
    for (size_t i = 0; i < layout->count; i++) node->slots[i] = MWPY_NO_CELL;
    return 0;
}

/* An absent one has a cell as well. */
void mwpy_slots_fill(mwpy_node *node) {
    const mwpy_layout *layout = node->layout;
    for (size_t i = 0; layout && i < layout->count; i++) {
        PyObject *name = layout->slots[i].name, *value = *mwpy_slot_in(node->owner, layout, i);
        if (!name || !mwpy_node_wants(node, name)) continue;
        node->slots[i] = mwpy_cell_take(&node->root->cells);
        if (node->slots[i] == MWPY_NO_CELL) continue;
        mwpy_cell now;
        mwpy_cell_describe(&now, value);
        mwpy_node_write(node, layout->slots[i].key, node->slots[i], &now, MW_SHADOW_SILENT);
        if (value) mwpy_node_follow(node, layout->slots[i].key, value);
    }
}

/* Tells what was changed unseen; whether it was. */
static bool check(mwpy_node *node, PyObject *key, mwpy_cell_number number, PyObject *held, mw_shadow why) {
    mwpy_cell found;
    if (likely(mwpy_node_agrees(node, key, number, held, &found, &why))) return false;
    mwpy_node_write(node, key, number, &found, why);
    return why != MW_SHADOW_SILENT;
}

/* The nodes of an owner whose end is told, one after the other. */
static mwpy_node *behind(PyObject *owner, const mwpy_node *node) {
    mwpy_node *next = node ? mwpy_table_next(owner, node) : mwpy_table_get(owner);
    while (next && (next->owner != owner || !next->layout)) next = mwpy_table_next(owner, next);
    return next;
}

static void change(mwpy_node *node, PyObject *object, Py_ssize_t offset, PyObject *now) {
    const mwpy_layout *layout = node->layout;
    size_t i = (size_t)(offset - layout->first) / sizeof(PyObject *);
    if (i >= layout->count) return;
    if (unlikely(node->step) && mwpy_node_leads(node)) {
        if (layout->slots[i].name && mwpy_node_wants(node, layout->slots[i].name))
            mwpy_node_leads_to(node, now, MW_SHADOW_NOW);
        return;
    }
    if (node->slots[i] == MWPY_NO_CELL) return;
    PyObject *key = layout->slots[i].key, *held = *mwpy_slot_in(object, layout, i);
    check(node, key, node->slots[i], held, MW_SHADOW_FOUND);
    if (held != now) { /* as dicts tell it */
        mwpy_cell cell;
        mwpy_cell_describe(&cell, now);
        mwpy_node_write(node, key, node->slots[i], &cell, MW_SHADOW_NOW);
        mwpy_node_follow(node, key, now);
    }
}

void mwpy_slot_changes(PyObject *object, Py_ssize_t offset, PyObject *now) {
    mwpy_node *node = behind(object, NULL);
    if (!node) return;
    mwpy_aside aside = mwpy_set_aside();
    for (; node; node = behind(object, node)) change(node, object, offset, now);
    mwpy_put_back(aside);
}

size_t mwpy_slots_compare(mwpy_node *node, mw_shadow why) {
    size_t changed = 0;
    bool known = mwpy_left_known;
    const mwpy_layout *layout = node->layout;
    if (!layout || !Py_REFCNT(node->owner)) return 0; /* it is being freed, and its slots are emptied one by one */
    for (size_t i = 0; i < layout->count; i++) {
        if (node->slots[i] == MWPY_NO_CELL) continue;
        PyObject *key = layout->slots[i].key, *value = *mwpy_slot_in(node->owner, layout, i);
        bool differs = check(node, key, node->slots[i], value, why);
        changed += differs;
        mwpy_left_known = known || !differs;
        mwpy_node_follow(node, key, value);
    }
    mwpy_left_known = known;
    return changed;
}

mwpy_layout *mwpy_slots_close(mwpy_node *node) {
    mwpy_layout *layout = node->layout;
    for (size_t i = 0; layout && node->root->top && i < layout->count; i++)
        mwpy_cell_empty(&node->root->cells, node->slots[i]);
    PyMem_Free(node->slots);
    node->slots = NULL;
    node->layout = NULL;
    return layout;
}

/* Its dict may live on, where somebody holds it. */
void mwpy_object_ends(PyObject *object) {
    mwpy_node *node = behind(object, NULL);
    if (!node) return;
    mwpy_aside aside = mwpy_set_aside();
    for (; node; node = behind(object, NULL))
        if (node->dict)
            mwpy_node_leaves_owner(node);
        else
            mwpy_node_died(node);
    mwpy_put_back(aside);
}

/* Its slots lie where they did: the interpreter allows nothing else. */
void mwpy_class_changed(PyObject *object) {
    for (mwpy_node *node = behind(object, NULL); node; node = behind(object, node)) {
        mwpy_layout *before = node->layout, *now = mwpy_layout_take(Py_TYPE(object));
        if (now && now->first == before->first && now->count == before->count) {
            node->layout = now;
            now = before;
        }
        if (now) mwpy_layout_give_back(now);
    }
}
