/* conditions.h - which events an adapter wants to be told of, at once. */
#ifndef MEMWATCH_CONDITIONS_H
#define MEMWATCH_CONDITIONS_H
#include <stdatomic.h>
#include <stdint.h>
#include "memwatch.h"
#include "base/compiler.h"
#include "journal/journal.h"
#include "journal/registry.h"

struct variable_condition {
    struct variable_condition *next;
    uint32_t handle, unit, length;
    _Atomic uint32_t unknown; /* it was said that it can't be judged */
    uint8_t program[];
};

struct conditions {
    struct variable_condition **of; /* by variable; NULL: there are none */
    mw_hit_hook met;
    mw_hits_hook settled;
};

/* An event that was just recorded, and whose bytes aren't published yet. The caller holds the page's lock. */
MW_HIDDEN void conditions_judge(const struct store *store, const uint8_t *before, const uint8_t *after);
/* The same of one that the kernel has made for another thread. */
MW_HIDDEN void conditions_judge_for(uint32_t tid, const struct store *store, const uint8_t *before,
                                    const uint8_t *after);
/* Records an event, and judges it. */
MW_SIGNAL_SAFE static inline int conditions_store(const struct variable *v, const struct store *store,
                                                  const uint8_t *before, const uint8_t *after) {
    if (unlikely(v->flags & MW_LATER)) registry_tell_pages(v, store->offset, store->length);
    int error = journal_store(store, before, after);
    if (unlikely(v->flags & MW_JUDGED) && !error) conditions_judge(store, before, after);
    return error;
}
/* Tells the adapter that what it was told of can be seen. No lock is held. */
MW_HIDDEN void conditions_settle(const void *ucontext);
/* Of a variable that is on no page any more. */
MW_HIDDEN void conditions_forget(uint32_t id, struct variable *variable);
#endif
