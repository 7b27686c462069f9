/* reader_merging.h - part of reader.c: events that one statement made become one line.
 *
 * A thread has at most one run that isn't complete. Lines are given out in the order of their last events; those that
 * are complete wait for runs whose last event so far came before theirs. docs/decisions/one-line.md says why. */
#ifndef MEMWATCH_READER_MERGING_H
#define MEMWATCH_READER_MERGING_H
#include "reader_runs.h"
#include "reader_sieve.h"

#include <stdlib.h>

#define OPEN_RUNS 64
#define WAITING 4096 /* lines that may wait for a run; then it ends */

typedef struct line {
    PyObject *record;
    uint64_t seq; /* of its last event */
} Line;

typedef struct merging {
    PyObject *make;    /* makes a line of several events; NULL: nothing is merged */
    PyObject *tell;    /* wraps a line, as events are given out as well; or None */
    PyObject *keep;    /* which events to merge, and to give out at all; or None: all */
    PyObject *scratch; /* list for an event that is being made */
    uint64_t gap;      /* a run ends so many ns after its last store */
    Run *runs;         /* OPEN_RUNS */
    unsigned open;
    Line *lines; /* in order; the first `given` were given out */
    size_t count, given, room;
} Merging;

static void merging_clear(Merging *merging) {
    Py_CLEAR(merging->make);
    Py_CLEAR(merging->tell);
    Py_CLEAR(merging->keep);
    Py_CLEAR(merging->scratch);
    for (unsigned i = 0; i < merging->open; i++) run_clear(&merging->runs[i]);
    for (size_t i = merging->given; i < merging->count; i++) Py_XDECREF(merging->lines[i].record);
    free(merging->runs);
    free(merging->lines);
    *merging = (Merging){0};
}

/* Puts a line, whose reference it takes, in its place among those that wait. -1 with an exception. */
static int merging_put(Merging *merging, PyObject *record, uint64_t seq) {
    if (record == NULL) return -1;
    if (merging->count == merging->room) {
        size_t room = merging->room == 0 ? 64 : 2 * merging->room;
        Line *more = realloc(merging->lines, room * sizeof *more);
        if (more == NULL) {
            Py_DECREF(record);
            PyErr_NoMemory();
            return -1;
        }
        merging->lines = more;
        merging->room = room;
    }
    size_t at = merging->count++;
    for (; at > merging->given && merging->lines[at - 1].seq > seq; at--) merging->lines[at] = merging->lines[at - 1];
    merging->lines[at] = (Line){record, seq};
    return 0;
}

/* Ends a run: it becomes a line. -1 with an exception. */
static int merging_end(Merging *merging, unsigned at) {
    Run run = merging->runs[at];
    merging->runs[at] = merging->runs[--merging->open];
    PyObject *told = run.stores == 1 ? NULL : run_tuple(&run), *line = NULL;
    if (run.stores == 1)
        line = Py_NewRef(run.first);
    else if (told != NULL)
        line = PyObject_CallFunctionObjArgs(merging->make, run.about, run.first, told, NULL);
    Py_XDECREF(told);
    run_clear(&run);
    return merging_put(merging, line, run.last_seq);
}

/* The open run whose last event is the oldest; `open` if there is none. */
static unsigned merging_oldest(const Merging *merging) {
    unsigned oldest = 0;
    for (unsigned i = 1; i < merging->open; i++)
        if (merging->runs[i].last_seq < merging->runs[oldest].last_seq) oldest = i;
    return oldest;
}

/* Ends the runs that a store ends: of its thread, unless it goes on; of others, if it touches what they wrote; and
 * those that are over. Sets *mine to the run that it may be added to, or to NULL. -1 with an exception. */
static int merging_settle(Merging *merging, const Stored *store, int merges, Run **mine) {
    *mine = NULL;
    int64_t start = store->offset, stop = start + store->length;
    for (unsigned i = merging->open; i-- > 0;) {
        Run *run = &merging->runs[i];
        uint64_t apart = store->time > run->last_time ? store->time - run->last_time : run->last_time - store->time;
        int ends = apart > merging->gap;
        if (run->author.tid != store->author.tid)
            ends |= run->author.variable == store->author.variable && region_meets(&run->region, start, stop);
        else
            ends |= !merges || !run_is_of(run, store) || run_begins_again(run, store);
        if (ends && merging_end(merging, i) < 0) return -1;
    }
    for (unsigned i = 0; i < merging->open; i++)
        if (merging->runs[i].author.tid == store->author.tid) *mine = &merging->runs[i];
    return 0;
}

/* Begins a run with an event. -1 with an exception. */
static int merging_begin(Merging *merging, const Stored *store, PyObject *event, PyObject *about) {
    if (merging->open == OPEN_RUNS && merging_end(merging, merging_oldest(merging)) < 0) return -1;
    run_begin(&merging->runs[merging->open++], store, event, about);
    return 0;
}

static int merging_give(Merging *merging, PyObject *record, Sieve *sieve, PyObject *out) {
    PyObject *given = merging->tell == Py_None ? Py_NewRef(record) : PyObject_CallOneArg(merging->tell, record);
    int failed = given == NULL || PyList_Append(out, given) < 0;
    Py_XDECREF(given);
    if (failed || sieve->wanted == NULL) return failed ? -1 : 0;
    PyObject *floor = PyLong_FromUnsignedLongLong(sieve->high);
    failed = floor == NULL || PyList_Append(sieve->floors, floor) < 0;
    Py_XDECREF(floor);
    return failed ? -1 : 0;
}

/* Gives out the lines that wait for no run. -1 with an exception. */
static int merging_drain(Merging *merging, Sieve *sieve, PyObject *out) {
    while (merging->count - merging->given > WAITING && merging->open != 0)
        if (merging_end(merging, merging_oldest(merging)) < 0) return -1;
    if (merging->count == 0) return 0;
    uint64_t until = merging->open == 0 ? UINT64_MAX : merging->runs[merging_oldest(merging)].last_seq;
    while (merging->given < merging->count && merging->lines[merging->given].seq < until) {
        PyObject *record = merging->lines[merging->given++].record;
        int failed = merging_give(merging, record, sieve, out) < 0;
        Py_DECREF(record);
        if (failed) return -1;
    }
    if (merging->given == merging->count) {
        merging->given = merging->count = 0;
    } else if (merging->given >= WAITING) {
        merging->count -= merging->given;
        memmove(merging->lines, merging->lines + merging->given, merging->count * sizeof *merging->lines);
        merging->given = 0;
    }
    return 0;
}

/* Ends the runs whose last store was before a time, and gives out what waits for no other. -1 with an exception. */
static int merging_end_before(Merging *merging, uint64_t time, Sieve *sieve, PyObject *out) {
    for (unsigned i = merging->open; i-- > 0;)
        if (merging->runs[i].last_time < time && merging_end(merging, i) < 0) return -1;
    return merging_drain(merging, sieve, out);
}

#endif
