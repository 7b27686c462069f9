/* activations.c - see activations.h. */
#include "locals/activations.h"

#include <string.h>

#include "base/compiler.h"
#include "base/hash.h"

/* Frames of generators lie anywhere, and nobody says when they are gone. */
enum { BITS_FIRST = 10, BITS_MOST = 21 };

static struct row {
    const void *at, *function;
    uint32_t number;
} *rows;
static unsigned bits;
static size_t used;

static struct row *row_of(struct row *in, unsigned of_bits, const void *at) {
    size_t mask = ((size_t)1 << of_bits) - 1;
    size_t i = (size_t)(((uintptr_t)at >> 3) * HASH_FACTOR >> (64 - of_bits));
    while (in[i].at && in[i].at != at) i = (i + 1) & mask;
    return &in[i];
}

static bool grow(void) {
    unsigned more = rows ? bits + 1 : BITS_FIRST;
    struct row *grown = more > BITS_MOST ? NULL : PyMem_RawCalloc((size_t)1 << more, sizeof *grown);
    if (!grown) {
        mwpy_activations_forget(); /* those that run get another number at their next binding */
        return rows != NULL;
    }
    for (size_t i = 0; rows && i < (size_t)1 << bits; i++)
        if (rows[i].at) *row_of(grown, more, rows[i].at) = rows[i];
    PyMem_RawFree(rows);
    rows = grown;
    bits = more;
    return true;
}

void mwpy_activation_begins(const void *at, const void *function, uint32_t number) {
    if (unlikely(!rows || 2 * used >= (size_t)1 << bits) && !grow()) return;
    struct row *row = row_of(rows, bits, at);
    used += !row->at;
    *row = (struct row){at, function, number};
}

uint32_t mwpy_activation_at(const void *at, const void *function) {
    if (!rows) return 0;
    const struct row *row = row_of(rows, bits, at);
    return row->function == function ? row->number : 0;
}

void mwpy_activations_forget(void) {
    if (rows) memset(rows, 0, sizeof *rows << bits);
    used = 0;
}
