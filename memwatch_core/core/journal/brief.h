/* brief.h - the record of a small store, written where it is announced: it takes one slot or two, and nothing has to be
 * done or recorded before it. Of anything else, journal_store() writes the record; both take the same steps. */
#ifndef MEMWATCH_BRIEF_H
#define MEMWATCH_BRIEF_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/compiler.h"
#include "base/lock.h"
#include "base/thread.h"
#include "journal/journal.h"
#include "journal/journal_format.h"
#include "state.h"

enum { BRIEF_ROOM = sizeof((struct mwj_slot *)NULL)->store.payload }; /* bytes of a payload in the first slot */

MW_SIGNAL_SAFE static inline struct mwj_slot *slot_at(struct journal *j, uint64_t index) {
    struct mwj_slot *segment = atomic_load_explicit(&j->segments[index / MWJ_SEGMENT_SLOTS], memory_order_acquire);
    return segment + index % MWJ_SEGMENT_SLOTS;
}

/* Whether no STORE needs to say it once more. In a journal with a limit, that depends on the slot. */
MW_SIGNAL_SAFE static inline bool is_told(const struct journal *j, uint32_t stack) {
    return !stack || stack == MW_STACK_UNKNOWN ||
           (!j->segments_max && atomic_load_explicit(&mw.stacks.rows[stack].told, memory_order_acquire) ==
                                    ((uint64_t)j->generation << 32 | 1));
}

/* n slots of one segment, where there is room for them at once; NULL: nothing was done. */
MW_SIGNAL_SAFE static inline struct mwj_slot *reserve_at_once(struct journal *j, unsigned n) {
    uint64_t at = atomic_load_explicit(&j->header->reserved, memory_order_acquire);
    MW_STEP("capacity", at);
    uint64_t capacity = atomic_load_explicit(&j->capacity, memory_order_acquire), behind = at % MWJ_SEGMENT_SLOTS;
    uint64_t needed = at + n + atomic_load_explicit(&j->promised, memory_order_acquire);
    if (unlikely(!behind || n > MWJ_SEGMENT_SLOTS - behind || needed > capacity)) return NULL;
    MW_STEP("reserve", at);
    uint64_t seen = at;
    if (unlikely(!atomic_compare_exchange_strong_explicit(&j->header->reserved, &seen, at + n, memory_order_acq_rel,
                                                          memory_order_acquire)))
        return NULL;
    return slot_at(j, at);
}

/* An id in a payload, of which it takes 4 bytes that lie in one slot. */
MW_SIGNAL_SAFE static inline void put_brief_id(struct mwj_slot *slot, uint32_t at, uint32_t id) {
    uint8_t *to = at < BRIEF_ROOM ? slot->store.payload + at
                                  : ((struct mwj_continuation *)(slot + 1))->payload + (at - BRIEF_ROOM);
    memcpy(to, &id, sizeof id);
}

/* Up to 14 bytes, in pieces as they were put together: a number, or a head of 4 bytes and what it is of. */
MW_SIGNAL_SAFE static inline void copy_brief(uint8_t *to, const uint8_t *from, uint32_t n) {
    if (likely(n >= 4)) {
        memcpy(to, from, 4);
        to += 4, from += 4, n -= 4;
    }
    if (likely(n >= 8)) {
        memcpy(to, from, 8);
        to += 8, from += 8, n -= 8;
    }
    if (n & 4) {
        memcpy(to, from, 4);
        to += 4, from += 4;
    }
    if (n & 2) {
        memcpy(to, from, 2);
        to += 2, from += 2;
    }
    if (n & 1) *to = *from;
}

/* Records a store of `n` bytes; false: nothing was done. */
MW_SIGNAL_SAFE static inline __attribute__((always_inline)) bool
journal_brief(uint32_t variable, uint32_t tid, uint32_t context, uint32_t offset, const uint8_t *before,
              const uint8_t *after, uint32_t n, const mw_origin *origin, unsigned how, unsigned flags) {
    struct journal *j = &mw.journal;
    uint32_t end = 2 * n, size = end + (origin->stack ? 4 : 0) + (origin->activation ? 4 : 0);
    if (unlikely(end > BRIEF_ROOM || (size > BRIEF_ROOM && end % 4) || origin->request || !is_told(j, origin->stack) ||
                 !atomic_load_explicit(&j->open, memory_order_acquire) || mw_thread.named != j->generation ||
                 !atomic_load_explicit(&mw.process->made, memory_order_acquire)))
        return false;
    unsigned slots = size > BRIEF_ROOM ? 2 : 1;
    struct mwj_slot *slot = reserve_at_once(j, slots);
    if (unlikely(!slot)) return false;
    slot->tid = tid;
    slot->time = clock_now();
    slot->id = variable;
    slot->store.offset = offset;
    slot->store.length = n;
    slot->store.site = origin->site;
    slot->store.context = context;
    copy_brief(slot->store.payload, before, n);
    copy_brief(slot->store.payload + n, after, n);
    if (origin->stack) {
        put_brief_id(slot, end, origin->stack);
        end += 4;
        flags |= MWJ_HAS_STACK;
    }
    if (origin->activation) {
        put_brief_id(slot, end, origin->activation);
        flags |= MWJ_OF_ACTIVATION;
    }
    if (unlikely(slots == 2))
        atomic_store_explicit(&slot[1].word, MWJ_WORD(MWJ_CONTINUATION, 1, 0, 0), memory_order_relaxed);
    MW_STEP("commit", 0);
    atomic_store_explicit(&slot->word, MWJ_WORD(MWJ_STORE, slots, how, flags), memory_order_release);
    return true;
}
#endif
