/* node_members.c - see node_members.h.
 *
 * A set keeps its members in a table, which lies in guarded memory: what is added or taken out is a store there. Where
 * the set gives up its table, for a larger one or for none, that is told by its memory. Each member has a cell, which
 * says what it was when it is gone. */
#define Py_BUILD_CORE_MODULE 1
#include "places/node_members.h"

#include <stdlib.h>
#include <string.h>

#include "base/compiler.h"
#include "interpreter.h"
#include "places/cell.h"
#include "places/node.h"
#include "places/node_secrets.h"
#include "places/slab.h"
#include "places/storage.h"

typedef struct member {
    PyObject *key; /* compared, and read only where it is being stored; NULL: there is none */
    mwpy_cell_number cell;
} member;

typedef struct mwpy_members {
    mwpy_storage storage;
    member *seen; /* of each entry of the table, as last told */
    size_t n;     /* entries */
} mwpy_members;

static PySetObject *set_of(const mwpy_node *node) { return (PySetObject *)node->owner; }
static setentry *watched(const mwpy_members *members) { return (setentry *)members->storage.at; }
static size_t entries_of(const PySetObject *set) { return (size_t)set->mask + 1; }

/* What the interpreter puts in the place of a member that is taken out. */
static const PyObject *dummy;
static void learn_dummy(void) {
    PyObject *one = dummy ? NULL : PySet_New(NULL), *key = PyLong_FromLong(1);
    if (one && key && !PySet_Add(one, key) && PySet_Discard(one, key) == 1)
        for (size_t i = 0; i < PySet_MINSIZE; i++)
            if (((PySetObject *)one)->table[i].key) dummy = ((PySetObject *)one)->table[i].key;
    Py_XDECREF(one);
    Py_XDECREF(key);
}

static PyObject *key_at(const setentry *table, size_t i) { return table[i].key == dummy ? NULL : table[i].key; }

/* ---- telling ----------------------------------------------------------------------------------------------------- */

/* key: NULL if it can't be read any more: then by what its cell has of it. */
static void hide(mwpy_node *node, PyObject *key, mwpy_cell_number number, mwpy_cell *now) {
    if (likely(!mwpy_secrets.on)) return;
    char text[MWPY_KEY_TEXT];
    const mwpy_cell *held = mwpy_cell_at(&node->root->cells, number);
    bool cut = key ? mwpy_key_text_is_cut(key, false) : held->flags & MWPY_CELL_CUT;
    size_t n = cut ? MWPY_NAME_CUT : key ? mwpy_key_text(text, sizeof text, key, false) : 0;
    if (key && !cut) {
        text[0] = '{'; /* as a set's member, not as a key */
        text[n - 1] = '}';
    } else if (!cut) {
        n = mwpy_member_text(text, sizeof text, held);
    }
    mwpy_node_hide_called(node, text, n, number, now);
}

static void write_cell(mwpy_node *node, PyObject *key, mwpy_cell_number number, mwpy_cell *now, mw_shadow why) {
    mwpy_cells *cells = &node->root->cells;
    hide(node, key, number, now);
    bool judged = unlikely(cells->judged != NULL) && why != MW_SHADOW_SILENT;
    const mwpy_cell *says = now->kind ? now : mwpy_cell_at(cells, number);
    if (why != MW_SHADOW_SILENT && !mwpy_cell_is_told(cells, number)) {
        char text[MWPY_KEY_TEXT];
        mwpy_node_tell(node, number, text, mwpy_member_text(text, sizeof text, says));
    }
    if (judged) mwpy_node_is_subject(node, NULL, says, number);
    mwpy_cell_write(cells, number, now, why, 0);
    if (judged) mw_set_subject(NULL, 0);
}

static void come(mwpy_node *node, member *to, PyObject *key, mw_shadow why) {
    *to = (member){key, mwpy_cell_take(&node->root->cells)};
    if (mwpy_may_be_followed(key)) mwpy_node_leaves_member(node, key);
    if (to->cell == MWPY_NO_CELL) return;
    mwpy_cell now;
    mwpy_cell_describe(&now, key);
    write_cell(node, key, to->cell, &now, why);
}

static void go(mwpy_node *node, member *gone, mw_shadow why) {
    mwpy_cell now = {0};
    gone->key = NULL;
    if (gone->cell == MWPY_NO_CELL) return;
    write_cell(node, NULL, gone->cell, &now, why);
    mwpy_cell_give_back(&node->root->cells, gone->cell);
}

static size_t replace(mwpy_node *node, member *seen, PyObject *key, mw_shadow why) {
    if (seen->key == key) return 0;
    if (seen->key) go(node, seen, why);
    if (key) come(node, seen, key, why);
    return 1;
}

/* ---- another table ----------------------------------------------------------------------------------------------- */

static int by_address(const void *a, const void *b) {
    uintptr_t left = (uintptr_t)((const member *)a)->key, right = (uintptr_t)((const member *)b)->key;
    return (left > right) - (left < right);
}

