/* reader_recorder.h - part of reader.c: what a part of a journal holds, for its index (memwatch_core/journal/index.py).
 *
 * Stores are counted by everything that decides whether one is wanted. Counts of contexts are kept apart: they are
 * needed at each record that ends one. */
#ifndef MEMWATCH_READER_RECORDER_H
#define MEMWATCH_READER_RECORDER_H
#include "reader.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ROWS 4096 /* more different ones aren't counted */
#define ROW_BITS 13
#define RECENT_USES 8

typedef struct row {
    uint32_t variable, place, tid, site, stack, context, request,
        count; /* place: offset of a cell with other names + 1; or 0 */
} Row;
typedef struct use {
    uint32_t context, count;
} Use;

typedef struct recorder {
    Row *rows;       /* NULL: nothing is recorded */
    uint16_t *index; /* hash table: number of a row + 1; 0: free */
    Use *uses;       /* of contexts that were in force; may name one twice */
    size_t count, last, used, room;
    unsigned long long stores, earliest, newest, latest; /* newest: the time of the last one; latest: the greatest */
    char many, slabs, failed; /* many: there were more rows; failed: no memory; slabs: a store was to a slab */
    char valued, compared;    /* bytes that stores left were decoded, or compared, by what is no store */
} Recorder;

static void recorder_clear(Recorder *recorder) {
    free(recorder->rows);
    free(recorder->index);
    free(recorder->uses);
    *recorder = (Recorder){0};
}

/* Begins the next part. */
static int recorder_begin(Recorder *recorder) {
    Recorder fresh = {.rows = recorder->rows, .index = recorder->index, .uses = recorder->uses, .room = recorder->room};
    if (fresh.rows == NULL) fresh.rows = malloc(ROWS * sizeof *fresh.rows);
    if (fresh.index == NULL) fresh.index = malloc(sizeof *fresh.index << ROW_BITS);
    *recorder = fresh;
    if (fresh.rows == NULL || fresh.index == NULL) return -1;
    memset(fresh.index, 0, sizeof *fresh.index << ROW_BITS);
    return 0;
}

static int row_is(const Row *row, const Row *key) { return memcmp(row, key, offsetof(Row, count)) == 0; }

static void recorder_count(Recorder *recorder, const Row *key) {
    if (recorder->count != 0 && row_is(&recorder->rows[recorder->last], key)) {
        recorder->rows[recorder->last].count++;
        return;
    }
    uint64_t mixed = ((uint64_t)key->tid << 32 | key->variable) * 0x9E3779B97F4A7C15u;
    mixed = (mixed ^ mixed >> 32 ^ key->request ^ ((uint64_t)key->stack << 32 | key->site)) * 0x9E3779B97F4A7C15u;
    mixed = (mixed ^ mixed >> 32 ^ ((uint64_t)key->place << 32 | key->context)) * 0x9E3779B97F4A7C15u;
    size_t mask = ((size_t)1 << ROW_BITS) - 1, at = mixed >> (64 - ROW_BITS);
    while (recorder->index[at] != 0 && !row_is(&recorder->rows[recorder->index[at] - 1], key)) at = (at + 1) & mask;
    if (recorder->index[at] == 0) {
        if (recorder->count == ROWS) {
            recorder->many = 1;
            return;
        }
        recorder->rows[recorder->count] = *key;
        recorder->index[at] = (uint16_t)++recorder->count;
    }
    recorder->last = recorder->index[at] - 1u;
    recorder->rows[recorder->last].count++;
}

static void recorder_use(Recorder *recorder, uint32_t context) {
    for (size_t back = 1; back <= RECENT_USES && back <= recorder->used; back++)
        if (recorder->uses[recorder->used - back].context == context) {
            recorder->uses[recorder->used - back].count++;
            return;
        }
    if (recorder->used == recorder->room) {
        size_t room = recorder->room == 0 ? 64 : 2 * recorder->room;
        Use *more = realloc(recorder->uses, room * sizeof *more);
        if (more == NULL) {
            recorder->failed = 1;
            return;
        }
        recorder->uses = more;
        recorder->room = room;
    }
    recorder->uses[recorder->used++] = (Use){context, 1};
}

/* Notes a store. in_force: its context was in force. */
static void recorder_note(Recorder *recorder, const Row *key, uint64_t time, int in_force) {
    if (recorder->rows == NULL) return;
    if (recorder->stores++ == 0 || time < recorder->earliest) recorder->earliest = time;
    if (time > recorder->latest) recorder->latest = time;
    recorder->newest = time;
    if (in_force) recorder_use(recorder, key->context);
    if (!recorder->many) recorder_count(recorder, key);
}

#endif
