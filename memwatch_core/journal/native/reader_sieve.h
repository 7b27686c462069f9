/* reader_sieve.h - part of reader.c: selects the stores that become events.
 *
 * A Python function decides. Its result depends only on variable, aliases, thread, site, callers, context and request,
 * or fewer of these (`by`), so it is cached by them. */
#ifndef MEMWATCH_READER_SIEVE_H
#define MEMWATCH_READER_SIEVE_H
#include "reader.h"

#include <stdint.h>
#include <stdlib.h>

#define VERDICT_BITS 13
#define VERDICTS (1 << VERDICT_BITS) /* cache size; a dropped verdict is asked for again */

enum sieve_by {
    BY_VARIABLE = 1,
    BY_THREAD = 2,
    BY_SITE = 4,
    BY_STACK = 8,
    BY_CONTEXT = 16,
    BY_REQUEST = 32,
    BY_ALL = 63
};

typedef struct verdict {
    PyObject *thread, *site, *callers, *context, *aliases,
        *request;     /* held, so that their addresses aren't reused; thread NULL: free */
    uint64_t version; /* of the variable, and of the one whose name it has */
    uint32_t variable, tid;
    int wanted;
} Verdict;

typedef struct sieve {
    PyObject *wanted; /* the function, or None: all are wanted; NULL: no sieve */
    PyObject *floors; /* list: for each event made, the value of high */
    Verdict *verdicts;
    uint64_t until, since, now;
    uint64_t *picks;                           /* ascending slots: only these are shown; NULL: all */
    size_t picked, pick_count;                 /* picked: those before the last slot asked about */
    unsigned by, turn;                         /* by: enum sieve_by */
    uint32_t number;                           /* of this sieve, from 1 */
    unsigned long long skipped, matched, high; /* high: latest time of a skipped store, up to now */
    unsigned long long time;                   /* of the last store, skipped or not */
} Sieve;

static void verdict_clear(Verdict *verdict) {
    Py_XDECREF(verdict->thread);
    Py_XDECREF(verdict->site);
    Py_XDECREF(verdict->callers);
    Py_XDECREF(verdict->context);
    Py_XDECREF(verdict->aliases);
    Py_XDECREF(verdict->request);
    *verdict = (Verdict){0};
}

static void sieve_clear(Sieve *sieve) {
    for (size_t i = 0; sieve->verdicts != NULL && i < VERDICTS; i++) verdict_clear(&sieve->verdicts[i]);
    free(sieve->verdicts);
    free(sieve->picks);
    Py_XDECREF(sieve->wanted);
    Py_XDECREF(sieve->floors);
    *sieve = (Sieve){0};
}

static uint64_t verdict_mix(uint64_t number) { return (number ^ number >> 32) * 0x9E3779B97F4A7C15u; }

/* The first of a verdict's two possible places; the other one differs in the last bit. */
static size_t verdict_place(const Verdict *key) {
    uint64_t mixed = verdict_mix((uint64_t)key->tid << 32 | key->variable);
    mixed = verdict_mix(mixed ^ (uint64_t)(uintptr_t)key->site);
    mixed = verdict_mix(mixed ^ (uint64_t)(uintptr_t)key->callers);
    mixed = verdict_mix(mixed ^ (uint64_t)(uintptr_t)key->aliases);
    mixed = verdict_mix(mixed ^ (uint64_t)(uintptr_t)key->request);
    return verdict_mix(mixed ^ (uint64_t)(uintptr_t)key->context) >> (64 - VERDICT_BITS);
}

static int verdict_is_of(const Verdict *verdict, const Verdict *key) {
    return verdict->thread == key->thread && verdict->site == key->site && verdict->callers == key->callers &&
           verdict->context == key->context && verdict->aliases == key->aliases && verdict->request == key->request &&
           verdict->variable == key->variable && verdict->tid == key->tid && verdict->version == key->version;
}

/* The cached verdict: 1 wanted, 0 not wanted, -1 unknown. */
static int sieve_knows(const Sieve *sieve, const Verdict *key) {
    if (sieve->wanted == Py_None) return 1;
    size_t place = verdict_place(key);
    if (verdict_is_of(&sieve->verdicts[place], key)) return sieve->verdicts[place].wanted;
    return verdict_is_of(&sieve->verdicts[place ^ 1], key) ? sieve->verdicts[place ^ 1].wanted : -1;
}

/* Asks about an event and caches the answer: 1, 0, or -1 with an exception. */
static int sieve_ask(Sieve *sieve, const Verdict *key, PyObject *event) {
    PyObject *answer = PyObject_CallOneArg(sieve->wanted, event);
    int wanted = answer == NULL ? -1 : PyObject_IsTrue(answer);
    Py_XDECREF(answer);
    if (wanted < 0) return -1;
    size_t place = verdict_place(key);
    if (sieve->verdicts[place].thread != NULL && (sieve->verdicts[place ^ 1].thread == NULL || ++sieve->turn % 2))
        place ^= 1;
    Verdict *verdict = &sieve->verdicts[place], old = *verdict;
    *verdict = *key;
    verdict->wanted = wanted;
    Py_INCREF(key->thread);
    Py_INCREF(key->site);
    Py_INCREF(key->callers);
    Py_INCREF(key->context);
    Py_INCREF(key->aliases);
    Py_INCREF(key->request);
    verdict_clear(&old);
    return wanted;
}

/* Whether a wanted store, in slot `number`, becomes an event. */
static int sieve_shows(Sieve *sieve, uint64_t number, uint64_t time) {
    if (sieve->picks != NULL) {
        while (sieve->picked < sieve->pick_count && sieve->picks[sieve->picked] < number) sieve->picked++;
        return sieve->picked < sieve->pick_count && sieve->picks[sieve->picked] == number;
    }
    return number >= sieve->until && time >= sieve->since;
}

static void sieve_skip(Sieve *sieve, int wanted, uint64_t time) {
    sieve->skipped++;
    sieve->time = time;
    sieve->matched += wanted && time >= sieve->since;
    if (time <= sieve->now && time > sieve->high) sieve->high = time;
}

#endif
