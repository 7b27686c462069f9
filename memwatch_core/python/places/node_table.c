/* node_table.c - see node_table.h: open addressing, linear probing, no tombstones. Knuth, The Art of Computer
 * Programming, 6.4, algorithms L and R. The rows of one address stay in the order in which they came. */
#include "places/node_table.h"

#include "base/hash.h"

typedef struct mwpy_node mwpy_node;

typedef struct row {
    const void *address; /* NULL: free */
    mwpy_node *node;
} row;

enum { BITS_FIRST = 6 };
static row *rows;
static unsigned bits;
static size_t used;

static size_t home(const void *address) { return (size_t)hash_to_bits((uintptr_t)address >> 4, bits); }
static size_t behind(size_t i) { return (i + 1) & (((size_t)1 << bits) - 1); }

static size_t find(size_t i, const void *address) {
    while (rows[i].address && rows[i].address != address) i = behind(i);
    return i;
}

static size_t find_row(const void *address, const mwpy_node *node) {
    size_t i = find(home(address), address);
    while (rows[i].address && rows[i].node != node) i = find(behind(i), address);
    return i;
}

mwpy_node *mwpy_table_get(const void *address) { return rows ? rows[find(home(address), address)].node : NULL; }

mwpy_node *mwpy_table_next(const void *address, const mwpy_node *node) {
    size_t i = find_row(address, node);
    return rows[i].address ? rows[find(behind(i), address)].node : NULL;
}

static int grow(void) {
    row *old = rows;
    size_t n = rows ? (size_t)1 << bits : 0;
    unsigned wider = rows ? bits + 1 : BITS_FIRST;
    row *wide = PyMem_RawCalloc((size_t)1 << wider, sizeof *wide);
    if (!wide) return -1;
    rows = wide;
    bits = wider;
    size_t gap = 0; /* a row that probing ends at: from there on they come in their order */
    while (n && old[gap].address) gap++;
    for (size_t i = 0; i < n; i++) {
        row one = old[(gap + i) & (n - 1)];
        if (one.address) rows[find_row(one.address, one.node)] = one;
    }
    PyMem_RawFree(old);
    return 0;
}

int mwpy_table_put(const void *address, mwpy_node *node) {
    if ((!rows || used + 1 > ((size_t)1 << bits) / 2) && grow()) return -1;
    size_t i = find_row(address, node);
    used += !rows[i].address;
    rows[i] = (row){address, node};
    return 0;
}

void mwpy_table_take(const void *address, const mwpy_node *node) {
    if (!rows) return;
    size_t hole = find_row(address, node);
    if (!rows[hole].address) return;
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
