/* reader_table.h - part of reader.c: a hash table from ids to pointers. The ids are the writer's: any u32. */
#ifndef MEMWATCH_READER_TABLE_H
#define MEMWATCH_READER_TABLE_H
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/random.h>

typedef struct table {
    struct {
        uint32_t key;
        uint32_t uses; /* counted by table_use */
        void *value;   /* NULL: free */
    } *rows;
    size_t count;
    uint64_t seed; /* odd and secret: nobody can choose ids that collide */
    unsigned bits;
} Table;

static inline size_t table_slot(const Table *table, uint32_t key) { return (key * table->seed) >> (64 - table->bits); }

static size_t table_at(const Table *table, uint32_t key) {
    size_t mask = ((size_t)1 << table->bits) - 1, at = table_slot(table, key);
    while (table->rows[at].value != NULL && table->rows[at].key != key) at = (at + 1) & mask;
    return at;
}

static void *table_get(const Table *table, uint32_t key) {
    return table->rows == NULL ? NULL : table->rows[table_at(table, key)].value;
}

static int table_grow(Table *table) {
    Table grown = {.bits = table->rows == NULL ? 6 : table->bits + 1, .count = table->count};
    if (getrandom(&grown.seed, sizeof grown.seed, 0) != sizeof grown.seed) return -1;
    grown.seed |= 1;
    if (grown.bits > 31 || (grown.rows = calloc((size_t)1 << grown.bits, sizeof *grown.rows)) == NULL) return -1;
    for (size_t i = 0; table->rows != NULL && i < (size_t)1 << table->bits; i++)
        if (table->rows[i].value != NULL) grown.rows[table_at(&grown, table->rows[i].key)] = table->rows[i];
    free(table->rows);
    *table = grown;
    return 0;
}

/* Stores the old value, if any, in *old. */
static int table_put(Table *table, uint32_t key, void *value, void **old) {
    if ((table->rows == NULL || table->count * 2 >= (size_t)1 << table->bits) && table_grow(table) < 0) return -1;
    size_t at = table_at(table, key);
    *old = table->rows[at].value;
    table->count += *old == NULL;
    if (*old == NULL) table->rows[at].uses = 0;
    table->rows[at].key = key;
    table->rows[at].value = value;
    return 0;
}

static void *table_take(Table *table, uint32_t key) {
    if (table->rows == NULL) return NULL;
    size_t mask = ((size_t)1 << table->bits) - 1, hole = table_at(table, key);
    void *taken = table->rows[hole].value;
    if (taken == NULL) return NULL;
    table->rows[hole].value = NULL;
    table->count--;
    /* moves up displaced rows behind the hole, so that no search ends there too early */
    for (size_t at = (hole + 1) & mask; table->rows[at].value != NULL; at = (at + 1) & mask) {
        uint32_t key_there = table->rows[at].key, uses = table->rows[at].uses;
        void *value = table->rows[at].value;
        table->rows[at].value = NULL;
        size_t better = table_at(table, key_there);
        table->rows[better].key = key_there;
        table->rows[better].uses = uses;
        table->rows[better].value = value;
    }
    return taken;
}

/* As table_get, but counts the use. */
static void *table_use(Table *table, uint32_t key) {
    if (table->rows == NULL) return NULL;
    size_t at = table_at(table, key);
    table->rows[at].uses += table->rows[at].value != NULL && table->rows[at].uses < UINT32_MAX;
    return table->rows[at].value;
}

/* Adds to the number of uses. */
static void table_add_uses(Table *table, uint32_t key, uint32_t count) {
    if (table->rows == NULL) return;
    size_t at = table_at(table, key);
    if (table->rows[at].value == NULL) return;
    table->rows[at].uses += count < UINT32_MAX - table->rows[at].uses ? count : UINT32_MAX - table->rows[at].uses;
}

/* Returns and resets the number of uses. */
static uint32_t table_take_uses(Table *table, uint32_t key) {
    if (table->rows == NULL) return 0;
    size_t at = table_at(table, key);
    uint32_t uses = table->rows[at].value == NULL ? 0 : table->rows[at].uses;
    table->rows[at].uses = 0;
    return uses;
}

#endif
