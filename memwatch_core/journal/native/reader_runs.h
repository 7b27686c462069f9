/* reader_runs.h - part of reader.c: consecutive stores of one thread that one statement made. */
#ifndef MEMWATCH_READER_RUNS_H
#define MEMWATCH_READER_RUNS_H
#include "reader.h"

#include <stdint.h>
#include <string.h>

#include "reader_bounds.h"
#include "reader_region.h"

#define KEPT 64 /* bytes of a store that are kept; of larger ones, values are known by their items only */
#define SWEEP 16
#define TAIL 512
/* After SWEEP stores that went over the bytes once, one more to any of them begins the next sweep; unless it is within
 * TAIL bytes of the last one: memset and memcpy write the end of a block again. */

/* What the stores of a run have in common. */
typedef struct author {
    uint32_t variable, tid, site, stack, context, request, how; /* how: origin and what is inexact */
} Author;

/* A store. */
typedef struct stored {
    Author author;
    uint64_t seq, time;
    uint32_t offset, length;
    const unsigned char *before, *after;
    const Item *item; /* NULL: of which kind its items are isn't known */
    uint64_t base;    /* of the variable's first item */
} Stored;

typedef struct run {
    Author author;
    PyObject *first, *about; /* its first event; what is known of its variable */
    const Item *item;
    uint64_t last_seq, last_time, stores, changed, bytes;
    uint32_t first_offset, first_length, last_offset, last_length;
    Region region;
    Bounds old, new;
    char one_place;        /* all stores were to the same bytes */
    char again;            /* bytes were written twice */
    char up, down;         /* no store began before, or ended behind, the one before it */
    char repeats;          /* a store was to the bytes of the one before it */
    char partly;           /* items were written in part */
    char one_old, one_new; /* all stores found the same bytes as the first, and left the same */
    char imaged;           /* image_old, image_new: what [first_offset, + KEPT) was before and after, where written */
    unsigned char first_old[KEPT], first_new[KEPT], last_new[KEPT], image_old[KEPT], image_new[KEPT];
} Run;

static int run_is_of(const Run *run, const Stored *store) {
    return memcmp(&run->author, &store->author, sizeof run->author) == 0;
}

/* Adds what a store found and left. fresh_start, fresh_stop: the bytes that the run hadn't written before. */
static void run_note_values(Run *run, const Stored *store, uint64_t fresh_start, uint64_t fresh_stop) {
    const Item *item = run->item;
    if (item == NULL) return;
    uint64_t in = store->offset - store->base;
    if (in % item->size != 0 || store->length % item->size != 0 || (fresh_start - store->base) % item->size != 0 ||
        (fresh_stop - store->base) % item->size != 0) {
        run->partly = 1;
        return;
    }
    if (run->one_place) run->new = (Bounds){0};
    if (fresh_start < fresh_stop)
        bounds_add(&run->old, item, store->before + (fresh_start - store->offset), fresh_stop - fresh_start);
    bounds_add(&run->new, item, store->after, store->length);
}

static void run_begin(Run *run, const Stored *store, PyObject *first, PyObject *about) {
    uint64_t stop = (uint64_t)store->offset + store->length;
    int fits = store->length <= KEPT;
    *run = (Run){.author = store->author,
                 .first = Py_NewRef(first),
                 .about = Py_NewRef(about),
                 .item = store->item,
                 .last_seq = store->seq,
                 .last_time = store->time,
                 .stores = 1,
                 .changed = memcmp(store->before, store->after, store->length) != 0,
                 .bytes = store->length,
                 .first_offset = store->offset,
                 .first_length = store->length,
                 .last_offset = store->offset,
                 .last_length = store->length,
                 .one_place = 1,
                 .up = 1,
                 .down = 1,
                 .one_old = (char)fits,
                 .one_new = (char)fits,
                 .imaged = (char)fits};
    region_begin(&run->region, store->offset, (int64_t)stop);
    if (fits) {
        memcpy(run->first_old, store->before, store->length);
        memcpy(run->first_new, store->after, store->length);
        memcpy(run->last_new, store->after, store->length);
        memcpy(run->image_old, store->before, store->length);
        memcpy(run->image_new, store->after, store->length);
    }
    run_note_values(run, store, store->offset, stop);
}

/* Whether a store begins a sweep over bytes that the run has gone over already. */
static int run_begins_again(const Run *run, const Stored *store) {
    int64_t start = store->offset, stop = start + store->length;
    if (run->one_place || run->again || (!run->up && !run->down && run->region.shape == REGION_WITHIN)) return 0;
    if (store->offset == run->last_offset && store->length == run->last_length) return 0;
    if (store->offset == run->first_offset && store->length == run->first_length) return 1;
    int64_t away = magnitude(start - (int64_t)run->last_offset);
    if (!run->up && !run->down && run->region.shape != REGION_GRID) return 0; /* it doesn't sweep */
    return run->stores >= SWEEP && away > TAIL && region_has(&run->region, start, stop);
}

