/* node_slots.c - the half of a node that lies in its owner: slots. */
#include <string.h>

#include "places/attributes.h"
#include "places/node.h"

#if PY_VERSION_HEX >= 0x030C0000

int mwpy_slots_open(mwpy_node *node) {
    node->layout = PyType_Check(node->owner) ? NULL : mwpy_layout_take(Py_TYPE(node->owner));
    if (!node->layout) return -1;
    node->slots = PyMem_Malloc((node->layout->count + 1) * sizeof *node->slots);
    if (!node->slots) {
        mwpy_layout_give_back(node->layout);
        node->layout = NULL;
        return -1;
    }
    for (size_t i = 0; i < node->layout->count; i++) node->slots[i] = (mwpy_held){MWPY_NO_CELL, NULL};
    return 0;
}

/* An absent one has a cell as well. */
void mwpy_slots_fill(mwpy_node *node) {
    const mwpy_layout *layout = node->layout;
    for (size_t i = 0; layout && i < layout->count; i++) {
        PyObject *name = layout->slots[i].name, *value = *mwpy_slot_in(node->owner, layout, i);
        if (!name || !mwpy_node_wants(node, name)) continue;
        mwpy_held *held = &node->slots[i];
        if ((held->cell = mwpy_cell_take(&node->root->cells)) == MWPY_NO_CELL) continue;
        mwpy_cell now;
        mwpy_cell_describe(&now, value);
        mwpy_node_write(node, name, held->cell, &now, MW_SHADOW_SILENT);
        held->value = value;
        if (value) mwpy_node_follow(node, name, value);
    }
}

/* What a slot holds must be what its cell says. If it isn't, that was changed unseen, and is told first; but the events
 * of what is followed itself say what became of it. */
static bool check(mwpy_node *node, PyObject *name, const mwpy_held *held, PyObject *value, mw_shadow why) {
    mwpy_cell found;
    mwpy_cell_describe(&found, value);
    if (!memcmp(&found, mwpy_cell_at(&node->root->cells, held->cell), mwpy_cell_size(&found))) return false;
    mwpy_node *own = value && value == held->value ? mwpy_node_of(value) : NULL;
    bool explained = own && mwpy_node_is_under(own, node, name);
    mwpy_node_write(node, name, held->cell, &found, explained ? MW_SHADOW_SILENT : why);
    return !explained;
}

/* The cell says now what the slot holds. */
static void let_go(mwpy_node *node, PyObject *name, mwpy_held *held, const void *now) {
    mwpy_node *before = held->value && held->value != now ? mwpy_node_at(held->value) : NULL;
    held->value = now;
    if (before) mwpy_node_lose(node, name, before);
}

static void change(mwpy_node *node, PyObject *name, mwpy_held *held, PyObject *before, PyObject *now) {
    check(node, name, held, before, MW_SHADOW_FOUND);
    mwpy_cell cell;
    mwpy_cell_describe(&cell, now);
    mwpy_node_write(node, name, held->cell, &cell, MW_SHADOW_NOW);
    bool other = held->value != now;
    let_go(node, name, held, now);
    if (now && other) mwpy_node_follow(node, name, now);
}

static mwpy_node *node_of_owner(PyObject *owner) {
    mwpy_node *node = mwpy_node_at(owner);
    return node && node->owner == owner && node->layout ? node : NULL;
}

void mwpy_slot_changes(PyObject *object, Py_ssize_t offset, PyObject *now) {
    mwpy_node *node = node_of_owner(object);
    if (!node) return;
    const mwpy_layout *layout = node->layout;
    size_t i = (size_t)(offset - layout->first) / sizeof(PyObject *);
    if (i >= layout->count || node->slots[i].cell == MWPY_NO_CELL) return;
    PyObject *error = PyErr_GetRaisedException();
    change(node, layout->slots[i].name, &node->slots[i], *mwpy_slot_in(object, layout, i), now);
    PyErr_SetRaisedException(error);
}

size_t mwpy_slots_compare(mwpy_node *node, mw_shadow why) {
    size_t changed = 0;
    const mwpy_layout *layout = node->layout;
    if (!layout || !Py_REFCNT(node->owner)) return 0; /* it is being freed, and its slots are emptied one by one */
    for (size_t i = 0; i < layout->count; i++) {
        mwpy_held *held = &node->slots[i];
        if (held->cell == MWPY_NO_CELL) continue;
        PyObject *name = layout->slots[i].name, *value = *mwpy_slot_in(node->owner, layout, i);
        changed += check(node, name, held, value, why);
        let_go(node, name, held, value);
        if (value) mwpy_node_follow(node, name, value);
    }
    return changed;
}

/* Only if its cell was written for it: otherwise nothing would be let go of with the slot. */
PyObject *mwpy_slots_value(const mwpy_node *node, PyObject *name) {
    const mwpy_layout *layout = node->layout;
    for (size_t i = 0; layout && i < layout->count; i++) {
        if (!layout->slots[i].name || PyUnicode_Compare(layout->slots[i].name, name)) continue;
        PyObject *value = *mwpy_slot_in(node->owner, layout, i);
        return value == node->slots[i].value && node->slots[i].cell != MWPY_NO_CELL ? value : NULL;
    }
    return NULL;
}

void mwpy_slots_lose(mwpy_node *node) {
    for (size_t i = 0; i < node->layout->count; i++)
        if (node->slots[i].value) let_go(node, node->layout->slots[i].name, &node->slots[i], NULL);
}

void mwpy_slots_close(mwpy_node *node) {
    for (size_t i = 0; node->layout && node->root->top && i < node->layout->count; i++) {
        if (node->slots[i].cell == MWPY_NO_CELL) continue;
        mwpy_cell none = {0};
        mwpy_cell_write(&node->root->cells, node->slots[i].cell, &none, MW_SHADOW_SILENT);
        mwpy_cell_give_back(&node->root->cells, node->slots[i].cell);
    }
    PyMem_Free(node->slots);
    node->slots = NULL;
    node->layout = NULL;
}

/* Its dict may live on, where somebody holds it. */
void mwpy_object_ends(PyObject *object) {
    mwpy_node *node = node_of_owner(object);
    if (!node) return;
    PyObject *error = PyErr_GetRaisedException();
    if (node->dict)
        mwpy_node_leaves_owner(node);
    else
        mwpy_node_died(node);
    PyErr_SetRaisedException(error);
}

/* Its slots lie where they did: the interpreter allows nothing else. */
void mwpy_class_changed(PyObject *object) {
    mwpy_node *node = node_of_owner(object);
    if (!node) return;
    mwpy_layout *before = node->layout, *now = mwpy_layout_take(Py_TYPE(object));
    if (node->dict) mwpy_attributes_guard(Py_TYPE(object));
    if (now && now->first == before->first && now->count == before->count) {
        node->layout = now;
        now = before;
    }
    if (now) mwpy_layout_give_back(now);
}
#endif
