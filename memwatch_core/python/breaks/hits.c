/* hits.c - see hits.h. A table without locks: whoever meets a condition may be in a signal handler. A hit is counted
 * with one of the same condition that waits already, in its thread. */
#include "breaks/hits.h"

#include <stdatomic.h>
#include <string.h>

#include "base/compiler.h"
#include "base/hit_bytes.h"

enum { ROWS = 1024 }; /* as many conditions may be met at once, by one call of C's for instance */
enum state { FREE = 0, FILLING = 1, WAITING = 2, EMPTYING = 3 };

static struct row {
    _Atomic uint32_t state;
    _Atomic uint32_t tid;
    _Atomic uint32_t more; /* others of its condition, in the same thread */
    mwpy_hit hit;
} rows[ROWS];
static _Atomic uint32_t used; /* rows behind these were never in use */
static _Atomic uint64_t turns;
static _Atomic uint64_t unheld;

__thread struct mwpy_own_hits mwpy_own_hits __attribute__((tls_model("initial-exec")));

static bool claim(struct row *row, enum state from, enum state to) {
    uint32_t seen = from;
    return atomic_compare_exchange_strong(&row->state, &seen, to);
}

/* Counted with one that waits; false: there is none like it. */
static bool count_with_another(const mw_hit *hit) {
    for (unsigned i = 0; i < used; i++) {
        struct row *row = &rows[i];
        if (atomic_load(&row->state) != WAITING || row->tid != hit->tid || row->hit.hit.handle != hit->handle) continue;
        if (row->hit.hit.unknown != hit->unknown) continue;
        atomic_fetch_add(&row->more, 1);
        return true;
    }
    return false;
}

static void fill(struct row *row, const mw_hit *hit) {
    mwpy_hit *h = &row->hit;
    h->hit = *hit;
    h->turn = atomic_fetch_add(&turns, 1) + 1;
    h->bytes = mw_hit_bytes(hit);
    memcpy(h->before, hit->before, h->bytes);
    memcpy(h->after, hit->after, h->bytes);
    h->path_length = hit->path_length < MWPY_HIT_PATH ? hit->path_length : MWPY_HIT_PATH;
    if (h->path_length) memcpy(h->path, hit->path + hit->path_length - h->path_length, h->path_length);
    row->more = 0;
    row->tid = hit->tid;
    atomic_store(&row->state, WAITING);
}

void mwpy_hit_met(const mw_hit *hit) {
    bool own = hit->how != MWPY_BY_KERNEL;
    if (own && mwpy_own_hits.acting) return;
    if (own) mwpy_own_hits.tid = hit->tid;
    if (count_with_another(hit)) return;
    for (uint32_t i = 0; i < ROWS; i++)
        if (claim(&rows[i], FREE, FILLING)) {
            uint32_t seen = used;
            while (seen <= i && !atomic_compare_exchange_weak(&used, &seen, i + 1)) continue;
            fill(&rows[i], hit);
            if (own) mwpy_own_hits.waiting++;
            return;
        }
    unheld++;
}

uint64_t mwpy_hits_unheld(void) { return atomic_exchange(&unheld, 0); }

bool mwpy_hit_take(uint32_t tid, mwpy_hit *out, uint32_t *more) {
    struct row *first = NULL;
    for (unsigned i = 0; i < used; i++)
        if (atomic_load(&rows[i].state) == WAITING && rows[i].tid == tid &&
            (!first || rows[i].hit.turn < first->hit.turn))
            first = &rows[i];
    if (!first || !claim(first, WAITING, EMPTYING)) return false;
    *out = first->hit;
    out->hit.before = out->before;
    out->hit.after = out->after;
    *more = atomic_load(&first->more);
    atomic_store(&first->state, FREE);
    return true;
}

uint32_t mwpy_hit_waits(uint64_t *turn) {
    const struct row *first = NULL;
    for (unsigned i = 0; i < used; i++)
        if (atomic_load(&rows[i].state) == WAITING && rows[i].hit.turn > *turn &&
            (!first || rows[i].hit.turn < first->hit.turn))
            first = &rows[i];
    if (first) *turn = first->hit.turn;
    return first ? first->tid : 0;
}

void mwpy_hits_give(uint32_t from, uint32_t to) {
    for (unsigned i = 0; i < used; i++)
        if (atomic_load(&rows[i].state) == WAITING && rows[i].tid == from) rows[i].tid = to;
}

bool mwpy_hits_wait(void) {
    for (unsigned i = 0; i < used; i++)
        if (atomic_load(&rows[i].state) == WAITING) return true;
    return false;
}

void mwpy_hits_forked(void) {
    for (unsigned i = 0; i < used; i++) atomic_store(&rows[i].state, FREE);
    mwpy_own_hits = (struct mwpy_own_hits){.acting = mwpy_own_hits.acting}; /* who forks may be acting */
}
