/* node_table.c - see node_table.h: open addressing, linear probing, no tombstones. Knuth, The Art of Computer
 * Programming, 6.4, algorithms L and R. A row has the first node of its address; the others hang behind it. */
#include "places/node_table.h"

#include "base/compiler.h"
#include "base/hash.h"

typedef struct mwpy_node mwpy_node;

typedef struct other {
    mwpy_node *node;
    struct other *next;
} other;

typedef struct row {
    const void *address; /* NULL: free */
    mwpy_node *node;
    other *others; /* in the order in which they came; as a rule there are none */
} row;

enum { BITS_FIRST = 6 };
static row *rows;
static unsigned bits;
static size_t used;
size_t mwpy_table_others;
static const other *last; /* what mwpy_table_next() found last: its next call goes on from there */
static const void *last_address;

static size_t home(const void *address) { return (size_t)hash_to_bits((uintptr_t)address >> 4, bits); }
static size_t behind(size_t i) { return (i + 1) & (((size_t)1 << bits) - 1); }

static size_t find(const void *address) {
    size_t i = home(address);
    while (rows[i].address && rows[i].address != address) i = behind(i);
    return i;
}

mwpy_node *mwpy_table_get(const void *address) { return rows ? rows[find(address)].node : NULL; }

static const other *behind_node(const row *at, const mwpy_node *node) {
    if (at->node == node) return at->others;
    const other *found = at->others;
    while (found && found->node != node) found = found->next;
    return found ? found->next : NULL;
}

mwpy_node *mwpy_table_next(const void *address, const mwpy_node *node) {
    if (likely(!mwpy_table_others)) return NULL;
    bool goes_on = last && last_address == address && last->node == node;
    last = goes_on ? last->next : behind_node(&rows[find(address)], node);
    last_address = address;
    return last ? last->node : NULL;
}

static int grow(void) {
    row *old = rows;
    size_t n = rows ? (size_t)1 << bits : 0;
    unsigned wider = rows ? bits + 1 : BITS_FIRST;
    row *wide = PyMem_RawCalloc((size_t)1 << wider, sizeof *wide);
    if (!wide) return -1;
    rows = wide;
    bits = wider;
    for (size_t i = 0; i < n; i++)
        if (old[i].address) rows[find(old[i].address)] = old[i];
    PyMem_RawFree(old);
    return 0;
}

static int put_behind(row *at, mwpy_node *node) {
    if (at->node == node) return 0;
    other **end = &at->others;
    while (*end && (*end)->node != node) end = &(*end)->next;
    if (*end) return 0;
    *end = PyMem_RawCalloc(1, sizeof **end);
    if (!*end) return -1;
    (*end)->node = node;
    mwpy_table_others++;
    return 0;
}

int mwpy_table_put(const void *address, mwpy_node *node) {
    if ((!rows || used + 1 > ((size_t)1 << bits) / 2) && grow()) return -1;
    size_t i = find(address);
    if (rows[i].address) return put_behind(&rows[i], node);
    used++;
    rows[i] = (row){address, node, NULL};
    return 0;
}

static void take_other(other **at) {
    other *gone = *at;
    *at = gone->next;
    last = NULL;
    mwpy_table_others--;
    PyMem_RawFree(gone);
}

/* Whether there are others at this address. */
static bool take_one(row *at, const mwpy_node *node) {
    if (at->node == node) {
        if (!at->others) return false;
        at->node = at->others->node;
        take_other(&at->others);
        return true;
    }
    other **found = &at->others;
    while (*found && (*found)->node != node) found = &(*found)->next;
    if (*found) take_other(found);
    return true;
}

void mwpy_table_take(const void *address, const mwpy_node *node) {
    if (!rows) return;
    size_t hole = find(address);
    if (!rows[hole].address || take_one(&rows[hole], node)) return;
    used--;
    for (size_t i = behind(hole); rows[i].address; i = behind(i)) {
        size_t mask = ((size_t)1 << bits) - 1, from = home(rows[i].address);
        if (((i - from) & mask) >= ((i - hole) & mask)) { /* its probing passes the hole */
            rows[hole] = rows[i];
            hole = i;
        }
    }
    rows[hole] = (row){0};
}
