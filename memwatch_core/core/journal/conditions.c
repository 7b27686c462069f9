/* conditions.c - see conditions.h. */
#include "journal/conditions.h"

#include <stdlib.h>
#include <string.h>

#include "base/thread.h"
#include "journal/condition_texts.h"
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
MW_SIGNAL_SAFE static void tell_met(const struct variable_condition *c, const struct judged *j, uint32_t base,
                                    bool unknown) {
    mw_hit_hook met = __atomic_load_n(&mw.conditions.met, __ATOMIC_ACQUIRE);
    if (!met) return;
    uint8_t before[MW_HIT_MAX], after[MW_HIT_MAX];
    mw_hit hit = {.variable = j->variable,
                  .handle = c->handle,
                  .tid = j->tid,
                  .site = j->site,
                  .stack = j->stack,
                  .context = j->context,
                  .offset = base,
                  .size = j->hidden ? 0 : j->size,
                  .at = j->at,
                  .length = j->length,
                  .how = j->how,
                  .unknown = unknown,
                  .time = clock_now(),
                  .before = j->before,
                  .after = j->after};
    if (j->announced) hit.path = path_of_subject(&hit.path_length);
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
MW_SIGNAL_SAFE static inline bool bound(const struct variable_condition *c, const struct variable *v, uint32_t offset,
                                        uint32_t length, uint32_t base, struct judged *j) {
    uint32_t from = offset > base ? offset : base;
    if (unlikely(from >= v->size)) return false;
    j->whole = arena_writable(v->page) + (v->address & PAGE_MASK) + base;
    j->size = (uint32_t)v->size - base;
    if (c->unit && c->unit < j->size) j->size = c->unit;
    j->at = from - base;
    j->length = offset + length - from;
    if (j->length > j->size - j->at) j->length = j->size - j->at;
    j->begins = c->unit == PLACE_CELL && !j->at && j->after[0] & CELL_BEGINS;
    return true;
}

MW_SIGNAL_SAFE static inline void judge_at(const struct variable_condition *c, uint32_t base, const struct judged *j) {
    enum verdict verdict = predicate_judge(c->program, c->length, j, c->remembered);
    if (likely(verdict == NOT_MET)) return;
    if (verdict == NOT_KNOWN && c->unit == PLACE_CELL) return; /* places hold values of any type */
    if (verdict == NOT_KNOWN && atomic_exchange((_Atomic uint32_t *)&c->unknown, 1)) return;
    tell_met(c, j, base, verdict == NOT_KNOWN);
}

/* Of a store to several cells, each is judged by itself; of several places, which aren't numbers side by side, the
 * first. */
MW_SIGNAL_SAFE static inline void judge(const struct variable_condition *c, const struct variable *v, uint32_t offset,
                                        uint32_t length, struct judged *j) {
    const uint8_t *before = j->before, *after = j->after;
    uint32_t base = c->unit ? offset & -c->unit : 0;
    do {
        uint32_t skipped = base > offset ? base - offset : 0;
        j->before = before + skipped;
        j->after = after + skipped;
        if (!bound(c, v, offset, length, base, j)) break;
        judge_at(c, base, j);
        base += c->unit;
    } while (unlikely(c->unit && c->unit != PLACE_CELL && base < offset + length));
    j->before = before;
    j->after = after;
}

MW_SIGNAL_SAFE void conditions_judge(struct judged *j, uint32_t offset, uint32_t length) {
    const struct variable *v = &mw.registry.variables[j->variable];
    j->hidden = v->flags & MW_SECRET;
    for (const struct variable_condition *c = mw.conditions.of[j->variable]; c; c = c->next)
        judge(c, v, offset, length, j);
}

MW_SIGNAL_SAFE void conditions_judge_for(uint32_t tid, const struct store *store, const uint8_t *before,
                                         const uint8_t *after) {
    struct judged j = {.variable = store->variable,
                       .tid = tid,
                       .site = store->site,
                       .context = store->context,
                       .stack = store->stack,
                       .how = store->how,
                       .before = before,
                       .after = after};
    conditions_judge(&j, store->offset, store->length);
}

MW_SIGNAL_SAFE void conditions_settle(const void *ucontext) {
    mw_hits_hook settled = __atomic_load_n(&mw.conditions.settled, __ATOMIC_ACQUIRE);
    mw_thread.hits = 0;
    if (settled) settled(ucontext);
}
