/* state.h - the one struct that holds all state of the core, and the looks into it that every store takes.
 *
 * What belongs to a noun is described in the noun's header, and changed by its file. */
#ifndef MEMWATCH_STATE_H
#define MEMWATCH_STATE_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "base/descriptors.h"
#include "base/lock.h"
#include "base/messages.h"
#include "base/process.h"
#include "base/signals.h"
#include "base/thread.h"
#include "calls/import_tables.h"
#include "journal/condition_texts.h"
#include "journal/conditions.h"
#include "journal/journal.h"
#include "journal/journal_file.h"
#include "journal/registry.h"
#include "journal/segments.h"
#include "journal/sites.h"
#include "journal/stacks.h"
#include "memory/adopted_pages.h"
#include "memory/arena.h"
#include "memory/fork_copy.h"
#include "memory/tracker.h"
#include "memory/userfaultfd.h"
#include "memwatch.h"
#include "stores/code_blocks.h"
#include "stores/endings.h"
#include "stores/executor.h"
#include "stores/instruction.h"
#include "stores/kernel_writes.h"
#include "stores/loaded_files.h"
#include "stores/native_sites.h"

struct mw_core {
    _Atomic uint32_t started;
    mw_lock lock; /* start, page allocation, registration, adoption, journal open and close: core_take() */

    struct process *process;
    struct fork_hooks fork_hooks;
    struct standard_error standard_error;
    struct clock clock;
    struct signals signals;
    struct descriptors descriptors;

    const struct tracker *tracker;
    char tracker_reason[256];
    struct arena arena;
    struct adopted_pages adopted_pages;
    struct fork_copy fork_copy;
    struct userfaultfd userfaultfd;
    struct queued_store queued_store;

    struct journal journal;
    struct thread_names thread_names;
    struct latest_name latest_names[LATEST_NAMES]; /* under journal.grow */
    struct sites sites;
    struct stacks stacks;
    struct registry registry;
    struct endings endings;
    struct conditions conditions;
    struct condition_texts condition_texts;
    uint64_t secret_key[2]; /* of masks.h: made at the start, never written anywhere; forked children have it as well */

    mw_origin_provider origin_provider;
    mw_guard_hook guard_hook;
    struct instructions instructions;
    struct code_blocks code_blocks;
    struct executor executor;
    struct kernel_writes kernel_writes;
    struct loaded_files loaded_files;
    struct native_sites native_sites;
    struct modules modules;

    _Atomic uint64_t stores, lost, chained, requests;
};
extern MW_HIDDEN struct mw_core mw;

/* ns since 1970. */
MW_SIGNAL_SAFE static inline uint64_t clock_now(void) {
    const struct clock *k = &mw.clock;
    uint32_t version = atomic_load_explicit(&k->version, memory_order_acquire);
    uint64_t elapsed = clock_ticks() - k->at, ns = k->ns, rate = k->rate;
    atomic_thread_fence(memory_order_acquire);
    if (likely(rate && elapsed < TICKS_TRUSTED && !(version & 1) &&
               atomic_load_explicit(&k->version, memory_order_relaxed) == version))
        return ns + (elapsed * rate >> 32);
    return clock_sample(version);
}
/* NULL: no variable with this id is watched. */
MW_SIGNAL_SAFE static inline struct variable *registry_find(mw_variable_id id) {
    return id && id <= mw.registry.last && mw.registry.variables[id].live ? &mw.registry.variables[id] : NULL;
}
static inline uint8_t *arena_writable(uint32_t page) {
    return (uint8_t *)(mw.arena.watched + mw.arena.distance + ((uint64_t)page << PAGE_SHIFT));
}
MW_SIGNAL_SAFE static inline bool in_arena(uintptr_t address) { return address - mw.arena.watched < mw.arena.reserved; }
/* The lock of a page that may have been written to. */
MW_SIGNAL_SAFE static inline void page_release(uint32_t page) {
    if (unlikely(atomic_load_explicit(&mw.fork_copy.prepared, memory_order_relaxed))) fork_copy_follow(page);
    lock_release(&mw.arena.pages[page].lock);
}
static inline enum page_state page_state_of(uint32_t page) { return (enum page_state)mw.arena.pages[page].state; }
MW_SIGNAL_SAFE static inline bool descriptor_any(enum descriptor_kind kind) {
    return atomic_load(&mw.descriptors.own[kind].number) >= 0;
}
MW_SIGNAL_SAFE static inline bool process_is_whole(void) {
    return likely(atomic_load_explicit(&mw.process->state, memory_order_relaxed) == PROCESS_WHOLE);
}
static inline _Atomic uint32_t *kernel_hold_of(uint32_t tid) { return &mw.kernel_writes.held[tid % HOLDS]; }
static inline bool kernel_writes(void) {
    return unlikely(atomic_load_explicit(&mw.kernel_writes.compared, memory_order_relaxed));
}
#endif
