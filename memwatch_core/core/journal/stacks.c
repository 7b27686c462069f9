/* stacks.c - call stacks, each with one id. A table with open addressing, read without a lock.
 *
 * Nothing is written to the journal here: a stack is recorded together with the first store that names it (journal.c).
 */
#include "journal/stacks.h"

#include <string.h>

#include "base/hash.h"
#include "base/lock.h"
#include "base/messages.h"
#include "base/thread.h"
#include "memory/arena.h"
#include "memory/fork_copy.h"
#include "memwatch.h"
#include "state.h"

#define INDEX_BITS (STACKS_BITS + 1)
#define INDEX_MASK ((1u << INDEX_BITS) - 1)
#define HEAD 2u /* words before the sites */

static_assert(STACKS_MOST < MW_STACK_UNKNOWN, "an id is told from none");

static int make_tables(struct stacks *s) {
    s->words_most = (uint32_t)arena_fit(STACK_WORDS_MOST, sizeof *s->words);
    s->rows = arena_table(STACKS_MOST * sizeof *s->rows);
    s->words = arena_table(s->words_most * sizeof *s->words);
    if (s->rows && s->words) s->index = arena_table((INDEX_MASK + 1) * sizeof *s->index);
    return s->index ? MW_OK : MW_ERR_NO_MEMORY;
}

int mw_keep_stacks(void) {
    if (!mw.started) return MW_ERR_NOT_STARTED;
    bool taken = core_take();
    int error = mw.stacks.index ? MW_OK : make_tables(&mw.stacks);
    core_release(taken);
    return error;
}

MW_SIGNAL_SAFE static uint64_t hash_of(const uint32_t *sites, uint32_t n, uint32_t flags) {
    uint64_t hash = n << 2 | flags, factor = HASH_FACTOR;
    for (uint32_t i = 0; i < n; i++, factor *= HASH_FACTOR) hash += sites[i] * factor; /* found is what is equal */
    hash ^= hash >> 32;
    hash *= HASH_FACTOR;
    return hash ^ hash >> 29;
}

/* The place of this stack in the index, or the free one where it would go; NULL: there is none. */
MW_SIGNAL_SAFE static _Atomic uint64_t *find(uint64_t hash, const uint32_t *sites, uint32_t n, uint32_t flags) {
    struct stacks *s = &mw.stacks;
    for (uint32_t i = 0, at = (uint32_t)hash & INDEX_MASK; i <= INDEX_MASK; i++, at = (at + 1) & INDEX_MASK) {
        uint64_t entry = atomic_load_explicit(&s->index[at], memory_order_acquire);
        if (!entry) return &s->index[at];
        if (entry >> 32 != hash >> 32) continue;
        const uint32_t *words = s->words + s->rows[(uint32_t)entry].at;
        if (words[0] == n && words[1] == flags && !memcmp(words + HEAD, sites, n * sizeof *sites)) return &s->index[at];
    }
    return NULL;
}

MW_SIGNAL_SAFE static uint32_t insert(_Atomic uint64_t *place, uint64_t hash, const uint32_t *sites, uint32_t n,
                                      uint32_t flags) {
    static const char full[] =
        "memwatch: there is no room for more call stacks: further events carry their line alone, "
        "unless they come from callers that are known\n";
    struct stacks *s = &mw.stacks;
    uint32_t id = s->count + 1, at = s->words_used;
    if (!place || id >= STACKS_MOST || n + HEAD > s->words_most - at) {
        if (!atomic_exchange(&s->full_reported, 1)) tell(full, sizeof full - 1);
        return MW_STACK_UNKNOWN;
    }
    s->words[at] = n;
    s->words[at + 1] = flags;
    memcpy(s->words + at + HEAD, sites, n * sizeof *sites);
    s->words_used = at + HEAD + n;
    s->rows[id].at = at;
    s->rows[id].told = 0;
    s->count = id;
    atomic_store_explicit(place, (hash & ~(uint64_t)UINT32_MAX) | id, memory_order_release);
    return id;
}

MW_SIGNAL_SAFE static size_t add(uint32_t *to, size_t at, size_t most, const uint32_t *sites, size_t count,
                                 uint32_t *flags) {
    if (count > most - at) count = most - at, *flags |= MW_STACK_CUT;
    memcpy(to + at, sites, count * sizeof *sites);
    return at + count;
}

MW_SIGNAL_SAFE uint32_t mw_join_stacks(uint32_t inner, const uint32_t *sites, size_t count, uint32_t outer,
                                       size_t most) {
    const struct stacks *s = &mw.stacks;
    uint32_t all[MW_STACK_MOST], flags = 0;
    size_t n = 0;
    if (most > MW_STACK_MOST) most = MW_STACK_MOST;
    if (!s->index || inner > s->count) return inner;
    if (inner) {
        const uint32_t *words = s->words + s->rows[inner].at;
        flags = words[1];
        if (flags & MW_STACK_CUT) return inner;
        n = add(all, 0, most, words + HEAD, words[0], &flags);
    }
    n = add(all, n, most, sites, count, &flags);
    if (outer && outer <= s->count) {
        const uint32_t *words = s->words + s->rows[outer].at;
        flags |= words[1];
        n = add(all, n, most, words + HEAD, words[0], &flags);
    } else if (outer) {
        flags |= MW_STACK_CUT;
    }
    return mw_intern_stack(all, n, flags);
}

MW_SIGNAL_SAFE uint32_t mw_intern_stack(const uint32_t *sites, size_t count, uint32_t flags) {
    if (!mw.stacks.index) return 0;
    if (count > MW_STACK_MOST) count = MW_STACK_MOST, flags |= MW_STACK_CUT;
    uint32_t n = (uint32_t)count;
    uint64_t hash = hash_of(sites, n, flags);
    _Atomic uint64_t *place = find(hash, sites, n, flags);
    uint64_t entry = place ? atomic_load_explicit(place, memory_order_acquire) : 0;
    if (entry) return (uint32_t)entry;
    uint64_t kept = mask_signals(); /* a handler that interrupts us here could want this lock */
    lock_take(&mw.stacks.lock, thread_id());
    place = find(hash, sites, n, flags);
    entry = place ? atomic_load(place) : 0;
    uint32_t id = entry ? (uint32_t)entry : insert(place, hash, sites, n, flags);
    lock_release(&mw.stacks.lock);
    unmask_signals(kept);
    return id;
}
