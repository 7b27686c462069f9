/* conditions.c - see conditions.h. */
#include "journal/conditions.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/thread.h"
#include "journal/journal.h"
#include "journal/predicate.h"
#include "journal/registry.h"
#include "memwatch.h"
#include "state.h"

void conditions_forget(uint32_t id, struct variable *v) {
    if (!(v->flags & MW_JUDGED)) return;
    v->flags &= ~MW_JUDGED;
    struct variable_condition *next, *one = mw.conditions.of[id];
    mw.conditions.of[id] = NULL;
    for (; one; one = next) {
        next = one->next;
        free(one);
    }
}

/* The value before and after, if it is small; otherwise what was stored. */
MW_SIGNAL_SAFE static void tell_met(const struct variable_condition *c, const struct store *store,
                                    const struct judged *j, uint32_t base, bool unknown) {
    mw_hit_hook met = __atomic_load_n(&mw.conditions.met, __ATOMIC_ACQUIRE);
    if (!met) return;
    uint8_t before[MW_HIT_MAX], after[MW_HIT_MAX];
    mw_hit hit = {.variable = j->variable,
                  .handle = c->handle,
                  .tid = j->tid,
                  .site = store->site,
                  .stack = store->stack,
                  .context = store->context,
                  .offset = base,
                  .size = j->hidden ? 0 : j->size,
                  .at = j->at,
                  .length = j->length,
                  .how = store->how,
                  .unknown = unknown,
                  .time = clock_now(),
                  .path = mw_thread.subject,
                  .path_length = mw_thread.subject ? mw_thread.subject_length : 0,
                  .before = j->before,
                  .after = j->after};
    if (hit.size && hit.size <= MW_HIT_MAX) {
        memcpy(before, j->whole, hit.size);
        memcpy(after, j->whole, hit.size);
        memcpy(before + j->at, j->before, j->length);
        memcpy(after + j->at, j->after, j->length);
        hit.before = before, hit.after = after;
    }
    met(&hit);
    if (j->tid == thread_id()) mw_thread.hits++;
}

/* The part of a store that lies in the cell at `base`, or in the whole variable. False: that variable has none there.
 */
MW_SIGNAL_SAFE static bool bound(const struct variable_condition *c, const struct store *store, uint32_t base,
                                 const uint8_t *before, const uint8_t *after, struct judged *j) {
    const struct variable *v = &mw.registry.variables[store->variable];
    uint32_t from = store->offset > base ? store->offset : base, skipped = from - store->offset;
    if (from >= v->size) return false;
    j->whole = arena_writable(v->page) + (v->address & PAGE_MASK) + base;
    j->size = (uint32_t)v->size - base;
    if (c->unit && c->unit < j->size) j->size = c->unit;
    j->at = from - base;
    j->length = store->length - skipped;
    if (j->length > j->size - j->at) j->length = j->size - j->at;
    j->before = before + skipped;
    j->after = after + skipped;
    j->begins = c->unit == PLACE_CELL && !j->at && j->after[0] & CELL_BEGINS;
    return true;
}

MW_SIGNAL_SAFE static void judge_at(struct variable_condition *c, const struct store *store, uint32_t base,
                                    const struct judged *j) {
    enum verdict verdict = predicate_judge(c->program, c->length, j);
    if (likely(verdict == NOT_MET)) return;
    if (verdict == NOT_KNOWN && c->unit == PLACE_CELL) return; /* places hold values of any type */
    if (verdict == NOT_KNOWN && atomic_exchange(&c->unknown, 1)) return;
    tell_met(c, store, j, base, verdict == NOT_KNOWN);
}

/* Of a store to several cells, each is judged by itself; of several places, which aren't numbers side by side, the
 * first. */
MW_SIGNAL_SAFE static void judge(struct variable_condition *c, const struct store *store, struct judged *j,
                                 const uint8_t *before, const uint8_t *after) {
    uint32_t unit = c->unit, base = unit ? store->offset / unit * unit : 0, stop = store->offset + store->length;
    do {
        if (!bound(c, store, base, before, after, j)) return;
        judge_at(c, store, base, j);
        base += unit;
    } while (unlikely(unit && unit != PLACE_CELL && base < stop));
}

MW_SIGNAL_SAFE void conditions_judge_for(uint32_t tid, const struct store *store, const uint8_t *before,
                                         const uint8_t *after) {
    struct judged j = {.variable = store->variable,
                       .tid = tid,
                       .site = store->site,
                       .context = store->context,
                       .hidden = mw.registry.variables[store->variable].flags & MW_SECRET};
    for (struct variable_condition *c = mw.conditions.of[store->variable]; c; c = c->next)
        judge(c, store, &j, before, after);
}

MW_SIGNAL_SAFE void conditions_judge(const struct store *store, const uint8_t *before, const uint8_t *after) {
    conditions_judge_for(thread_id(), store, before, after);
}

MW_SIGNAL_SAFE void conditions_settle(const void *ucontext) {
    mw_hits_hook settled = __atomic_load_n(&mw.conditions.settled, __ATOMIC_ACQUIRE);
    mw_thread.hits = 0;
    if (settled) settled(ucontext);
}
