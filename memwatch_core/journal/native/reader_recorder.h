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
#define GROUPS 2048 /* of a part; more different ones aren't kept */
#define WIDE 8192   /* of several parts together */
#define GROUP_BITS 14

typedef struct row {
    uint32_t variable, place, tid, site, stack, context, request,
        count; /* place: offset of a cell with other names + 1; or 0 */
} Row;
typedef struct use {
    uint32_t context, count;
} Use;

/* All stores of one kind: to the same bytes, by the same thread, from the same place. Who wrote what last, and how
 * often, follows from these, whatever their order. memwatch_core/host/digests.py reads them. */
typedef struct group {
    uint32_t variable, offset, length, tid, site, stack, call, how; /* call: its number, if the origin has one */
    uint64_t count, changed, first, last;                           /* first, last: slots */
    uint32_t sees, flags;
    uint64_t step;                            /* what the first one added, if its bytes are a number's */
    uint64_t see_step, see[2], before_see[2]; /* slots + 1; 0: none */
} Group;
/* A store *sees* the value that its own thread left there with the store before. `sees` is the number of those that may
 * have. `see` are two that did, with another step each, and `before_see` the stores before them. */

enum group_how { HOW_INEXACT = 1 << 8, HOW_SITE = 1 << 9, HOW_STACK = 1 << 10, HOW_THREAD = 1 << 11 };
/* The origin; and whether site, stack and thread were known by name at the store. */
enum group_flag { STEPS_DIFFER = 1, STEP_OVERFLOWS = 2, STEP_WRAPS = 4 };
/* Not all added the same; one overflowed as a signed number; one wrapped around as an unsigned one. */

/* The store before, to a variable. */
typedef struct previous {
    uint64_t slot; /* + 1; 0: not known */
    uint32_t offset, length, tid, exact;
} Previous;

typedef struct groups {
    Group *all;
    uint16_t *index; /* hash table: number of a group + 1; 0: free */
    size_t count, last, most;
    char many; /* there were more */
} Groups;

typedef struct recorder {
    Row *rows;       /* NULL: nothing is recorded */
    uint16_t *index; /* hash table: number of a row + 1; 0: free */
    Use *uses;       /* of contexts that were in force; may name one twice */
    size_t count, last, used, room;
    unsigned long long stores, earliest, newest, latest; /* newest: the time of the last one; latest: the greatest */
    char many, slabs, failed; /* many: there were more rows; failed: no memory; slabs: a store was to a slab */
    char valued, compared;    /* bytes that stores left were decoded, or compared, by what is no store */
    Groups part, wide;        /* of this part; and of it and parts before it */
} Recorder;

static void groups_clear(Groups *groups) {
    free(groups->all);
    free(groups->index);
    *groups = (Groups){0};
}

/* Makes them empty. -1: no memory. */
static int groups_begin(Groups *groups, size_t most) {
    if (groups->all == NULL) groups->all = malloc(most * sizeof *groups->all);
    if (groups->index == NULL) groups->index = malloc(sizeof *groups->index << GROUP_BITS);
    groups->count = groups->last = 0;
    groups->most = most;
    groups->many = 0;
    if (groups->all == NULL || groups->index == NULL) return -1;
    memset(groups->index, 0, sizeof *groups->index << GROUP_BITS);
    return 0;
}

static int group_is(const Group *group, const Group *key) { return memcmp(group, key, offsetof(Group, count)) == 0; }

/* The group of this kind, made from the key if there is none; NULL if there are too many. */
static Group *groups_find(Groups *groups, const Group *key) {
    if (groups->count != 0 && group_is(&groups->all[groups->last], key)) return &groups->all[groups->last];
    uint64_t mixed = ((uint64_t)key->tid << 32 | key->variable) * 0x9E3779B97F4A7C15u;
    mixed = (mixed ^ mixed >> 32 ^ ((uint64_t)key->offset << 32 | key->length)) * 0x9E3779B97F4A7C15u;
    mixed = (mixed ^ mixed >> 32 ^ ((uint64_t)key->stack << 32 | key->site)) * 0x9E3779B97F4A7C15u;
    mixed = (mixed ^ mixed >> 32 ^ ((uint64_t)key->call << 32 | key->how)) * 0x9E3779B97F4A7C15u;
    size_t mask = ((size_t)1 << GROUP_BITS) - 1, at = mixed >> (64 - GROUP_BITS);
    while (groups->index[at] != 0 && !group_is(&groups->all[groups->index[at] - 1], key)) at = (at + 1) & mask;
    if (groups->index[at] == 0) {
        if (groups->count == groups->most) {
            groups->many = 1;
            return NULL;
        }
        groups->all[groups->count] = *key;
        groups->index[at] = (uint16_t)++groups->count;
    }
    groups->last = groups->index[at] - 1u;
    return &groups->all[groups->last];
}

