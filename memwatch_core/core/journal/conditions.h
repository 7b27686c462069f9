/* conditions.h - which events an adapter wants to be told of, at once. */
#ifndef MEMWATCH_CONDITIONS_H
#define MEMWATCH_CONDITIONS_H
#include <stdatomic.h>
#include <stdint.h>
#include "memwatch.h"
#include "base/compiler.h"
#include "base/thread.h"
#include "journal/journal.h"
#include "journal/predicate.h"
#include "journal/registry.h"

struct variable_condition {
    struct variable_condition *next;
    uint32_t handle, length;
    uint32_t unit;                 /* a power of two; 0: none */
    _Atomic uint32_t unknown;      /* it was said that it can't be judged */
    struct remembered *remembered; /* behind the program */
    uint8_t program[];
};

struct conditions {
    struct variable_condition **of; /* by variable; NULL: there are none */
    mw_hit_hook met;
    mw_hits_hook settled;
};

/* An event that was just recorded, and whose bytes aren't published yet: of `length` bytes at `offset` of the variable.
 * The caller holds the page's lock, and has said what happened, but for what is asked of the variable. */
MW_HIDDEN void conditions_judge(struct judged *judged, uint32_t offset, uint32_t length);
/* The same of a store by thread tid, which isn't this one if the kernel has made it. */
MW_HIDDEN void conditions_judge_for(uint32_t tid, const struct store *store, const uint8_t *before,
                                    const uint8_t *after);
/* Records an event, and judges it. */
MW_SIGNAL_SAFE static inline int conditions_store(const struct variable *v, const struct store *store,
                                                  const uint8_t *before, const uint8_t *after) {
    if (unlikely(v->flags & MW_LATER)) registry_tell_pages(v, store->offset, store->length);
    int error = journal_store(store, before, after);
    if (unlikely(v->flags & MW_JUDGED) && !error) conditions_judge_for(thread_id(), store, before, after);
    return error;
}
/* Tells the adapter that what it was told of can be seen. No lock is held. */
MW_HIDDEN void conditions_settle(const void *ucontext);
/* Of a variable that is on no page any more. */
MW_HIDDEN void conditions_forget(uint32_t id, struct variable *variable);
#endif