/* Of the bytes of a store those that the run hasn't written. */
static void run_fresh(const Run *run, uint64_t *start, uint64_t *stop) {
    const Region *region = &run->region;
    if (region->shape == REGION_WITHIN || !region_meets(region, (int64_t)*start, (int64_t)*stop)) return;
    if (region_has(region, (int64_t)*start, (int64_t)*stop)) {
        *stop = *start;
        return;
    }
    if (region->shape != REGION_GRID) return;
    uint64_t low = (uint64_t)region->open.start, high = (uint64_t)region->open.stop;
    if (*start < high && high < *stop && low <= *start)
        *start = high;
    else if (*start < low && low < *stop && *stop <= high)
        *stop = low;
}

/* Keeps what the first bytes of a run that goes up were and became. */
static void run_note_image(Run *run, const Stored *store, int is_last) {
    if (!run->imaged) return;
    uint64_t at = (uint64_t)store->offset - run->first_offset;
    run->imaged = run->up && at + store->length <= KEPT;
    if (!run->imaged) return;
    if (!is_last) memcpy(run->image_old + at, store->before, store->length);
    memcpy(run->image_new + at, store->after, store->length);
}

/* Adds a store of the run's author. */
static void run_add(Run *run, const Stored *store) {
    uint64_t start = store->offset, stop = start + store->length, fresh_start = start, fresh_stop = stop;
    int is_last = store->offset == run->last_offset && store->length == run->last_length;
    run_fresh(run, &fresh_start, &fresh_stop);
    if (fresh_start == fresh_stop && !is_last &&
        (run->stores < SWEEP || magnitude((int64_t)start - (int64_t)run->last_offset) > TAIL))
        run->again = 1;
    run->one_place &= is_last;
    run->repeats |= is_last;
    run->up &= store->offset >= run->last_offset + (is_last ? 0 : run->last_length);
    run->down &= stop <= run->last_offset + (is_last ? run->last_length : 0);
    run_note_values(run, store, fresh_start, fresh_stop);
    run_note_image(run, store, is_last);
    int alike = store->length == run->first_length && store->length <= KEPT;
    if (fresh_start < fresh_stop) /* what was written already is what the run itself left */
        run->one_old &= alike && memcmp(run->first_old, store->before, store->length) == 0;
    run->one_new &= alike && memcmp(run->first_new, store->after, store->length) == 0;
    if (store->length <= KEPT) memcpy(run->last_new, store->after, store->length);
    region_add(&run->region, (int64_t)start, (int64_t)stop);
    run->last_offset = store->offset;
    run->last_length = store->length;
    run->last_seq = store->seq;
    run->last_time = store->time;
    run->stores++;
    run->changed += memcmp(store->before, store->after, store->length) != 0;
    run->bytes += store->length;
}

static PyObject *spans_tuple(const Span *spans, unsigned count) {
    PyObject *all = PyTuple_New(count);
    for (unsigned i = 0; all != NULL && i < count; i++) {
        const Span *span = &spans[i];
        PyObject *one =
            Py_BuildValue("LL(LL)(LL)", (long long)span->start, (long long)span->length, (long long)span->stride[0],
                          (long long)span->count[0], (long long)span->stride[1], (long long)span->count[1]);
        if (one == NULL)
            Py_CLEAR(all);
        else
            PyTuple_SET_ITEM(all, i, one);
    }
    return all;
}

/* What a run of several stores was: a tuple, as Told of memwatch_core/host/merging.py. */
static PyObject *run_tuple(Run *run) {
    Span spans[PIECES];
    unsigned count = region_spans(&run->region, spans);
    int once = (run->up || run->down) && !run->repeats; /* then the bytes of its stores are different ones */
    const unsigned char *last = run->last_length <= KEPT ? run->last_new : NULL;
    const unsigned char *image_old = run->imaged ? run->image_old : NULL;
    const unsigned char *image_new = run->imaged ? run->image_new : NULL;
    const Item *item = run->partly ? NULL : run->item;
    PyObject *all = spans_tuple(spans, count);
    if (all == NULL) return NULL;
    return Py_BuildValue("KKKKKNLLNNNNNNIy#y#y#", (unsigned long long)run->last_time, (unsigned long long)run->last_seq,
                         (unsigned long long)run->stores, (unsigned long long)run->changed,
                         (unsigned long long)run->bytes, all, (long long)run->region.low, (long long)run->region.high,
                         bounds_tuple(&run->old, item), bounds_tuple(&run->new, item), PyBool_FromLong(run->one_place),
                         PyBool_FromLong(run->one_old), PyBool_FromLong(run->one_new), PyBool_FromLong(once),
                         (unsigned)run->last_offset, last, (Py_ssize_t)(last == NULL ? 0 : run->last_length), image_old,
                         (Py_ssize_t)KEPT, image_new, (Py_ssize_t)KEPT);
}

static void run_clear(Run *run) {
    Py_CLEAR(run->first);
    Py_CLEAR(run->about);
}

#endif