static uint32_t added_up(uint32_t one, uint32_t other) { return other < UINT32_MAX - one ? one + other : UINT32_MAX; }

/* Adds the later ones of a kind. */
static void group_join(Group *group, const Group *later) {
    if (group->count == 0) {
        *group = *later;
        return;
    }
    group->count += later->count;
    group->changed += later->changed;
    group->last = later->last;
    group->sees = added_up(group->sees, later->sees);
    group->flags |= later->flags | (group->step != later->step ? STEPS_DIFFER : 0);
    if (group->see[0] == 0) {
        group->see_step = later->see_step;
        memcpy(group->see, later->see, sizeof group->see);
        memcpy(group->before_see, later->before_see, sizeof group->before_see);
    } else if (group->see[1] == 0 && later->see[0] != 0) {
        int at = group->see_step == later->see_step; /* then a second one there has another step */
        group->see[1] = later->see[at];
        group->before_see[1] = later->before_see[at];
    }
}

/* What a store added to a number of its length, and how that went. */
static uint64_t step_of(const unsigned char *before, const unsigned char *after, uint32_t length, uint32_t *flags) {
    uint64_t was = 0, is = 0;
    if (length != 8 && length != 4 && length != 2 && length != 1) {
        *flags = STEPS_DIFFER;
        return 0;
    }
    memcpy(&was, before, length);
    memcpy(&is, after, length);
    unsigned unused = 64 - 8 * length;
    int64_t step = (int64_t)((is - was) << unused) >> unused, wide;
    int over = __builtin_sub_overflow((int64_t)(is << unused) >> unused, (int64_t)(was << unused) >> unused, &wide);
    *flags = (over || wide != step ? STEP_OVERFLOWS : 0) | ((is >= was) != (step >= 0) ? STEP_WRAPS : 0);
    return (uint64_t)step;
}

/* Notes a store in a slot. `previous`: the one before, to its variable. */
static void groups_note(Groups *groups, const Group *key, const unsigned char *before, const unsigned char *after,
                        int changed, uint64_t slot, Previous *previous) {
    uint32_t flags;
    uint64_t step = step_of(before, after, key->length, &flags);
    int exact = (key->how & HOW_INEXACT) == 0;
    int same = previous->slot != 0 && previous->offset == key->offset && previous->length == key->length;
    int by_itself = same && previous->tid == key->tid;
    uint64_t before_it = by_itself && exact && previous->exact && key->tid != 0 ? previous->slot : 0;
    *previous = (Previous){slot + 1, key->offset, key->length, key->tid, (uint32_t)exact};
    Group *group = groups->many ? NULL : groups_find(groups, key);
    if (group == NULL) return;
    if (group->count++ == 0) {
        group->first = slot;
        group->step = step;
    }
    group->last = slot;
    group->changed += changed != 0;
    group->flags |= flags | (step != group->step ? STEPS_DIFFER : 0);
    if (!same || by_itself) group->sees = added_up(group->sees, 1);
    if (before_it == 0 || group->see[1] != 0 || (group->see[0] != 0 && step == group->see_step)) return;
    int at = group->see[0] != 0;
    if (at == 0) group->see_step = step;
    group->see[at] = slot + 1;
    group->before_see[at] = before_it;
}

/* Adds a part's groups to those of several parts. */
static void groups_widen(Groups *wide, const Groups *part) {
    wide->many |= part->many;
    for (size_t i = 0; i < part->count && !wide->many; i++) {
        Group key = {0};
        memcpy(&key, &part->all[i], offsetof(Group, count));
        Group *group = groups_find(wide, &key);
        if (group != NULL) group_join(group, &part->all[i]);
    }
}

static void recorder_clear(Recorder *recorder) {
    free(recorder->rows);
    free(recorder->index);
    free(recorder->uses);
    groups_clear(&recorder->part);
    groups_clear(&recorder->wide);
    *recorder = (Recorder){0};
}

/* Begins the next part. */
static int recorder_begin(Recorder *recorder) {
    Recorder fresh = {.rows = recorder->rows,
                      .index = recorder->index,
                      .uses = recorder->uses,
                      .room = recorder->room,
                      .part = recorder->part,
                      .wide = recorder->wide};
    if (fresh.rows == NULL) fresh.rows = malloc(ROWS * sizeof *fresh.rows);
    if (fresh.index == NULL) fresh.index = malloc(sizeof *fresh.index << ROW_BITS);
    *recorder = fresh;
    if (fresh.rows == NULL || fresh.index == NULL || groups_begin(&recorder->part, GROUPS) < 0) return -1;
    if (recorder->wide.all == NULL && groups_begin(&recorder->wide, WIDE) < 0) return -1;
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
