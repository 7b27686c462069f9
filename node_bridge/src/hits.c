/* hits.c - see hits.h. A table without locks: whoever meets a condition may be in a signal handler. */
#include "hits.h"

#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/hit_bytes.h"

enum { ROWS = 1024 }; /* as many conditions may be met at once, by one call of C's for instance */
enum step { FREE, FILLING, INCOMPLETE, WAITING, EMPTYING };

static struct row {
    _Atomic uint32_t step;
    _Atomic uint32_t more;
    _Atomic(const void *) to;
    uint64_t turn;
    struct hit hit;
} rows[ROWS];
static _Atomic uint32_t used; /* rows behind these were never in use */
static _Atomic uint64_t turns;
static _Atomic uint64_t unheld;

static bool claim(struct row *row, enum step from, enum step to) {
    uint32_t seen = from;
    return atomic_compare_exchange_strong(&row->step, &seen, to);
}

static bool is_like(struct row *row, const mw_hit *hit, const void *to) {
    uint32_t step = atomic_load(&row->step);
    return (step == INCOMPLETE || step == WAITING) && atomic_load(&row->to) == to && row->hit.hit.tid == hit->tid &&
           row->hit.hit.handle == hit->handle && row->hit.hit.unknown == hit->unknown;
}

static void fill(struct hit *to, const mw_hit *from, const char *thread) {
    to->hit = *from;
    to->bytes = mw_hit_bytes(from);
    memcpy(to->before, from->before, to->bytes);
    memcpy(to->after, from->after, to->bytes);
    to->hit.before = to->hit.after = NULL;
    to->hit.path = NULL;
    to->count = 0;
    to->cut = false;
    memset(to->thread, 0, sizeof to->thread);
    if (thread)
        strncpy(to->thread, thread, sizeof to->thread - 1);
    else if (from->how != HIT_BY_KERNEL)
        prctl(PR_GET_NAME, to->thread);
}

bool hit_put(const mw_hit *hit, const void *to, int box, const char *thread) {
    for (unsigned i = 0; i < used; i++)
        if (is_like(&rows[i], hit, to)) {
            atomic_fetch_add(&rows[i].more, 1);
            return false;
        }
    for (uint32_t i = 0; i < ROWS; i++) {
        struct row *row = &rows[i];
        if (!claim(row, FREE, FILLING)) continue;
        uint32_t seen = used;
        while (seen <= i && !atomic_compare_exchange_weak(&used, &seen, i + 1)) continue;
        fill(&row->hit, hit, thread);
        row->hit.box = box;
        row->turn = atomic_fetch_add(&turns, 1);
        atomic_store(&row->more, 0);
        atomic_store(&row->to, to);
        atomic_store(&row->step, hit->how == HIT_BY_KERNEL ? WAITING : INCOMPLETE);
        return true;
    }
    unheld++;
    return false;
}

uint64_t hits_unheld(void) { return atomic_exchange(&unheld, 0); }

struct hit *hit_incomplete(uint32_t tid, const void **to) {
    for (unsigned i = 0; i < used; i++) {
        struct row *row = &rows[i];
        if (row->hit.hit.tid != tid || !claim(row, INCOMPLETE, FILLING)) continue;
        if (row->hit.hit.tid != tid) { /* it has become another thread's just now */
            atomic_store(&row->step, INCOMPLETE);
            continue;
        }
        *to = atomic_load(&row->to);
        return &row->hit;
    }
    return NULL;
}

void hit_complete(struct hit *hit) {
    struct row *row = (struct row *)((char *)hit - offsetof(struct row, hit));
    atomic_store(&row->step, atomic_load(&row->to) ? WAITING : FREE);
}

bool hit_take(const void *to, struct hit *out) {
    struct row *first = NULL;
    for (unsigned i = 0; i < used; i++)
        if (atomic_load(&rows[i].step) == WAITING && atomic_load(&rows[i].to) == to &&
            (!first || rows[i].turn < first->turn))
            first = &rows[i];
    if (!first || !claim(first, WAITING, EMPTYING)) return false;
    *out = first->hit;
    out->more = atomic_load(&first->more);
    atomic_store(&first->step, FREE);
    return true;
}

bool hit_waits(uint32_t handle) {
    for (unsigned i = 0; i < used; i++)
        if (atomic_load(&rows[i].step) != FREE && rows[i].hit.hit.handle == handle) return true;
    return false;
}

bool hit_waits_for(const void *to) {
    for (unsigned i = 0; i < used; i++)
        if (atomic_load(&rows[i].step) == WAITING && atomic_load(&rows[i].to) == to) return true;
    return false;
}

void hits_forget(const void *to) {
    for (unsigned i = 0; i < used; i++) {
        const void *seen = to;
        if (!atomic_compare_exchange_strong(&rows[i].to, &seen, NULL)) continue;
        if (!claim(&rows[i], WAITING, FREE)) claim(&rows[i], INCOMPLETE, FREE);
    }
}