/* The members lie elsewhere now: those that are the same keep their cells. 0, or -1: no memory. */
static int renew(mwpy_node *node, mw_shadow why) {
    mwpy_members *members = node->members;
    const setentry *table = set_of(node)->table;
    size_t n = entries_of(set_of(node)), before = members->n;
    member *next = PyMem_RawCalloc(n, sizeof *next), *old = members->seen;
    if (!next) return -1;
    qsort(old, before, sizeof *old, by_address);
    for (size_t i = 0; i < n; i++) {
        const member wanted = {.key = key_at(table, i)};
        member *found = wanted.key ? bsearch(&wanted, old, before, sizeof *old, by_address) : NULL;
        if (found) next[i] = *found;
        if (found) found->cell = MWPY_NO_CELL; /* it has moved on; the order of `old` stays */
    }
    for (size_t i = 0; i < before; i++)
        if (old[i].key && old[i].cell != MWPY_NO_CELL) go(node, &old[i], why);
    for (size_t i = 0; i < n; i++)
        if (key_at(table, i) && !next[i].key) come(node, &next[i], key_at(table, i), why);
    PyMem_RawFree(old);
    members->seen = next;
    members->n = n;
    return 0;
}

/* Moves the table into guarded memory: the set's own memory, where it isn't a part of the set itself, is freed. */
static int move_in(mwpy_node *node) {
    mwpy_members *members = node->members;
    PySetObject *set = set_of(node);
    size_t bytes = entries_of(set) * sizeof *set->table;
    if (bytes > members->storage.size) {
        mwpy_storage larger;
        if (mwpy_storage_open(&larger, bytes, node)) return -1;
        if (members->storage.at) mwpy_storage_close(&members->storage, node, false);
        members->storage = larger;
    }
    setentry *before = set->table;
    memcpy(members->storage.view, before, bytes);
    set->table = watched(members);
    if (before != set->smalltable) PyMem_Free(before);
    return 0;
}

/* ---- a set comes and goes ---------------------------------------------------------------------------------------- */

int mwpy_members_open(mwpy_node *node) {
    learn_dummy();
    mwpy_members *members = PyMem_Calloc(1, sizeof *members);
    if (!members) return -1;
    node->members = members;
    members->n = entries_of(set_of(node));
    members->seen = PyMem_RawCalloc(members->n, sizeof *members->seen);
    if (members->seen && dummy && !move_in(node)) return 0;
    PyMem_RawFree(members->seen);
    PyMem_Free(members);
    node->members = NULL;
    return -1;
}

void mwpy_members_fill(mwpy_node *node) {
    mwpy_members *members = node->members;
    for (size_t i = 0; i < members->n; i++) {
        PyObject *key = key_at(watched(members), i);
        if (key) come(node, &members->seen[i], key, MW_SHADOW_SILENT);
    }
}

size_t mwpy_members_compare(mwpy_node *node, mw_shadow why) {
    mwpy_members *members = node->members;
    size_t changed = 0;
    for (size_t i = 0; i < members->n && set_of(node)->table == watched(members); i++)
        changed += replace(node, &members->seen[i], key_at(watched(members), i), why);
    return changed;
}

/* false: there is no memory, or the set's own code has the table in hand, whose members it lets go: that code frees it.
 */
static bool move_out(mwpy_node *node) {
    PySetObject *set = set_of(node);
    size_t n = entries_of(set);
    if (set->table != watched(node->members) || !Py_REFCNT(set)) return false;
    setentry *plain = n == PySet_MINSIZE ? set->smalltable : PyMem_Malloc(n * sizeof *plain);
    if (!plain) return false;
    memcpy(plain, set->table, n * sizeof *plain);
    set->table = plain;
    return true;
}

void mwpy_members_hide(mwpy_node *node, void (*hide_held)(mwpy_node *node, mwpy_cell_number number)) {
    for (size_t i = 0; i < node->members->n; i++)
        if (node->members->seen[i].key) hide_held(node, node->members->seen[i].cell);
}

void mwpy_members_close(mwpy_node *node, bool alive) {
    mwpy_members *members = node->members;
    mwpy_storage_close(&members->storage, node, alive && !move_out(node));
    for (size_t i = 0; node->root->top && i < members->n; i++)
        if (members->seen[i].key) mwpy_cell_empty(&node->root->cells, members->seen[i].cell);
    PyMem_RawFree(members->seen);
    PyMem_Free(members);
    node->members = NULL;
}

/* ---- reports ----------------------------------------------------------------------------------------------------- */

/* In a signal handler: see mwpy_list_stored(). */
void mwpy_set_stored(mwpy_node *node, const void *address, size_t length) {
    mwpy_members *members = node->members;
    PySetObject *set = set_of(node);
    if (set->table != watched(members)) return; /* its old table, of which another set gets rid */
    size_t at = (size_t)((const unsigned char *)address - members->storage.at), size = sizeof *set->table;
    for (size_t i = at / size; i < members->n && i * size < at + length; i++)
        replace(node, &members->seen[i], key_at(set->table, i), MW_SHADOW_NOW);
}

/* The set has another table now: a larger one, none of its own, or that of another set. */
void mwpy_set_freed(mwpy_node *node) {
    if (Py_REFCNT(node->owner)) {
        bool moved = !move_in(node);
        if (moved && !renew(node, MW_SHADOW_NOW)) return;
        if (moved && !move_out(node)) return; /* no memory at all: the set keeps that table, which isn't told of */
    }
    mwpy_node_died(node);
}
